package sock

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// leavePortOf has the bind to come take an address without a port, which connect then chooses
// (IP_BIND_ADDRESS_NO_PORT, ip(7)): bind would have to find one that nobody uses for anything, connect
// only one that is not in use for the same address and port on the other side. It is for IPv6 as well.
func leavePortOf(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// bindTo binds a socket to an address and leaves the port to connect.
func bindTo(fd int, source netip.Addr) error {
	if err := leavePortOf(fd); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	_, from := sockaddr(netip.AddrPortFrom(source, 0))
	return os.NewSyscallError("bind", unix.Bind(fd, from))
}

// leavePort is leavePortOf for a net.Dialer.
func leavePort(_, _ string, raw syscall.RawConn) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) { err = leavePortOf(int(fd)) })
	return errors.Join(controlErr, err)
}
