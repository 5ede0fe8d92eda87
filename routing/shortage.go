package routing

import "errors"

// What wsproxy has run out of on its way to a backend. It says nothing about the backend, which has seen
// nothing of the attempt.
var (
	// ErrPorts is a connection for which no source address has a port left: each of them has as many
	// connections to that one backend as net.ipv4.ip_local_port_range has ports.
	ErrPorts = errors.New("no source port left")

	// ErrDescriptors is one for which the process, or the system, has no descriptor left.
	ErrDescriptors = errors.New("no descriptor left")
)
