package sock

import (
	"context"
	"net"
)

// Listen listens on a TCP address, host:port. What is accepted has keep-alive on: a client that
// vanished without a word is found after 15 s of silence and nine probes, 15 s apart. The caller
// closes the listener.
//
// home gives for each connection where it is to live: it is a *Conn then. A home that is nil stands for
// nowhere, and connections are *net.TCPConns.
func Listen(address string, home func() Home) (net.Listener, error) {
	ln, err := listenConfig.Listen(context.Background(), "tcp", address)
	if err != nil || home == nil {
		return ln, err
	}
	return settle(ln.(*net.TCPListener), home)
}
