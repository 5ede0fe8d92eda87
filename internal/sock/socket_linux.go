package sock

import (
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a connected stream socket out of Go's hands: a non-blocking descriptor that one owner
// reads, writes and closes. Its zero value is closed.
//
// Its system calls go past Go's scheduler: none of them waits.
type Socket struct {
	fd int32 // plus one, so that the zero value is no descriptor
}

// Take takes the descriptor out of a connection: the connection is closed, the socket lives on and
// is the caller's. On an error the connection is closed as well.
//
// It is a duplicate, since Go's poller would keep watching a descriptor that was closed behind its
// back; the other side sees nothing of it.
func Take(conn net.Conn) (Socket, error) {
	defer conn.Close()
	fd, err := -1, error(nil)
	open := control(conn, func(inner int) {
		fd, err = unix.FcntlInt(uintptr(inner), unix.F_DUPFD_CLOEXEC, 0)
	})
	switch {
	case !open:
		return Socket{}, net.ErrClosed
	case err != nil:
		return Socket{}, err
	case fd < 0:
		return Socket{}, errors.New("connection has no descriptor")
	}
	return Socket{int32(fd) + 1}, nil
}

// Read reads what there is: ErrAgain when there is nothing, io.EOF at the other side's end.
func (s Socket) Read(p []byte) (n int, err error) { return s.receive(p, 0) }

// Peek reads what a Read would, which the next Read still does.
func (s Socket) Peek(p []byte) (n int, err error) { return s.receive(p, unix.MSG_PEEK) }

func (s Socket) receive(p []byte, flags uintptr) (n int, err error) {
	for {
		// recvfrom skips the file layer that read(2) goes through.
		r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd-1),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			if r == 0 {
				return 0, io.EOF
			}
			return int(r), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, errno
		}
	}
}

// Write writes as much of p as there is room for; ErrAgain comes with n < len(p).
func (s Socket) Write(p []byte) (n int, err error) {
	for n < len(p) {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd-1),
			uintptr(unsafe.Pointer(unsafe.SliceData(p[n:]))), uintptr(len(p)-n), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			n += int(r)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return n, ErrAgain
		default:
			return n, errno
		}
	}
	return n, nil
}

// CloseWrite ends what goes to the other side; what has been written arrives first.
func (s Socket) CloseWrite() { _ = unix.Shutdown(int(s.fd-1), unix.SHUT_WR) }

// Reset closes the socket with a reset: what has not been sent yet is dropped.
func (s *Socket) Reset() {
	if s.fd == 0 {
		return
	}
	_ = unix.SetsockoptLinger(int(s.fd-1), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	s.Close()
}

// Close closes the socket, once: what has been written still arrives.
func (s *Socket) Close() {
	if s.fd == 0 {
		return
	}
	_ = unix.Close(int(s.fd - 1))
	s.fd = 0
}

// Open reports whether the socket has not been closed here.
func (s Socket) Open() bool { return s.fd != 0 }

// Number is the socket's descriptor, which identifies it among those that are open.
func (s Socket) Number() int { return int(s.fd - 1) }

// Queued reports whether the system holds bytes that the other side has not acknowledged.
func (s Socket) Queued() bool {
	if s.fd == 0 {
		return false
	}
	n, err := unix.IoctlGetInt(int(s.fd-1), unix.SIOCOUTQ)
	return err == nil && n > 0
}

// Acked grows by every byte that the other side acknowledges; it is 0 once the socket is closed.
func (s Socket) Acked() uint64 {
	if s.fd == 0 {
		return 0
	}
	info, err := unix.GetsockoptTCPInfo(int(s.fd-1), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Bytes_acked
}
