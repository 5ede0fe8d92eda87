package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Event says what has become of a socket since its last event.
type Event struct {
	// Key is what the socket was added with.
	Key uint64

	// Readable has bytes, an end or an error to read; Writable has room. Ended has had its end or an
	// error, behind bytes perhaps: a short read says nothing then.
	Readable, Writable, Ended bool
}

// Poller waits for many sockets at once: an epoll of its own, nested in that of Go's scheduler, so
// that waiting costs no thread. Its methods are for one goroutine, unless they say otherwise.
type Poller struct {
	fd      int
	file    *os.File // fd, as Go's poller watches it
	raw     syscall.RawConn
	wake    *os.File // an eventfd
	events  [256]unix.EpollEvent
	count   int
	wait    func(uintptr) bool // Poller.poll, made once
	turn    func() bool        // what Wait was called with
	pollErr error

	deadline time.Time // what SetDeadline has set
}

// wakeKey is the key of the eventfd; no socket has it.
const wakeKey = ^uint64(0)

// NewPoller makes a Poller. The caller closes it.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	// os.NewFile gives a descriptor to Go's poller when it is non-blocking.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	// Being blocking keeps it out of Go's poller. Nobody ever waits for it.
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	p := &Poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), wake: os.NewFile(uintptr(wake), "eventfd")}
	p.wait = p.poll
	if p.raw, err = p.file.SyscallConn(); err == nil {
		// The first to tell when Go's poller has not taken the file.
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err == nil {
		err = p.control(unix.EPOLL_CTL_ADD, wake, wakeKey, unix.EPOLLIN|unix.EPOLLET)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add watches a socket until it is closed. Each event is told once, so that a socket which is not
// read until ErrAgain or a short read, or written until ErrAgain, is heard of no more. Room for
// writing is told only with writes: a new socket has some, and that would be an event for nothing.
//
// Add, WatchWrites and Remove may be called from any goroutine.
func (p *Poller) Add(s Socket, key uint64, writes bool) error {
	return p.control(unix.EPOLL_CTL_ADD, int(s.fd-1), key, interest(writes))
}

// WatchWrites has the room of a socket told as well, that there is now included.
func (p *Poller) WatchWrites(s Socket, key uint64) error {
	return p.control(unix.EPOLL_CTL_MOD, int(s.fd-1), key, interest(true))
}

// Remove watches a socket no more, without closing it.
func (p *Poller) Remove(s Socket) error { return p.control(unix.EPOLL_CTL_DEL, int(s.fd-1), 0, 0) }

func interest(writes bool) uint32 {
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET)
	if writes {
		events |= unix.EPOLLOUT
	}
	return events
}

func (p *Poller) control(operation, fd int, key uint64, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
	var err error
	// Through the file: it is not closed, and its number not another's, meanwhile.
	if closed := p.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), operation, fd, &ev) }); closed != nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// Wait waits for events, a Wake among them, and calls turn with each batch until turn returns false.
// At the deadline that SetDeadline has set it calls turn with what there is by then, nothing perhaps,
// and returns.
//
// Between two turns it goes straight back to waiting: what comes meanwhile wakes Go's poller, so
// that looking for it first would be a system call for nothing, one for each message when traffic is
// sparse.
func (p *Poller) Wait(turn func() (more bool)) error {
	p.turn, p.pollErr = turn, nil
	err := p.raw.Read(p.wait)
	p.turn = nil
	if !os.IsTimeout(err) {
		return errors.Join(err, p.pollErr)
	}
	err = p.Poll()
	if err == nil {
		turn()
	}
	return err
}

// Poll collects what events there are and does not wait.
func (p *Poller) Poll() error {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
		switch errno {
		case 0:
			p.count = int(n)
			return nil
		case syscall.EINTR:
		default:
			p.count = 0
			return os.NewSyscallError("epoll_pwait", errno)
		}
	}
}

// SetDeadline bounds every Wait from now on; the zero time takes the bound away.
func (p *Poller) SetDeadline(t time.Time) {
	if t != p.deadline {
		p.deadline = t
		_ = p.file.SetReadDeadline(t) // only a closed file refuses
	}
}

// poll has a turn with what events there are. While it returns false, Go's poller waits for more and
// calls it again.
func (p *Poller) poll(uintptr) (done bool) {
	for {
		if p.pollErr = p.Poll(); p.pollErr != nil {
			return true
		}
		if p.count == 0 {
			return false
		}
		full := p.count == len(p.events)
		if !p.turn() {
			return true
		}
		if !full {
			return false
		}
	}
}

// Len is how many events the last Wait brought.
func (p *Poller) Len() int { return p.count }

// Event is one of them. ok is false for a Wake, which is no socket's event.
func (p *Poller) Event(i int) (e Event, ok bool) {
	ev := &p.events[i]
	e.Key = uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
	if e.Key == wakeKey {
		return e, false
	}
	e.Ended = ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	e.Readable = ev.Events&unix.EPOLLIN != 0 || e.Ended
	e.Writable = ev.Events&unix.EPOLLOUT != 0 || e.Ended
	return e, true
}

// Wake makes Wait return, now or the next time it is called. It may be called from any goroutine,
// also after Close.
func (p *Poller) Wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// The eventfd is edge-triggered: each write is an event, and nobody ever reads it. Its counter
	// would be full after 2^64-2 of them. As an os.File it is not closed, and its number not
	// another's, while it is written.
	_, _ = p.wake.Write(one[:])
}

// Close closes the poller, not the sockets.
func (p *Poller) Close() {
	p.file.Close()
	p.wake.Close()
}
