package sock

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive is what the system says of a connection's keep-alive.
func keepAlive(t *testing.T, conn net.Conn) (on, idle, interval, probes int) {
	t.Helper()
	control(conn, func(fd int) {
		for _, o := range []struct {
			level, option int
			into          *int
		}{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, &on}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, &idle},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, &interval}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, &probes},
		} {
			value, err := unix.GetsockoptInt(fd, o.level, o.option)
			if err != nil {
				t.Error(err)
			}
			*o.into = value
		}
	})
	return on, idle, interval, probes
}

func TestAcceptedConnectionsInheritKeepAlive(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := new(Dialer).Dial(ln.Addr().String(), Request{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if on, idle, interval, probes := keepAlive(t, accepted); on != 1 || idle != 15 || interval != 15 || probes != 9 {
		t.Errorf("accepted: keep-alive %d after %d s, every %d s, %d times; want 1, 15, 15, 9", on, idle, interval, probes)
	}
	if on, _, _, _ := keepAlive(t, dialled); on != 0 {
		t.Errorf("dialled to loopback: keep-alive %d, want 0", on)
	}
}
