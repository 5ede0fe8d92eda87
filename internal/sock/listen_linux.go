package sock

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenConfig sets keep-alive and TCP_NODELAY once, on the listening socket: on Linux what is
// accepted inherits both, which saves five system calls a connection.
//
// Go would listen for Multipath TCP, whose sockets are not all that sockets of TCP are: splice(2) and
// TCP_INFO are asked of the latter.
var listenConfig = tcpAlone(net.ListenConfig{
	KeepAlive: -1,
	Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) {
			err = errors.Join(setKeepAlive(int(fd)), unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		})
		return errors.Join(controlErr, err)
	},
})

func tcpAlone(c net.ListenConfig) *net.ListenConfig {
	c.SetMultipathTCP(false)
	return &c
}

const (
	keepAliveSeconds = 15
	keepAliveProbes  = 9
)

// setKeepAlive turns keep-alive on, as Listen says.
func setKeepAlive(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveSeconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes))
}

// settled is a listener whose connections live at a home.
type settled struct {
	file *os.File // the socket, as Go's poller watches it
	raw  syscall.RawConn
	addr net.Addr
	home func() Home

	closed atomic.Bool
}

// settle takes the socket out of ln, whose own way of giving access to it does not wait.
func settle(ln *net.TCPListener, home func() Home) (net.Listener, error) {
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &settled{file: file, raw: raw, addr: ln.Addr(), home: home}, nil
}

// Accept waits for the next connection.
func (l *settled) Accept() (net.Conn, error) {
	fd, from, err := -1, syscall.Sockaddr(nil), error(nil)
	waitErr := l.raw.Read(func(listener uintptr) bool {
		for {
			// That of package unix asks the listener for its protocol each time.
			fd, from, err = syscall.Accept4(int(listener), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
	switch {
	case waitErr != nil && l.closed.Load():
		return nil, net.ErrClosed
	case waitErr != nil:
		return nil, waitErr
	case err != nil:
		return nil, os.NewSyscallError("accept4", err)
	}
	return newConn(l.home(), Socket{int32(fd) + 1}, addrPort(from)), nil
}

// Close closes the listener.
func (l *settled) Close() error {
	l.closed.Store(true)
	return l.file.Close()
}

// File gives a second descriptor of the socket, the caller's own.
func (l *settled) File() (*os.File, error) {
	fd, err := -1, error(nil)
	controlErr := l.raw.Control(func(listener uintptr) {
		fd, err = unix.FcntlInt(listener, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// Addr is the address it listens on.
func (l *settled) Addr() net.Addr { return l.addr }

// SyscallConn gives the descriptor for socket options.
func (l *settled) SyscallConn() (syscall.RawConn, error) { return l.raw, nil }
