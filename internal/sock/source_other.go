//go:build !linux

package sock

import "syscall"

// leavePort is nil: bind chooses the port, of those that nothing else uses.
var leavePort func(network, address string, raw syscall.RawConn) error
