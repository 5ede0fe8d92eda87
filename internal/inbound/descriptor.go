package inbound

import "wsproxy/internal/sock"

// Descriptor is the number of the connection's descriptor, as sock's function of that name has it.
func (c *Conn) Descriptor() int { return sock.Descriptor(c.Conn) }
