//go:build !linux

package sock

import "net"

// listenConfig has net set keep-alive on each connection, with the defaults that Listen names.
var listenConfig = net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
