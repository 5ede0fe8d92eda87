package splice

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// homelySocket does to a *sock.Conn what *net.TCPConn has methods for.
type homelySocket struct{ End }

func (s homelySocket) SyscallConn() (syscall.RawConn, error) {
	return s.End.(syscall.Conn).SyscallConn()
}

func (s homelySocket) SetReadBuffer(bytes int) error { return s.set(unix.SO_RCVBUF, bytes) }

func (s homelySocket) SetWriteBuffer(bytes int) error { return s.set(unix.SO_SNDBUF, bytes) }

func (s homelySocket) set(option, value int) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value)
	})
	return errors.Join(controlErr, err)
}
