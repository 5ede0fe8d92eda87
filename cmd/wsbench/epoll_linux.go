package main

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is one epoll descriptor and a wake-up for it. Only wakeUp may be called from goroutines other than
// the owner's. Registrations carry a slot and a generation, so that an event of a descriptor that
// was closed meanwhile is told from its successor's.
type poller struct {
	fd, wake int
	events   [512]unix.EpollEvent
	noPwait2 bool // kernels before 5.11 wait in whole milliseconds
	woken    atomic.Bool
}

// wakeSlot is the slot of the poller's own wake-up event; the owner answers it with awake.
const wakeSlot = -1

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll descriptor: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	p := &poller{fd: fd, wake: wake}
	if err := p.add(wake, unix.EPOLLIN, wakeSlot, 0); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) add(fd int, events uint32, slot, gen int32) error {
	ev := unix.EpollEvent{Events: events, Fd: slot, Pad: gen}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

func (p *poller) modify(fd int, events uint32, slot, gen int32) {
	ev := unix.EpollEvent{Events: events, Fd: slot, Pad: gen}
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &ev) // fails only for a descriptor that is not ours
}

// wait returns the events that are there, waiting at most for timeout; negative means for ever. The
// slice is valid until the next call.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	n, err := p.waitRaw(timeout)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for events: %w", err)
	}
	return p.events[:n], nil
}

// awake takes note of a wake-up event; whatever the waker left must be looked at after it, not before.
func (p *poller) awake() {
	var b [8]byte
	_, _ = unix.Read(p.wake, b[:])
	p.woken.Store(false)
}

func (p *poller) waitRaw(timeout time.Duration) (int, error) {
	if timeout <= 0 || p.noPwait2 {
		ms := -1
		if timeout >= 0 {
			ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
		}
		return unix.EpollWait(p.fd, p.events[:], ms)
	}
	ts := struct{ sec, nsec int64 }{int64(timeout / time.Second), int64(timeout % time.Second)}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.ENOSYS:
		p.noPwait2 = true
		return p.waitRaw(timeout)
	}
	return 0, errno
}

// wakeUp ends the current or the next wait.
func (p *poller) wakeUp() {
	if !p.woken.Swap(true) {
		_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (p *poller) close() {
	_ = unix.Close(p.fd)
	_ = unix.Close(p.wake)
}
