package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// homestead is a Home with nothing but Conns in it.
type homestead struct {
	t      *testing.T
	poller *Poller
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	conns   map[uint64]*Conn
	keys    map[int]uint64 // by descriptor
	last    uint64
	refuses bool // watches nobody
	quits   bool
	left    atomic.Int32
}

func newHomestead(t *testing.T) *homestead {
	t.Helper()
	h := &homestead{t: t, poller: newTestPoller(t), done: make(chan struct{}),
		conns: make(map[uint64]*Conn), keys: make(map[int]uint64)}
	go h.run()
	t.Cleanup(func() {
		h.mu.Lock()
		h.quits = true
		h.mu.Unlock()
		h.poller.Wake()
		<-h.done
	})
	return h
}

func (h *homestead) run() {
	defer close(h.done)
	if err := h.poller.Wait(h.turn); err != nil {
		h.t.Error(err)
	}
}

func (h *homestead) turn() bool {
	for i := range h.poller.Len() {
		if e, ok := h.poller.Event(i); ok {
			h.mu.Lock()
			c := h.conns[e.Key]
			h.mu.Unlock()
			if c != nil {
				c.Happened(e)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.quits
}

var errFull = errors.New("no room")

func (h *homestead) Settle(c *Conn, s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.conns[h.last], h.keys[s.Number()] = c, h.last
}

func (h *homestead) Watch(s Socket, writes bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuses {
		return errFull
	}
	return h.poller.Add(s, h.keys[s.Number()], writes)
}

func (h *homestead) WatchWrites(s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.poller.WatchWrites(s, h.keys[s.Number()]); err != nil {
		h.t.Error(err)
	}
}

func (h *homestead) Leave(s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left.Add(1)
	delete(h.conns, h.keys[s.Number()])
	delete(h.keys, s.Number())
}

func (h *homestead) Depart(s Socket, watched bool) error {
	h.Leave(s)
	if !watched {
		return nil
	}
	return h.poller.Remove(s)
}

// accepted is a Conn and the connection at its other side.
func (h *homestead) accepted() (*Conn, *net.TCPConn) {
	h.t.Helper()
	ln, err := Listen("127.0.0.1:0", func() Home { return h })
	if err != nil {
		h.t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { far.Close(); conn.Close() })
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	if got, want := conn.RemoteAddr().String(), far.LocalAddr().String(); got != want {
		h.t.Errorf("RemoteAddr() = %s, want %s", got, want)
	}
	if got, want := conn.LocalAddr().String(), far.RemoteAddr().String(); got != want {
		h.t.Errorf("LocalAddr() = %s, want %s", got, want)
	}
	return conn.(*Conn), far.(*net.TCPConn)
}

// waits is done when a call waits at a gate.
func waits(t *testing.T, g *gate) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); g.waiter.Load() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
}

// soon is what a channel brings.
func soon[T any](t *testing.T, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(30 * time.Second):
		t.Fatal("a call has not returned")
	}
	return got
}

func (c *Conn) reading() <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 10))
		got <- err
	}()
	return got
}

// writing writes more than there is room for.
func (c *Conn) writing() <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 32<<20))
		got <- err
	}()
	return got
}

func TestConnReadsInPiecesUpToTheEnd(t *testing.T) {
	c, far := newHomestead(t).accepted()
	for _, size := range []int{1, 3, 100} { // a byte at a time, a part, and more than there is
		if _, err := far.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got, buf := []byte(nil), make([]byte, size)
		for len(got) < 5 {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if string(got) != "hello" {
			t.Errorf("read %q, want hello", got)
		}
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v, want nothing", n, err)
	}
	if _, err := far.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "last" || err != nil {
		t.Errorf("read %q, %v behind the end, want last", got, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("another Read: %v, want EOF", err)
	}
	if !Gone(c) {
		t.Error("a client that has half-closed has not gone")
	}
}

func TestConnIsTheSameAsWhatWasWritten(t *testing.T) {
	c, far := newHomestead(t).accepted()
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	sent := make(chan error, 1)
	go func() {
		n, err := c.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		_ = c.CloseWrite()
		sent <- err
	}()
	waits(t, &c.out)
	got, err := io.ReadAll(far)
	if err := errors.Join(err, soon(t, sent)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came, %v, and not as they were written", len(got), len(want), err)
	}
}

func TestConnDeadlines(t *testing.T) {
	for name, way := range map[string]struct {
		call func(*Conn) <-chan error
		gate func(*Conn) *gate
		set  func(*Conn, time.Time) error
	}{
		"read":  {(*Conn).reading, func(c *Conn) *gate { return &c.in }, (*Conn).SetReadDeadline},
		"write": {(*Conn).writing, func(c *Conn) *gate { return &c.out }, (*Conn).SetWriteDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newHomestead(t).accepted()
			for _, set := range [][]time.Time{
				{time.Now().Add(-time.Second)},               // has passed
				{time.Now().Add(10 * time.Millisecond)},      // passes meanwhile
				{{}, time.Now().Add(-time.Second)},           // set while it waits for ever
				{time.Now().Add(time.Hour), time.Unix(1, 0)}, // brought forward
				{time.Now().Add(time.Hour), {}, time.Now()},  // taken away in between
			} {
				_ = way.set(c, set[0])
				got := way.call(c)
				for _, next := range set[1:] {
					waits(t, way.gate(c))
					_ = way.set(c, next)
				}
				err := soon(t, got)
				var timeout net.Error
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("deadlines %v: %v, want a timeout", set, err)
				}
			}
			// The other direction has none.
			_ = c.SetDeadline(time.Time{})
		})
	}
}

func TestConnGoesOnBehindADeadline(t *testing.T) {
	c, far := newHomestead(t).accepted()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want a timeout", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	got := c.reading()
	waits(t, &c.in)
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, got); err != nil {
		t.Errorf("Read: %v, want a byte", err)
	}
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	h := newHomestead(t)
	before := descriptors(t)
	c, far := h.accepted()
	reading, writing := c.reading(), c.writing()
	waits(t, &c.in)
	waits(t, &c.out)
	var first atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := c.Close(); err == nil {
				first.Add(1)
			} else if err != net.ErrClosed {
				t.Errorf("another Close: %v, want ErrClosed", err)
			}
		})
	}
	all.Wait()
	if n := first.Load(); n != 1 {
		t.Errorf("%d calls of Close were the first", n)
	}
	for _, call := range []<-chan error{reading, writing} {
		if err := soon(t, call); err != net.ErrClosed {
			t.Errorf("a call that waited: %v, want ErrClosed", err)
		}
	}
	if _, err := c.Give(); err != net.ErrClosed {
		t.Errorf("Give: %v, want ErrClosed", err)
	}
	if _, err := c.Write([]byte("x")); err != net.ErrClosed {
		t.Errorf("Write: %v, want ErrClosed", err)
	}
	if err := c.SetDeadline(time.Now()); err != net.ErrClosed {
		t.Errorf("SetDeadline: %v, want ErrClosed", err)
	}
	if c.LocalAddr() != nil {
		t.Error("a closed Conn has a local address")
	}
	far.Close()
	if n := h.left.Load(); n != 1 {
		t.Errorf("its home was told %d times, want once", n)
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors, want %d as before", now, before)
	}
}

// The socket is closed once nobody uses it: its number may be another's then.
func TestCloseLeavesTheSocketToThoseWhoUseIt(t *testing.T) {
	h := newHomestead(t)
	c, _ := h.accepted()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		c.Close()
		if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || h.left.Load() != 0 {
			t.Errorf("the socket was closed while it was used: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if h.left.Load() != 1 {
		t.Error("the socket was not closed by the last who used it")
	}
	if err := raw.Control(func(uintptr) {}); err != net.ErrClosed {
		t.Errorf("Control: %v, want ErrClosed", err)
	}
}

func TestGivenSocketLivesOn(t *testing.T) {
	h := newHomestead(t)
	c, far := h.accepted()
	if _, err := far.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitRead(); err != nil {
		t.Fatal(err)
	}
	s, err := c.Give()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e := c.Pending(); !e.Readable || e.Ended {
		t.Errorf("pending is %+v, want readable alone", e)
	}
	if c.Close() != net.ErrClosed || h.left.Load() != 0 {
		t.Error("what was given away is closed")
	}
	buf := make([]byte, 10)
	if n, err := s.Read(buf); string(buf[:n]) != "unread" {
		t.Errorf("read %q, %v, want unread", buf[:n], err)
	}
	if _, err := s.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(buf); string(buf[:n]) != "answer" {
		t.Errorf("the far end has %q, %v, want answer", buf[:n], err)
	}
}

func TestConnIsReset(t *testing.T) {
	c, far := newHomestead(t).accepted()
	reading, writing := c.reading(), c.writing()
	waits(t, &c.in)
	waits(t, &c.out)
	Cut(far)
	for _, call := range []<-chan error{reading, writing} {
		if err := soon(t, call); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && err != io.EOF {
			t.Errorf("a call that waited: %v, want a reset", err)
		}
	}
	if !Gone(c) {
		t.Error("who has reset the connection has not gone")
	}
	_ = c.SetLinger(0)
}

func TestDialAt(t *testing.T) {
	h := newHomestead(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, first := range []string{"", "hello"} {
		conn, err := new(Dialer).DialAt(h, ln.Addr().String(), 30*time.Second, []byte(first))
		if err != nil {
			t.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got, err := io.ReadAll(far); string(got) != first {
			t.Errorf("the far end has %q, %v, want %q", got, err, first)
		}
		far.Close()
	}
}

func TestDialAtIsRefused(t *testing.T) {
	h := newHomestead(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	before := descriptors(t)
	for _, first := range []string{"", "hello"} {
		if conn, err := new(Dialer).DialAt(h, addr, 30*time.Second, []byte(first)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("DialAt(%s) = %v, %v, want a refusal", addr, conn, err)
		}
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors, want %d as before", now, before)
	}
}

// A listener whose queue is full answers nobody.
func TestDialAtTimesOut(t *testing.T) {
	h := newHomestead(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := addrPort(sa).String()
	for range 100 {
		conn, err := new(Dialer).DialAt(h, addr, 50*time.Millisecond, nil)
		if err != nil {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("DialAt(%s): %v, want a timeout", addr, err)
			}
			return
		}
		defer conn.Close()
	}
	t.Error("a full queue has taken a hundred connections")
}

func TestHomeThatRefusesToWatch(t *testing.T) {
	h := newHomestead(t)
	ln, err := Listen("127.0.0.1:0", func() Home { return h })
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h.mu.Lock()
	h.refuses = true
	h.mu.Unlock()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errFull) {
		t.Errorf("Read = %d, %v, want none and %v", n, err, errFull)
	}
	conn.Close()
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	if n, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the far end has read %d bytes, %v, want an end", n, err)
	}
	if conn, err := new(Dialer).DialAt(h, far.RemoteAddr().String(), time.Second, []byte("x")); conn != nil || !errors.Is(err, errFull) {
		t.Errorf("DialAt = %v, %v, want nil and %v", conn, err, errFull)
	}
}
