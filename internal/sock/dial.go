package sock

import (
	"net"
	"net/netip"
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
