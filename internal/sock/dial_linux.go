package sock

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialAt connects to an address from a source, the system's choice for the zero one, sends first and
// leaves the connection at home. It writes at once, to a connection that is still under way: on a fast
// network it is there already, which saves the wake-up that would say so.
func dialAt(home Home, source netip.Addr, to netip.AddrPort, deadline time.Time, first []byte) (net.Conn, error) {
	s, err := connect(source, to)
	if err != nil {
		return nil, err
	}
	// Who sends something looks at what comes back, and does not take it for an answer.
	if len(first) == 0 && ephemeral(to.Port()) && connectsToItself(int(s.fd-1), to) {
		s.Close()
		return nil, os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	n, err := 0, error(ErrAgain)
	if len(first) > 0 {
		n, err = s.Write(first)
	}
	if err != nil && err != ErrAgain {
		s.Close()
		return nil, os.NewSyscallError("connect", err)
	}
	c := newConn(home, s, to)
	c.writes.Store(err == ErrAgain)
	if watchErr := c.Watch(); watchErr != nil {
		c.Close()
		return nil, watchErr
	}
	if err == nil {
		return c, nil
	}
	_ = c.SetWriteDeadline(deadline)
	if err = c.await(&c.out, writable); err == nil {
		if _, err = c.Write(first[n:]); err == nil && len(first) == 0 {
			err = c.failure()
		}
	}
	if err != nil {
		c.Close()
		return nil, os.NewSyscallError("connect", err)
	}
	return c, c.SetWriteDeadline(time.Time{})
}

// connect begins to connect a new socket.
func connect(source netip.Addr, to netip.AddrPort) (Socket, error) {
	family, sa := sockaddr(to)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Socket{}, os.NewSyscallError("socket", err)
	}
	s := Socket{int32(fd) + 1}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && !to.Addr().IsLoopback() {
		err = setKeepAlive(fd)
	}
	if err != nil {
		s.Close()
		return Socket{}, os.NewSyscallError("setsockopt", err)
	}
	if source.IsValid() {
		if err := bindTo(fd, source); err != nil {
			s.Close()
			return Socket{}, err
		}
	}
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		s.Close()
		return Socket{}, os.NewSyscallError("connect", err)
	}
	return s, nil
}

// sockaddr is an address as system calls take it, with its family.
func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: addr.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: addr.As16(), ZoneId: zoneID(addr.Zone())}
}

// ephemeral reports whether the system gives a port to sockets that connect, by its default of
// net.ipv4.ip_local_port_range.
func ephemeral(port uint16) bool { return port >= 32768 && port <= 60999 }

// connectsToItself reports whether a socket that connects to an address of this machine where nobody
// listens was given the port that it connects to: then it talks to itself (RFC 9293 §3.5, simultaneous
// open), and a backend that is down would seem to be up.
func connectsToItself(fd int, to netip.AddrPort) bool {
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return false
	}
	local, remote := addrPort(sa), to.Addr().Unmap()
	// An unspecified address stands for this machine.
	return local.Port() == to.Port() && (local.Addr().WithZone("") == remote.WithZone("") || remote.IsUnspecified())
}

func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// failure is why the socket's connect has failed, nil if it has not.
func (c *Conn) failure() error {
	if !c.acquire() {
		return net.ErrClosed
	}
	defer c.release()
	code, err := unix.GetsockoptInt(int(c.socket.fd-1), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}
