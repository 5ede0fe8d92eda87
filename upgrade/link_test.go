package upgrade_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
	"wsproxy/tlsterm"
)

// The 101 is the backend's own.
func TestClientGetsTheBackendsAnswer(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	const answer = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nServer: odd/1\r\nUPGRADE: WebSocket\r\nset-cookie: a=1\r\n" +
		"sec-websocket-accept: " + fronttest.Accept + "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nSet-Cookie: b=2\r\n" +
		"connection: Keep-Alive, upgrade, X-Hop\r\nx-hop: 1\r\nSec-WebSocket-Protocol: chat.v1\r\nx-ODD:  \tspaced \r\nKeep-Alive: 5\r\n\r\n"
	const want = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nServer: odd/1\r\nUPGRADE: websocket\r\nset-cookie: a=1\r\n" +
		"sec-websocket-accept: " + fronttest.Accept + "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nSet-Cookie: b=2\r\n" +
		"connection: Upgrade\r\nSec-WebSocket-Protocol: chat.v1\r\nx-ODD: spaced\r\n\r\n"
	for name, c := range map[string]*fronttest.Conn{"ws": fronttest.Dial(t, p.Addr), "wss": fronttest.DialTLS(t, p.TLSAddr)} {
		t.Run(name, func(t *testing.T) {
			c.Send(with(t, "Upgrade: websocket\r\n", "Upgrade: websocket\r\n"+offer))
			b := backend.Accept()
			b.Head()
			b.Send(answer)
			if got := c.Head(); got != want {
				t.Errorf("the client gets\n%q, want\n%q", got, want)
			}
			end(c, b)
		})
	}
}

// Bytes that either side sends before the link stands come first, in order, once.
func TestEarlyBytes(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	var fromClient, fromBackend strings.Builder
	for i := range 20 {
		fmt.Fprintf(&fromClient, "\x81\x84\x00\x00\x00\x00c%03d", i)
		fmt.Fprintf(&fromBackend, "\x81\x04b%03d", i)
	}
	frames := [2]string{fromClient.String(), fromBackend.String()}
	dials := map[string]func() *fronttest.Conn{
		"ws":  func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
		"wss": func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
	}
	for name, dial := range dials {
		// The cut is how many of the frames' bytes come with the head; what is left follows the 101.
		for _, early := range []struct {
			name            string
			client, backend int
		}{
			{"none", 0, 0},
			{"of the client", len(frames[0]), 0},
			{"of the backend", 0, len(frames[1])},
			{"of both", len(frames[0]), len(frames[1])},
			{"a byte of both", 1, 1},
			{"cut in a mask and in a payload", 13, 9},
			{"all but a byte of both", len(frames[0]) - 1, len(frames[1]) - 1},
		} {
			t.Run(name+", "+early.name, func(t *testing.T) {
				c := dial()
				c.Send(fronttest.Handshake + frames[0][:early.client])
				b := backend.Accept()
				b.Head()
				b.Send(fronttest.Switching + frames[1][:early.backend])
				c.Bytes(fronttest.Switching)
				c.Send(frames[0][early.client:] + fronttest.ClientClose)
				b.Send(frames[1][early.backend:] + fronttest.BackendClose)
				b.Bytes(frames[0] + fronttest.ClientClose)
				c.Bytes(frames[1] + fronttest.BackendClose)
				c.Close()
				b.Close()
			})
		}
	}
}

// Every cut of what each side sends, whatever the segments are.
func TestEarlyBytesInEveryCut(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	client := fronttest.Handshake + fronttest.ClientHello + fronttest.ClientClose
	answer := fronttest.Switching + fronttest.BackendHello + fronttest.BackendClose
	for cut := 1; cut < max(len(client), len(answer)); cut++ {
		c := fronttest.Dial(t, p.Addr)
		at := min(cut, len(client))
		c.Send(client[:at])
		c.Send(client[at:])
		b := backend.Accept()
		b.Head()
		at = min(cut, len(answer))
		b.Send(answer[:at])
		b.Send(answer[at:])
		c.Bytes(answer)
		b.Bytes(fronttest.ClientHello + fronttest.ClientClose)
		c.Close()
		b.Close()
		if t.Failed() {
			t.Fatalf("cut at %d", cut)
		}
	}
}

func TestEverythingInOnes(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, b := range []byte(fronttest.Handshake + fronttest.ClientHello) {
			_, _ = c.Write([]byte{b})
		}
	}()
	b := backend.Accept()
	b.Head()
	for _, x := range []byte(fronttest.Switching + fronttest.BackendHello) {
		b.Send(string([]byte{x}))
	}
	<-sent
	c.Bytes(fronttest.Switching + fronttest.BackendHello)
	b.Bytes(fronttest.ClientHello)
	end(c, b)
}

// More early bytes than any buffer on the way holds wait in the sockets.
func TestVeryManyEarlyBytes(t *testing.T) {
	const n = 2000
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	payload := strings.Repeat("x", 125)
	fromClient := strings.Repeat("\x82\xfd\x00\x00\x00\x00"+payload, n)
	fromBackend := strings.Repeat("\x82\x7d"+payload, n)
	c := fronttest.DialTLS(t, p.TLSAddr)
	sent := make(chan struct{}, 2)
	go func() {
		_, _ = c.Write([]byte(fronttest.Handshake + fromClient))
		sent <- struct{}{}
	}()
	b := backend.Accept()
	b.Head()
	go func() {
		_, _ = b.Write([]byte(fronttest.Switching + fromBackend))
		sent <- struct{}{}
	}()
	c.Bytes(fronttest.Switching)
	c.Bytes(fromBackend)
	b.Bytes(fromClient)
	<-sent
	<-sent
	end(c, b)
}

func TestClientThatLeavesWhileTheBackendIsAsked(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range []struct {
		name  string
		dial  func() *fronttest.Conn
		leave func(c *fronttest.Conn)
	}{
		{"closes", func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) }, func(c *fronttest.Conn) { c.Close() }},
		{"resets", func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) }, func(c *fronttest.Conn) {
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		}},
		{"ends its sending half", func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) }, func(c *fronttest.Conn) {
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}},
		{"closes TLS", func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) }, func(c *fronttest.Conn) { c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(p.Log.Lines("client gone"))
			c := tt.dial()
			c.Send(fronttest.Handshake + fronttest.ClientHello)
			b := backend.Accept()
			b.Head()
			tt.leave(c)
			b.Send(fronttest.Switching)
			if got := b.Rest(); got != "" {
				t.Errorf("the backend gets %q, want the end", got)
			}
			p.Log.Await(t, before+1, "client gone")
			if tt.name == "ends its sending half" {
				if r, _ := c.Answer(); r.StatusCode != 400 {
					t.Errorf("status = %d, want 400", r.StatusCode)
				}
			}
		})
	}
	p.Stop()
	if n := p.Engine.Stats().Opened; n != 0 {
		t.Errorf("links opened = %d, want 0", n)
	}
	if lines := p.Log.Shown(); len(lines) != 0 {
		t.Errorf("log = %q, want nothing", lines)
	}
}

// broken is a client's connection that cannot be written once it is a link's.
type broken struct{ tlsterm.Conn }

func (b broken) Detach() net.Conn { return unwritable{b.Conn.Detach()} }

type unwritable struct{ net.Conn }

func (unwritable) Write([]byte) (int, error) { return 0, errors.New("broken") }

// A client that breaks when its 101 is written leaves nothing behind but its line.
func TestHandOverThatDoesNotHappen(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Conn: func(c tlsterm.Conn) tlsterm.Conn { return broken{c} }})
	for i, dial := range []func() *fronttest.Conn{
		func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
		func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
	} {
		c := dial()
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + fronttest.Handshake + fronttest.ClientHello)
		first := backend.Accept()
		first.Head()
		first.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		if _, body := c.Answer(); body != "hi" {
			t.Errorf("answer before the handshake = %q, want hi", body)
		}
		b := backend.Accept()
		b.Head()
		b.Send(fronttest.Switching + fronttest.BackendHello)
		if got := b.Rest(); got != "" {
			t.Errorf("the backend gets %q, want the end", got)
		}
		if got := c.Rest(); got != "" {
			t.Errorf("the client gets %q, want the end", got)
		}
		p.Log.Await(t, i+1, "msg=link ", `cause="client gone"`)
	}
	p.Stop() // which waits for links on their way, and looks at the slots
	if n := len(p.Log.Shown()); n != 2 {
		t.Errorf("log has %d lines, want one for each", n)
	}
	if n := p.Engine.Stats().Opened; n != 0 {
		t.Errorf("links opened = %d, want 0", n)
	}
}

// A link is one line at its end, with what passed.
func TestLinkIsOneLogLine(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake + fronttest.ClientHello)
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	b.Bytes(fronttest.ClientHello)
	b.Send(fronttest.BackendHello)
	c.Bytes(fronttest.BackendHello)
	if n := p.Slots(); n != 1 {
		t.Errorf("slots taken by an open link = %d, want 1", n)
	}
	if lines := p.Log.Shown(); len(lines) != 0 {
		t.Errorf("log of an open link = %q, want nothing", lines)
	}
	end(c, b)
	p.Log.Await(t, 1, "msg=link ", "client="+c.LocalAddr().String(), "backend="+backend.Addr, "route=*/*", `cause="client closed"`,
		"client_code=1000", "backend_code=1000", "bytes_in=19", "bytes_out=11", "messages_in=1", "messages_out=1", "dur=")
	p.Stop()
	if lines := p.Log.Shown(); len(lines) != 1 {
		t.Errorf("log = %q, want one line", lines)
	}
}
