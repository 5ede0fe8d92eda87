package upgrade_test

import (
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

// smuggled are what a client may send behind its handshake in the hope that somebody takes it for a next
// request, or for frames.
var smuggled = map[string]string{
	"a request":              "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n",
	"a request with a body":  "POST /smuggled HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello",
	"frames":                 fronttest.ClientHello + fronttest.ClientHello,
	"frames and a request":   fronttest.ClientHello + "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n",
	"another handshake":      fronttest.Handshake,
	"a CRLF and a request":   "\r\nGET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n",
	"many requests":          strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n", 500),
	"no more than the start": "GET /smuggled HTT",
}

// A handshake that we refuse ends its connection, and the backend hears of nothing.
func TestNothingIsSmuggledBehindAHandshakeThatIsRefused(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for what, tt := range map[string]struct {
		handshake string
		status    int
	}{
		"a wrong version":     {with(t, "Version: 13", "Version: 777"), 426},
		"no version":          {with(t, "Sec-WebSocket-Version: 13\r\n", ""), 426},
		"a wrong key":         {with(t, fronttest.Key, "x"), 400},
		"no Connection":       {with(t, "Connection: Upgrade\r\n", ""), 400},
		"HTTP/1.0":            {with(t, "HTTP/1.1", "HTTP/1.0"), 400},
		"POST":                {with(t, "GET", "POST"), 405},
		"a length":            {with(t, "Connection: Upgrade", "Connection: Upgrade\r\nContent-Length: 10"), 400},
		"chunks":              {with(t, "Connection: Upgrade", "Connection: Upgrade\r\nTransfer-Encoding: chunked"), 400},
		"POST with a length":  {strings.Replace(with(t, "Connection: Upgrade", "Connection: Upgrade\r\nContent-Length: 10"), "GET", "POST", 1), 405},
		"an unknown host too": {strings.Replace(with(t, "Version: 13", "Version: 777"), "/chat", "/../chat", 1), 404},
	} {
		for name, more := range smuggled {
			t.Run(what+", "+name, func(t *testing.T) {
				c := fronttest.Dial(t, p.Addr)
				c.Send(tt.handshake + more)
				r, body := c.Answer()
				if r.StatusCode != tt.status || !r.Close && r.Header.Get("Connection") == "" {
					t.Errorf("answer = %d %q, close %v, want %d and the end", r.StatusCode, body, r.Close, tt.status)
				}
				if rest := c.Rest(); rest != "" {
					t.Errorf("behind the answer: %q, want the end", rest)
				}
				c.Close()
				backend.Untouched()
			})
		}
	}
}

// answers are those of a backend that makes no link, whatever it says, with what the client gets.
var answers = map[string]struct {
	answer string
	status int
}{
	"426":                      {"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 426},
	"426 and keep-alive":       {"HTTP/1.1 426 Upgrade Required\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", 426},
	"200":                      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200},
	"200 with the fields":      {strings.Replace(fronttest.Switching, "101 Switching Protocols\r\n", "200 OK\r\nContent-Length: 0\r\n", 1), 200},
	"204":                      {"HTTP/1.1 204 No Content\r\n\r\n", 204},
	"304":                      {"HTTP/1.1 304 Not Modified\r\n\r\n", 304},
	"403 in chunks":            {"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 403},
	"a 101 with a wrong key":   {strings.Replace(fronttest.Switching, fronttest.Accept, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1), 502},
	"a 101 without a key":      {strings.Replace(fronttest.Switching, "Sec-WebSocket-Accept: "+fronttest.Accept+"\r\n", "", 1), 502},
	"a 101 without an Upgrade": {strings.Replace(fronttest.Switching, "Upgrade: websocket\r\n", "", 1), 502},
	"a 101 to something else":  {strings.Replace(fronttest.Switching, "Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 1), 502},
	"a 101 with a body":        {strings.Replace(fronttest.Switching, "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 1), 502},
	"a 101 in HTTP/1.0":        {strings.Replace(fronttest.Switching, "HTTP/1.1", "HTTP/1.0", 1), 502},
	"a 101 and another answer": {"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502},
	"a 102 and a 426":          {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426},
}

// A backend that makes no link never gets what stood behind the handshake, even if it lies about it, and
// the client's connection ends: who believes in a link sends frames, and those are no requests.
func TestNothingIsSmuggledToABackendThatMakesNoLink(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for what, tt := range answers {
		for name, more := range smuggled {
			t.Run(what+", "+name, func(t *testing.T) {
				c := fronttest.Dial(t, p.Addr)
				defer c.Close()
				c.Send(fronttest.Handshake + more)
				b := backend.Accept()
				b.Head()
				b.Send(tt.answer)
				r, body := c.Answer()
				if r.StatusCode != tt.status || !r.Close {
					t.Errorf("answer = %d %q, close %v, want %d and the end", r.StatusCode, body, r.Close, tt.status)
				}
				if rest := c.Rest(); rest != "" {
					t.Errorf("behind the answer: %q, want the end", rest)
				}
				if got := b.Rest(); got != "" {
					t.Errorf("the backend gets %q, want the end", got)
				}
				b.Close()
				backend.Untouched()
			})
		}
	}
	if n := p.Engine.Stats().Opened; n != 0 {
		t.Errorf("links opened = %d, want 0", n)
	}
}

// Nor before it has agreed: the bytes wait for the 101.
func TestNothingPassesBeforeThe101(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for name, more := range smuggled {
		t.Run(name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(fronttest.Handshake + more)
			b := backend.Accept()
			head := b.Head()
			if !strings.HasPrefix(head, "GET /chat?room=1 HTTP/1.1\r\n") {
				t.Errorf("the backend is asked %q", head)
			}
			if n := b.Ready(); n != 0 {
				t.Errorf("the backend has got %d bytes before it has agreed", n)
			}
			b.Send(fronttest.Switching)
			c.Bytes(fronttest.Switching)
			if name == "frames" {
				b.Bytes(more) // which are the link's from here on
			}
			c.Close()
			b.Close()
		})
	}
}

// Where frames are looked at, a request in their place ends the link and goes nowhere.
func TestARequestIsNoFrame(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake + "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n")
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	if got := c.Frame(); !strings.HasPrefix(got, "\x03\xea") {
		t.Errorf("Close to the client = %q, want 1002", got)
	}
	if got := b.Frame(); !strings.HasPrefix(got, "\x03") {
		t.Errorf("the backend gets a frame with %q, want a Close", got)
	}
	c.Close()
	if got := b.Rest(); got != "" {
		t.Errorf("the backend gets %q behind it, want the end", got)
	}
	b.Close()
}
