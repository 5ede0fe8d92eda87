package sock

import "net"

// Descriptors is how many descriptors the process may have, all kinds of files together. Go has raised that
// to what the process is allowed to, less one, before main begins. Zero stands for a system that does not
// tell, or has no limit.
func Descriptors() int { return descriptorLimit() }

// Descriptor is the number of a connection's descriptor, negative where there is none to be known. The
// system gives the lowest number that is free, so that as many descriptors at least were in use when a
// connection was accepted.
func Descriptor(conn net.Conn) int { return descriptorOf(plain(conn)) }
