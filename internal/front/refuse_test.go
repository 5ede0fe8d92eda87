package front_test

import (
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// nobody is an address on which nothing listens. A connection from there keeps it from others until the test
// ends.
func nobody(t *testing.T) string {
	t.Helper()
	c := fronttest.Dial(t, fronttest.Listen(t).Addr)
	return c.LocalAddr().String()
}

func backendAt(addr string) []routing.BackendConfig {
	return []routing.BackendConfig{{URL: "http://" + addr, Addr: addr}}
}

// TestRefusals has what a request gets when it goes wrong, and the one log line it leaves.
func TestRefusals(t *testing.T) {
	silent, wrong := fronttest.Listen(t), fronttest.Listen(t)
	const short = 50 * time.Millisecond
	p := fronttest.Start(t, fronttest.Config{
		Routes: []routing.RouteConfig{
			{Host: "a", Path: "/down", Backends: backendAt(nobody(t))},
			{Host: "a", Path: "/silent", Backends: backendAt(silent.Addr), HandshakeTimeout: short, ResponseTimeout: short},
			{Host: "a", Path: "/wrong", Backends: backendAt(wrong.Addr)},
		},
		Front: func(c *front.Config) { c.Limits.BodySize = 1000; c.Limits.HeaderSize = 4 << 10 },
	})
	handshake := func(path string) string {
		return strings.NewReplacer("/chat?room=1", path, "site.test", "a").Replace(fronttest.Handshake)
	}
	badKey := strings.Replace(handshake("/down"), fronttest.Key, "short", 1)
	tests := []struct {
		name, request string
		status        int
		route         string // of the log line
		closes        bool
		fields        map[string]string
	}{
		{"malformed", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400, "", true, nil},
		{"bad handshake", badKey, 400, "a/down", true, nil},
		{"no route for the path", "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", 404, "", false, nil},
		{"no route for the host", "GET /down HTTP/1.1\r\nHost: b\r\n\r\n", 404, "", false, nil},
		{"no route for a dot segment", "GET /x/../down HTTP/1.1\r\nHost: a\r\n\r\n", 404, "", false, nil},
		{"no route for a handshake", handshake("/other"), 404, "", true, nil},
		{"no route for a request with a body",
			"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 404, "", true, nil},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405, "", true,
			map[string]string{"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}},
		{"handshake with POST", strings.Replace(handshake("/down"), "GET", "POST", 1), 405, "a/down", true,
			map[string]string{"Allow": "GET"}},
		{"body too large", "POST /down HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, "a/down", true, nil},
		{"handshake of version 8", strings.Replace(handshake("/down"), "Version: 13", "Version: 8", 1), 426, "a/down", true,
			map[string]string{"Sec-Websocket-Version": "13", "Upgrade": "websocket"}},
		{"header too large", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 5<<10) + "\r\n\r\n", 431, "", true, nil},
		{"backend down", "GET /down HTTP/1.1\r\nHost: a\r\n\r\n", 502, "a/down", false, nil},
		{"backend down, body", "POST /down HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 502, "a/down", true, nil},
		{"backend down, handshake", handshake("/down"), 502, "a/down", true, nil},
		{"backend answers nonsense", "GET /wrong HTTP/1.1\r\nHost: a\r\n\r\n", 502, "a/wrong", false, nil},
		{"backend answers nonsense, handshake", handshake("/wrong"), 502, "a/wrong", true, nil},
		{"backend silent", "GET /silent HTTP/1.1\r\nHost: a\r\n\r\n", 504, "a/silent", false, nil},
		{"backend silent, handshake", handshake("/silent"), 504, "a/silent", true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(p.Log.Shown())
			c := fronttest.Dial(t, p.Addr)
			// A second request tells whether the connection goes on.
			c.Send(tt.request + "GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if tt.route == "a/wrong" {
				b := wrong.Accept()
				b.Head()
				b.Send("nonsense\r\n\r\n")
			}
			r, body := c.Answer()
			if r.StatusCode != tt.status {
				t.Errorf("status = %d %q, want %d", r.StatusCode, body, tt.status)
			}
			if got := r.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type = %q, want text", got)
			}
			if strings.Count(body, "\n") != 1 || strings.Contains(body, "127.0.0.1") {
				t.Errorf("body = %q, want one line that names nothing behind the proxy", body)
			}
			for name, want := range tt.fields {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if r.Close != tt.closes {
				t.Errorf("Connection: close is %v, want %v", r.Close, tt.closes)
			}
			shown := 1
			if !tt.closes {
				shown = 2
				if r, _ := c.Answer(); r.StatusCode != 404 {
					t.Errorf("second request: status %d, want 404", r.StatusCode)
				}
			}
			if rest := c.Rest(); rest != "" {
				t.Errorf("behind the answer: %q, want the end", rest)
			}
			lines := p.Log.Shown()[before:]
			if len(lines) != shown {
				t.Fatalf("log lines = %q, want %d", lines, shown)
			}
			if status := " status=" + r.Status[:3] + " "; !strings.Contains(lines[0], status) || !strings.Contains(lines[0], "msg=refused") {
				t.Errorf("log line %s has no%s", lines[0], status)
			}
			if has := strings.Contains(lines[0], "route="); has != (tt.route != "") || !strings.Contains(lines[0], tt.route) {
				t.Errorf("log line %s, want route %q", lines[0], tt.route)
			}
		})
	}
	if n := p.Slots(); n != 0 {
		t.Errorf("slots taken = %d, want 0", n)
	}
}

// A body is no request, even when its request is refused.
func TestBodyOfARefusedRequestIsNotRead(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	const inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct{ name, request string }{
		{"handshake with a length", strings.Replace(fronttest.Handshake, "Connection:", "Content-Length: 36\r\nConnection:", 1) + inner},
		{"handshake with POST and a length",
			strings.Replace(strings.Replace(fronttest.Handshake, "GET", "POST", 1), "Connection:", "Content-Length: 36\r\nConnection:", 1) + inner},
		{"handshake with chunks",
			strings.Replace(fronttest.Handshake, "Connection:", "Transfer-Encoding: chunked\r\nConnection:", 1) + "24\r\n" + inner + "\r\n0\r\n\r\n"},
		{"handshake with POST and chunks",
			strings.Replace(strings.Replace(fronttest.Handshake, "GET", "POST", 1), "Connection:", "Transfer-Encoding: chunked\r\nConnection:", 1) + "24\r\n" + inner + "\r\n0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.request)
			if r, _ := c.Answer(); r.StatusCode != 400 && r.StatusCode != 405 {
				t.Errorf("status = %d, want a refusal", r.StatusCode)
			}
			if rest := c.Rest(); rest != "" {
				t.Errorf("behind the answer: %q, want the end", rest)
			}
			backend.Untouched()
		})
	}
}

// The answer arrives although the client has far more to send.
func TestTooLargeIsReadByAClientThatSends(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) { c.Limits.BodySize = 1000 }})
	for name, head := range map[string]string{
		"length": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n",
		"header": "GET / HTTP/1.1\r\nHost: a\r\nX: ",
	} {
		t.Run(name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(head + strings.Repeat("x", 8_000_000))
			if r, _ := c.Answer(); r.StatusCode != 413 && r.StatusCode != 431 {
				t.Errorf("status = %d, want 413 or 431", r.StatusCode)
			}
		})
	}
	backend.Untouched()
}

func TestChunkedBodyHasALimit(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) { c.Limits.BodySize = 1000 }})
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	t.Run("kept", func(t *testing.T) {
		c := fronttest.Dial(t, p.Addr)
		c.Send(head + "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n0\r\n\r\n")
		b := backend.Accept()
		if r := b.Request(); len(r) != 1000 {
			t.Errorf("the backend gets %d bytes, want 1000", len(r))
		}
		b.Send("HTTP/1.1 204 No Content\r\n\r\n")
		if r, _ := c.Answer(); r.StatusCode != 204 {
			t.Errorf("status = %d, want 204", r.StatusCode)
		}
		b.Close()
	})
	t.Run("broken", func(t *testing.T) {
		c := fronttest.Dial(t, p.Addr)
		c.Send(head + "3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n")
		b := backend.Accept()
		if r, body := c.Answer(); r.StatusCode != 413 || !r.Close {
			t.Errorf("status = %d %q, close %v, want 413 and the end", r.StatusCode, body, r.Close)
		}
		if got := b.Rest(); strings.HasSuffix(got, "\r\n0\r\n\r\n") {
			t.Error("the backend gets a body that ends")
		}
	})
}
