package sock

import (
	"net"
	"net/netip"
	"time"
)

// Dialer connects to TCP addresses. The zero value connects to literal ones only.
type Dialer struct {
	// Resolver looks names up; whoever made it closes it.
	Resolver *Resolver
}

// maxAddrs is how many addresses of a name need no allocation.
const maxAddrs = 8

// DialAt connects to addr, host:port, within timeout, the lookup of a name included, and sends first,
// if that is not empty, before it returns. Of a name the addresses are tried one after the other. An
// attempt that takes too long ends with a net.Error whose Timeout is true.
//
// The caller owns the connection. It lives at home as a *Conn; without a home it is a *net.TCPConn.
// TCP_NODELAY is set, and keep-alive as Listen sets it unless the address is a loopback one: whoever
// ends on this machine, its system says so.
func (d *Dialer) DialAt(home Home, addr string, timeout time.Duration, first []byte) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	if to, err := netip.ParseAddrPort(addr); err == nil {
		return dial(home, to, deadline, first)
	}
	if d.Resolver == nil {
		return nil, &net.AddrError{Err: "name without a resolver", Addr: addr}
	}
	var buf [maxAddrs]netip.AddrPort
	addrs, err := d.Resolver.AppendAddrPorts(buf[:0], addr, timeout)
	if err != nil {
		return nil, err
	}
	for i, to := range addrs {
		// Those still to be tried get their share of the time, as with net.Dialer.
		share := time.Now().Add(time.Until(deadline) / time.Duration(len(addrs)-i))
		var conn net.Conn
		if conn, err = dial(home, to, share, first); err == nil {
			return conn, nil
		}
		if !time.Now().Before(deadline) {
			break
		}
	}
	return nil, err
}

func dial(home Home, to netip.AddrPort, deadline time.Time, first []byte) (net.Conn, error) {
	if home != nil {
		return dialAt(home, to, deadline, first)
	}
	d := net.Dialer{Deadline: deadline, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
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
