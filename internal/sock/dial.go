package sock

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Dialer connects to TCP addresses. The zero value connects to literal ones only.
type Dialer struct {
	// Resolver looks names up; whoever made it closes it.
	Resolver *Resolver
}

// Request is how one connection is to be made.
type Request struct {
	// Home is where it lives, as a *Conn. Nil stands for nowhere: it is a *net.TCPConn then.
	Home Home

	// Timeout bounds all that is done, the lookup of a name included.
	Timeout time.Duration

	// First is sent before anything else, unless it is empty.
	First []byte

	// Sources are the addresses that it may come from: the first that is of the family of the address to
	// connect to, and the next where that has no port left. The system chooses where there is none. What is
	// bound to them has its port chosen by connect, so that each address has all its ports for each address
	// and port it connects to, and not once for all of them.
	Sources []netip.Addr
}

// maxAddrs is how many addresses of a name need no allocation.
const maxAddrs = 8

// Dial connects to addr, host:port. Of a name the addresses are tried one after the other. An attempt that
// takes too long ends with a net.Error whose Timeout is true; one that fails because this machine has run
// out of ports or descriptors wraps ErrPorts or ErrDescriptors.
//
// The caller owns the connection. TCP_NODELAY is set, and keep-alive as Listen sets it unless the address
// is a loopback one: whoever ends on this machine, its system says so.
func (d *Dialer) Dial(addr string, r Request) (net.Conn, error) {
	deadline := time.Now().Add(r.Timeout)
	if to, err := netip.ParseAddrPort(addr); err == nil {
		return dial(to, deadline, &r)
	}
	if d.Resolver == nil {
		return nil, &net.AddrError{Err: "name without a resolver", Addr: addr}
	}
	var buf [maxAddrs]netip.AddrPort
	addrs, err := d.Resolver.AppendAddrPorts(buf[:0], addr, r.Timeout)
	if err != nil {
		return nil, err
	}
	for i, to := range addrs {
		// Those still to be tried get their share of the time, as with net.Dialer.
		share := time.Now().Add(time.Until(deadline) / time.Duration(len(addrs)-i))
		var conn net.Conn
		if conn, err = dial(to, share, &r); err == nil {
			return conn, nil
		}
		if !time.Now().Before(deadline) {
			break
		}
	}
	return nil, err
}

// dial connects to an address from the first of the sources that has a port left.
func dial(to netip.AddrPort, deadline time.Time, r *Request) (net.Conn, error) {
	var short error
	for _, source := range r.Sources {
		if source.Is4() != to.Addr().Unmap().Is4() {
			continue
		}
		conn, err := dialFrom(source, to, deadline, r)
		if err == nil || !errors.Is(err, ErrPorts) {
			return conn, err
		}
		if short == nil {
			short = err
		}
	}
	if short != nil {
		return nil, short
	}
	return dialFrom(netip.Addr{}, to, deadline, r)
}

// dialFrom connects from a source, the system's choice for the zero one.
func dialFrom(source netip.Addr, to netip.AddrPort, deadline time.Time, r *Request) (net.Conn, error) {
	if r.Home != nil {
		conn, err := dialAt(r.Home, source, to, deadline, r.First)
		return conn, shortage(source, err)
	}
	conn, err := dialNowhere(source, to, deadline, r.First)
	return conn, shortage(source, err)
}

func dialNowhere(source netip.Addr, to netip.AddrPort, deadline time.Time, first []byte) (net.Conn, error) {
	d := net.Dialer{Deadline: deadline, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	if source.IsValid() {
		d.LocalAddr, d.Control = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)), leavePort
	}
	if to.Addr().IsLoopback() {
		d.KeepAliveConfig.Enable, d.KeepAlive = false, -1
	}
	conn, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	if len(first) > 0 {
		_ = conn.SetWriteDeadline(deadline)
		if _, err = conn.Write(first); err == nil {
			err = conn.SetWriteDeadline(time.Time{})
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Watch has it noticed from now on when the other side of a connection goes, where that needs to be
// asked for.
func Watch(conn net.Conn) error {
	if c, ok := plain(conn).(interface{ Watch() error }); ok {
		return c.Watch()
	}
	return nil
}

// OnReadable has f called as Conn.OnReadable does, and reports false when a connection cannot do that.
// One with an OnReadable of its own, over TLS, is asked instead.
func OnReadable(conn net.Conn, f func()) bool {
	switch c := conn.(type) {
	case interface{ OnReadable(f func()) error }:
		return c.OnReadable(f) == nil
	case interface{ OnReadable(f func()) bool }:
		return c.OnReadable(f)
	}
	return false
}

// HomeOf is where a connection lives, nil when that is nowhere. One over TLS lives where the one below
// it does.
func HomeOf(conn net.Conn) Home {
	if c, ok := plain(conn).(interface{ Home() Home }); ok {
		return c.Home()
	}
	return nil
}
