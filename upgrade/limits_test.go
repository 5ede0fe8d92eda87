package upgrade_test

import (
	"testing"

	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// What a route says of its links reaches them.
func TestLinkIsUnderItsRoutesPolicy(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{
		Backend: backend.Addr,
		Route:   func(r *routing.RouteConfig) { r.WebSocket.MaxFrame = 5 },
	})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Head()
	b.Send("\x81\x05hello\x81\x06hello!")
	c.Bytes("\x81\x05hello\x88\x19\x03\xe9other end sent too much")
	c.Close()
	b.Close()
}
