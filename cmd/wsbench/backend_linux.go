package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	backendBuffer  = 256 << 10 // bytes read at a time
	backendPending = 256 << 10 // unsent bytes from which on a connection is not read any more
	floodMessage   = 64 << 10
	listenBacklog  = 4096
	listenSlot     = -2
)

// backend is the echo server, which answers the HTTP workloads as well. Its loop, run by serve, owns everything but the address.
type backend struct {
	address string

	poll      *poller
	listener  int
	accepting bool
	conns     []*backendConn // by slot, nil where free
	free      []int32
	gen       int32
	timers    timerHeap
	in, out   []byte // scratch, shared by all connections
	flood     []byte // one whole /flood frame
}

// newBackend listens on address; serve must be called to close what it opened.
func newBackend(address string) (*backend, error) {
	raiseDescriptorLimit()
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, usageError{fmt.Errorf("listen on %q: %w", address, err)}
	}
	fd, err := listenTCP(tcp)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	poll, err := newPoller()
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	b := &backend{
		poll: poll, listener: fd, address: boundAddress(fd),
		in: make([]byte, backendBuffer), out: make([]byte, 0, backendBuffer+4096),
	}
	b.flood = appendHeader(nil, true, opBinary, floodMessage, false, 0)
	b.flood = append(b.flood, make([]byte, floodMessage)...)
	return b, nil
}

func (b *backend) addr() string { return b.address }

// serve runs until ctx ends, then closes every descriptor.
func (b *backend) serve(ctx context.Context) error {
	defer b.close()
	stop := context.AfterFunc(ctx, b.poll.wakeUp)
	defer stop()
	b.watchListener(true)
	for ctx.Err() == nil {
		wait := time.Duration(-1)
		if !b.accepting { // out of descriptors: look again soon
			wait = 50 * time.Millisecond
		}
		if at, ok := b.timers.first(); ok {
			if d := max(0, time.Duration(at-monotonic())); wait < 0 || d < wait {
				wait = d
			}
		}
		events, err := b.poll.wait(wait)
		if err != nil {
			return err
		}
		if !b.accepting {
			b.watchListener(true)
		}
		for i := range events {
			ev := &events[i]
			switch ev.Fd {
			case wakeSlot:
				b.poll.awake()
			case listenSlot:
				b.accept()
			default:
				if c := b.conns[ev.Fd]; c != nil && c.gen == ev.Pad {
					b.handle(c, ev.Events)
				}
			}
		}
		b.writeEvents()
	}
	return nil
}

func (b *backend) close() {
	for _, c := range b.conns {
		if c != nil {
			_ = unix.Close(c.fd)
		}
	}
	_ = unix.Close(b.listener)
	b.poll.close()
}

func (b *backend) watchListener(on bool) {
	b.accepting = on
	if !on {
		_ = unix.EpollCtl(b.poll.fd, unix.EPOLL_CTL_DEL, b.listener, nil)
		return
	}
	_ = b.poll.add(b.listener, unix.EPOLLIN, listenSlot, 0) // EEXIST is as good
}

// accept takes what waits in the backlog, a bounded number at a time so that live connections go on.
func (b *backend) accept() {
	for range 64 {
		fd, _, err := unix.Accept4(b.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			b.admit(fd)
		case unix.EMFILE, unix.ENFILE:
			fmt.Fprintf(os.Stderr, "wsbench backend: accept: %v\n", err)
			b.watchListener(false)
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return
		}
	}
}

// admit owns fd from here on.
func (b *backend) admit(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	b.gen++
	c := &backendConn{fd: fd, gen: b.gen}
	if n := len(b.free); n > 0 {
		c.slot = b.free[n-1]
		b.free = b.free[:n-1]
		b.conns[c.slot] = c
	} else {
		c.slot = int32(len(b.conns))
		b.conns = append(b.conns, c)
	}
	if err := b.poll.add(fd, unix.EPOLLIN, c.slot, c.gen); err != nil {
		b.drop(c)
	}
}

func (b *backend) drop(c *backendConn) {
	_ = unix.Close(c.fd)
	b.conns[c.slot] = nil
	b.free = append(b.free, c.slot)
	c.closed = true
}

// handle serves one readiness event.
func (b *backend) handle(c *backendConn, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		b.flush(c)
	}
	if c.closed || events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	n, err := unix.Read(c.fd, b.in)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		b.drop(c)
		return
	}
	b.out = c.receive(b.in[:n], b.out[:0])
	b.send(c, b.out)
	if x := c.exchange; c.mode == modeEvents && !x.started && !c.closed {
		x.started = true
		b.timers.push(timer{at: monotonic() + int64(x.firstEvent()), slot: c.slot, gen: c.gen, what: timerEvent})
	}
}

// writeEvents writes those that are due. A connection that takes none has to wait for its next until it does.
func (b *backend) writeEvents() {
	for {
		at, ok := b.timers.first()
		if !ok {
			return
		}
		now := monotonic() // of each event anew: those before it took their time
		if at > now {
			return
		}
		t := b.timers.pop()
		c := b.conns[t.slot]
		if c == nil || c.gen != t.gen || c.finished {
			continue
		}
		if len(c.pending) < backendPending {
			b.out = c.exchange.event(b.out[:0], now)
			b.send(c, b.out)
		}
		t.at += int64(c.exchange.interval)
		b.timers.push(t)
	}
}

// send writes what was answered; what the kernel does not take waits in the connection.
func (b *backend) send(c *backendConn, p []byte) {
	if len(c.pending) == 0 && len(p) > 0 {
		n, err := unix.Write(c.fd, p)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			b.drop(c)
			return
		}
		p = p[max(n, 0):]
	}
	c.pending = append(c.pending, p...)
	b.settle(c)
}

func (b *backend) flush(c *backendConn) {
	if len(c.pending) > 0 {
		n, err := unix.Write(c.fd, c.pending)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			b.drop(c)
			return
		}
		n = max(n, 0)
		c.pending = c.pending[:copy(c.pending, c.pending[n:])]
	}
	if len(c.pending) == 0 && c.mode == modeDownload { // from where it is, not by way of pending
		n, err := unix.Write(c.fd, c.download())
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			b.drop(c)
			return
		}
		c.downloaded(max(n, 0))
	}
	b.settle(c)
}

// settle brings what is watched in line with the connection's state, and closes it when it is done.
func (b *backend) settle(c *backendConn) {
	if len(c.pending) == 0 {
		c.pending = nil // an idle connection holds no buffer
		if c.finished {
			b.drop(c)
			return
		}
		if c.mode == modeFlood {
			c.pending = append(c.pending, b.flood...)
		}
	}
	watch := uint32(unix.EPOLLIN)
	if len(c.pending) > 0 || c.mode == modeDownload {
		watch = unix.EPOLLOUT
		if len(c.pending) < backendPending && !c.finished {
			watch |= unix.EPOLLIN
		}
	}
	if watch != c.watched && (c.watched != 0 || watch != unix.EPOLLIN) {
		b.poll.modify(c.fd, watch, c.slot, c.gen)
	}
	c.watched = watch
}
