package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// Dial connects to a TCP address, host:port, within timeout; names are resolved by the system. An
// attempt that takes too long ends with a net.Error whose Timeout is true. The caller owns the
// connection, a *net.TCPConn with TCP_NODELAY set, and keep-alive as Listen sets it unless the
// address is a loopback one: whoever ends on this machine, its system says so.
func Dial(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().IsLoopback() {
		d.KeepAliveConfig.Enable, d.KeepAlive = false, -1
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// DialAt is Dial for a connection that lives at home, a *Conn, and sends first, if that is not
// empty, before it returns. Without a home it is a connection of Dial's.
func DialAt(home Home, addr string, timeout time.Duration, first []byte) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	if home == nil {
		conn, err := Dial(addr, timeout)
		if err != nil || len(first) == 0 {
			return conn, err
		}
		_ = conn.SetWriteDeadline(deadline)
		if _, err := conn.Write(first); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, conn.SetWriteDeadline(time.Time{})
	}
	to, err := netip.ParseAddrPort(addr)
	if err == nil {
		return dialAt(home, to, deadline, first)
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	for i, to := range addrs {
		// Those still to be tried get their share of the time, as with net.Dialer.
		share := time.Now().Add(time.Until(deadline) / time.Duration(len(addrs)-i))
		var conn net.Conn
		if conn, err = dialAt(home, to, share, first); err == nil {
			return conn, nil
		}
		if !time.Now().Before(deadline) {
			break
		}
	}
	return nil, err
}

func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(os.ErrDeadlineExceeded, err)
		}
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return addrs, nil
}

// Watch has it noticed from now on when the other side of a connection goes, where that needs to be
// asked for.
func Watch(conn net.Conn) error {
	if c, ok := plain(conn).(interface{ Watch() error }); ok {
		return c.Watch()
	}
	return nil
}

// HomeOf is where a connection lives, nil when that is nowhere. A *tls.Conn lives where the one
// below it does.
func HomeOf(conn net.Conn) Home {
	if c, ok := plain(conn).(interface{ Home() Home }); ok {
		return c.Home()
	}
	return nil
}
