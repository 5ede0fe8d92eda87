package sock

import (
	"net"
	"time"
)

// Dial connects to a TCP address, host:port, within timeout; names are resolved by the system. An
// attempt that takes too long ends with a net.Error whose Timeout is true. The caller owns
// the connection, a *net.TCPConn with TCP_NODELAY and keep-alive set.
func Dial(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
