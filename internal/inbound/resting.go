package inbound

// Rest is for a handler whose answer goes on when it has returned, without its goroutine: fasthttp is to
// close the connection, and instead f is called, which has the connection then but must not wait for
// anything. Whoever writes the rest of the answer, by Write or TryWrite, calls Resume behind it.
func (c *Conn) Rest(f func()) { c.rests.Store(&f) }

// Linger is as tlsterm.Conn has it, for a connection that does not rest: its end is Resume's to bring.
func (c *Conn) Linger() {
	if c.rests.Load() == nil {
		c.Conn.Linger()
	}
}

// Resume ends what Rest has begun, on a goroutine that becomes the connection's. With keep it serves the
// next request, else it closes the connection, lingering.
func (c *Conn) Resume(keep bool) {
	if keep && !c.Closing() {
		c.port.cfg.Load().Serve(c)
		return
	}
	c.Conn.Linger()
	c.Conn.Close()
}
