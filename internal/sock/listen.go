package sock

import (
	"context"
	"net"
)

// Listen listens on a TCP address, host:port. What is accepted has keep-alive on: a client that
// vanished without a word is found after 15 s of silence and nine probes, 15 s apart. The caller
// closes the listener.
func Listen(address string) (net.Listener, error) {
	return listenConfig.Listen(context.Background(), "tcp", address)
}
