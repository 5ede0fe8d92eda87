//go:build !linux

package sock

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Home is where connections live that a loop waits for. There are none on this system.
type Home interface{ none() }

func dialAt(Home, netip.Addr, netip.AddrPort, time.Time, []byte) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func settle(ln *net.TCPListener, _ func() Home) (net.Listener, error) { return ln, nil }
