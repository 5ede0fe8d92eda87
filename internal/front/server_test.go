package front_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// answerAll answers every request on every connection with its path, until the backend is closed.
func answerAll(t *testing.T, b *fronttest.Backend) {
	t.Helper()
	b.Serve(func(c *fronttest.Conn) {
		for {
			head, err := c.TryHead()
			if err != nil {
				return
			}
			path := strings.Fields(head)[1]
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		}
	})
}

func TestKeepAliveAndPipelining(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	const n = 5
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
	}
	for name, dial := range map[string]func() *fronttest.Conn{
		"plain": func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
		"TLS":   func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial()
			for i := range n { // one by one
				c.Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
				if _, body := c.Answer(); body != fmt.Sprintf("/%d", i) {
					t.Errorf("answer %d = %q", i, body)
				}
			}
			c.Send(all.String()) // all at once
			for i := range n {
				if _, body := c.Answer(); body != fmt.Sprintf("/%d", i) {
					t.Errorf("pipelined answer %d = %q", i, body)
				}
			}
			for i := range all.Len() { // in ones
				c.Send(all.String()[i : i+1])
			}
			for i := range n {
				if _, body := c.Answer(); body != fmt.Sprintf("/%d", i) {
					t.Errorf("answer %d to a request in ones = %q", i, body)
				}
			}
			c.Send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if r, _ := c.Answer(); !r.Close {
				t.Error("the last answer does not announce the end")
			}
			if rest := c.Rest(); rest != "" {
				t.Errorf("behind the last answer: %q, want the end", rest)
			}
		})
	}
	if lines := p.Log.Shown(); len(lines) != 0 {
		t.Errorf("log has %q, want nothing for requests that went well", lines)
	}
}

// A handshake may come on a connection that has carried requests, and right behind one.
func TestHandshakeBehindAPipelinedRequest(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + fronttest.Handshake + fronttest.ClientHello)
	b := backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
	link := backend.Accept()
	link.Head()
	link.Send(fronttest.Switching)
	if _, body := c.Answer(); body != "hi" {
		t.Errorf("first answer = %q, want hi", body)
	}
	c.Bytes(fronttest.Switching)
	link.Bytes(fronttest.ClientHello)
	closeLink(c, link)
}

// closeLink closes a link from the client's side, with all that belongs to it.
func closeLink(c, b *fronttest.Conn) {
	c.Send(fronttest.ClientClose)
	b.Bytes(fronttest.ClientClose)
	b.Send(fronttest.BackendClose)
	b.Close()
	c.Bytes(fronttest.BackendClose)
	c.Rest()
	c.Close()
}

func TestPanicIsAnsweredAndTheServerLives(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{
		Routes: []routing.RouteConfig{
			{Path: "/broken", Backends: backendAt(backend.Addr)},
			{Path: "/good", Backends: backendAt(backend.Addr)},
		},
		Front: func(c *front.Config) {
			c.Challenge = func(_, path string) (none []byte, ok bool) {
				if path == "/broken" {
					panic("divide")
				}
				return nil, false
			}
		},
	})
	for _, request := range []string{
		"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n",
		strings.Replace(fronttest.Handshake, "/chat?room=1", "/broken", 1),
		"POST /broken HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx",
	} {
		c := fronttest.Dial(t, p.Addr)
		c.Send(request)
		if r, body := c.Answer(); r.StatusCode != 500 || !r.Close || strings.Contains(body, "divide") {
			t.Errorf("answer = %d %q, close %v, want 500, nothing of the fault, and the end", r.StatusCode, body, r.Close)
		}
	}
	if lines := p.Log.Lines("level=ERROR", "divide", "stack="); len(lines) != 3 {
		t.Errorf("log has %d lines of the fault, want 3: %q", len(lines), p.Log.Lines())
	}
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET /good HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := c.Answer(); body != "/good" {
		t.Errorf("answer after the faults = %q, want /good", body)
	}
}

func TestForwardedRequest(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range []struct {
		proto, addr string
		conn        *fronttest.Conn
	}{
		{"http", p.Addr, fronttest.Dial(t, p.Addr)},
		{"https", p.TLSAddr, fronttest.DialTLS(t, p.TLSAddr)},
	} {
		t.Run(tt.proto, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(tt.addr)
			tt.conn.Send("GET /x?y HTTP/1.1\r\nhost: a:1\r\nX-Forwarded-For: 6.6.6.6\r\nb: c\r\nConnection: B2, close\r\nb2: d\r\n\r\n")
			b := backend.Accept()
			want := "GET /x?y HTTP/1.1\r\nhost: a:1\r\nb: c\r\n" +
				"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: " + tt.proto + "\r\nX-Forwarded-Host: a:1\r\nX-Forwarded-Port: " + port + "\r\n\r\n"
			if got := b.Head(); got != want {
				t.Errorf("the backend gets\n%q, want\n%q", got, want)
			}
			b.Send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
			b.Close()
			if _, body := tt.conn.Answer(); body != "to the end" {
				t.Errorf("body = %q", body)
			}
		})
	}
}

// Clients that leave are no faults: nobody is answered and nothing is shown.
func TestClientsThatLeaveAreNoFaults(t *testing.T) {
	backend := fronttest.Listen(t)
	backend.Serve(func(b *fronttest.Conn) { _, _ = io.Copy(io.Discard, b) })
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for name, sent := range map[string]string{
		"at once": "", "in the request line": "GET /", "in the header": "GET / HTTP/1.1\r\nHost: a\r\nX",
		"before the body": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
		"in the body":     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
		"in a chunk":      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
	} {
		for _, reset := range []bool{false, true} {
			c := fronttest.Dial(t, p.Addr)
			c.Send(sent)
			if reset {
				_ = c.Conn.(*net.TCPConn).SetLinger(0)
				c.Close()
				continue
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			if got := c.Rest(); sent == "" && got != "" || sent != "" && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("client that ends its sending half %s reads %q", name, got)
			}
		}
	}
	secure := fronttest.DialTLS(t, p.TLSAddr)
	secure.Close()
	p.Stop()
	for _, line := range p.Log.Shown() {
		t.Errorf("log has %s", line)
	}
}
