package front_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
)

// An answer comes as the backend wrote it, byte for byte, but for what belongs to one connection.
func TestAnswersKeepOrderAndSpelling(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for name, tt := range map[string]struct{ answer, want string }{
		"a length": {
			"HTTP/1.1 200 Fine, thank you\r\nx-b:1\r\nSERVER: odd/1\r\nSet-Cookie: a=1\r\nx-A:  2\t\r\ncontent-length: 2\r\nset-cookie: b\r\nDATE: never\r\n\r\nok",
			"HTTP/1.1 200 Fine, thank you\r\nx-b: 1\r\nSERVER: odd/1\r\nSet-Cookie: a=1\r\nx-A: 2\r\ncontent-length: 2\r\nset-cookie: b\r\nDATE: never\r\n\r\nok",
		},
		"chunks": {
			"HTTP/1.1 200 OK\r\nX: \xff\r\nKeep-Alive: 5\r\nTRANSFER-ENCODING: chunked\r\nconnection: x-hop\r\nX-Hop: 1\r\nTrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX: \xff\r\nTRANSFER-ENCODING: chunked\r\nTrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
		},
		"no reason":   {"HTTP/1.1 204\r\nX: y\r\n\r\n", "HTTP/1.1 204 \r\nX: y\r\n\r\n"},
		"an odd code": {"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\nX:\r\n\r\n", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\nX: \r\n\r\n"},
		"HTTP/1.0":    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			b := backend.Accept()
			b.Head()
			b.Send(tt.answer)
			c.Bytes(tt.want)
			c.Close()
			b.Close()
		})
	}
}

// A client that speaks HTTP/1.0 keeps its connection if it asks to and if the answer lets it.
func TestKeepAliveWithHTTP10(t *testing.T) {
	backend := fronttest.Listen(t)
	backend.Serve(func(b *fronttest.Conn) {
		for {
			head, err := b.TryHead()
			if err != nil {
				return
			}
			if strings.Contains(head, "/chunked") {
				fmt.Fprint(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
			} else {
				fmt.Fprint(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range []struct {
		name, target, fields string
		keeps                bool
	}{
		{"asked for", "/", "Connection: keep-alive\r\n", true},
		{"asked for in other letters", "/", "Connection: Keep-Alive\r\n", true},
		{"not asked for", "/", "", false},
		{"something else is", "/", "Connection: x\r\n", false},
		{"both are", "/", "Connection: keep-alive, close\r\n", false},
		{"asked for, and the answer has no length", "/chunked", "Connection: keep-alive\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			request := "GET " + tt.target + " HTTP/1.0\r\n" + tt.fields + "\r\n"
			c.Send(request)
			if !tt.keeps {
				got := c.Rest()
				if !strings.HasSuffix(got, "\r\n\r\nok") || strings.Contains(got, "chunked") || strings.Contains(strings.ToLower(got), "keep-alive") {
					t.Errorf("answer = %q, want ok to the end", got)
				}
				return
			}
			for range 3 {
				if got := c.Head(); !strings.Contains(got, "\r\nConnection: keep-alive\r\n") {
					t.Errorf("answer = %q, want it to say that it keeps the connection", got)
				}
				c.Bytes("ok")
				c.Send(request)
			}
		})
	}
}

// awaitWaiting waits until n connections wait without a goroutine.
func awaitWaiting(t *testing.T, p *fronttest.Proxy, n int) {
	t.Helper()
	for deadline := time.Now().Add(fronttest.Hung); p.Server.Waiting() != n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections wait, want %d", p.Server.Waiting(), n)
		}
	}
}

// A connection that is idle waits without a goroutine, carries on when it is used, and ends with the server.
func TestIdleConnectionsWait(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	if p.Engine.Home() == nil {
		t.Skip("connections live in no loop here")
	}
	const n = 20
	var conns []*fronttest.Conn
	for i := range n {
		if i%2 == 0 {
			conns = append(conns, fronttest.DialTLS(t, p.TLSAddr))
		} else {
			conns = append(conns, fronttest.Dial(t, p.Addr))
		}
	}
	for range 2 {
		for _, c := range conns {
			c.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, body := c.Answer(); body != "/a" {
				t.Errorf("answer = %q, want /a", body)
			}
		}
		awaitWaiting(t, p, n)
	}
	// One leaves, one goes on with a head in two parts, and one is refused.
	conns[0].Close()
	awaitWaiting(t, p, n-1)
	conns[1].Send("GET /half HTTP/1.1\r\n")
	awaitWaiting(t, p, n-2)
	conns[1].Send("Host: a\r\n\r\n")
	if _, body := conns[1].Answer(); body != "/half" {
		t.Errorf("answer = %q, want /half", body)
	}
	conns[2].Send("GET /\n")
	if r, _ := conns[2].Answer(); r.StatusCode != 400 || !r.Close {
		t.Errorf("answer to bare LF = %d, want 400 and the end", r.StatusCode)
	}
	conns[2].Close()
	awaitWaiting(t, p, n-2) // conns[1] again
	if err := <-shutdown(p, t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for i, c := range conns {
		if i == 0 || i == 2 {
			continue
		}
		if rest := c.Rest(); rest != "" {
			t.Errorf("an idle connection reads %q at the end", rest)
		}
	}
	if n := p.Server.Waiting(); n != 0 {
		t.Errorf("connections that wait after Shutdown = %d, want 0", n)
	}
	if lines := p.Log.Shown(); len(lines) != 1 {
		t.Errorf("log = %q, want one refusal", lines)
	}
}

// While it shuts down every answer, to a request that runs and to one that had begun, ends its connection.
func TestAnswersDuringShutdownEndTheirConnections(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	running, begun := fronttest.Dial(t, p.Addr), fronttest.Dial(t, p.Addr)
	begun.Send("GET /begun HTTP/1.1\r\nHost: a\r\n")
	running.Send("GET /running HTTP/1.1\r\nHost: a\r\n\r\n")
	b := backend.Accept()
	b.Head()
	ended := shutdown(p, t.Context())
	awaitRefusal(t, p.Addr)
	begun.Send("\r\n")
	other := backend.Accept()
	other.Head()
	for _, one := range []*fronttest.Conn{b, other} {
		one.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	for _, c := range []*fronttest.Conn{running, begun} {
		c.Send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
		if r, body := c.Answer(); r.StatusCode != http.StatusOK || body != "ok" || !r.Close {
			t.Errorf("answer = %d %q, close %v, want ok and the end", r.StatusCode, body, r.Close)
		}
		if rest := c.Rest(); rest != "" {
			t.Errorf("behind the answer: %q, want the end", rest)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	backend.Untouched()
}
