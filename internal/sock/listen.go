package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// ListenAgain gives a second listener on the socket of one of Listen's: the two accept from one queue, and
// either may be closed without a connection being lost that waits there. The caller closes it.
func ListenAgain(ln net.Listener, home func() Home) (net.Listener, error) {
	other, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("listen again on %s: %w", ln.Addr(), errors.ErrUnsupported)
	}
	file, err := other.File()
	if err != nil {
		return nil, fmt.Errorf("listen again on %s: %w", ln.Addr(), err)
	}
	defer file.Close()
	again, err := net.FileListener(file)
	if err != nil || home == nil {
		return again, err
	}
	return settle(again.(*net.TCPListener), home)
}
