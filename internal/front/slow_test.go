package front_test

import (
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
)

// A client that sends nothing, or not all, is cut off; only one that had begun hears why.
func TestSlowClients(t *testing.T) {
	const short = 50 * time.Millisecond
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) {
		c.Timeouts.RequestHeader, c.Timeouts.KeepAlive, c.Timeouts.RequestBody = short, short, short
	}})
	for _, tt := range []struct {
		name, sent, answer string
		asked              bool // the backend has been
	}{
		{"nothing", "", "", false},
		{"an empty line", "\r\n", "", false},
		{"half a request line", "GET /", "HTTP/1.1 408 ", false},
		{"half a header", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "HTTP/1.1 408 ", false},
		{"a CR", "GET / HTTP/1.1\r\nHost: a\r\n\r", "HTTP/1.1 408 ", false},
		{"no body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 408 ", true},
		{"half a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "HTTP/1.1 408 ", true},
		{"half a chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 408 ", true},
		{"half a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", "HTTP/1.1 408 ", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, lines, refused := len(p.Log.Shown()), 0, p.Server.Refused()["slow"]
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.sent)
			if tt.asked {
				// The head is the backend's at once, and what is there of the body; its end never comes.
				if got := backend.Accept().Rest(); strings.HasSuffix(got, "0\r\n\r\n") {
					t.Errorf("the backend gets a body that ends: %q", got)
				}
			}
			got := c.Rest()
			if tt.answer != "" {
				lines = 1
			}
			if !strings.HasPrefix(got, tt.answer) || tt.answer == "" && got != "" {
				t.Errorf("answer = %q, want %q and the end", got, tt.answer)
			}
			if shown := p.Log.Shown()[before:]; len(shown) != lines || lines == 1 && !strings.Contains(shown[0], "status=408 reason=slow ") {
				t.Errorf("log lines = %q, want %d", shown, lines)
			}
			if n := p.Server.Refused()["slow"] - refused; n != int64(lines) {
				t.Errorf("refused for being slow: %d, want %d", n, lines)
			}
			backend.Untouched()
		})
	}
	t.Run("nothing after a request", func(t *testing.T) {
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		b := backend.Accept()
		b.Head()
		b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		c.Answer()
		if got := c.Rest(); got != "" {
			t.Errorf("after the keep-alive timeout: %q, want the end", got)
		}
	})
}

// The timeouts of heads and between requests are not a body's.
func TestUploadMayPauseForLongerThanAHead(t *testing.T) {
	const short = 50 * time.Millisecond
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) {
		c.Timeouts.RequestHeader, c.Timeouts.KeepAlive = short, short
	}})
	c := fronttest.Dial(t, p.Addr)
	c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
	b := backend.Accept()
	b.Head()
	b.Bytes("x")
	// Both timeouts pass while another client is cut off.
	if got := fronttest.Dial(t, p.Addr).Rest(); got != "" {
		t.Errorf("silent client reads %q", got)
	}
	c.Send(strings.Repeat("x", 99_999))
	b.Bytes(strings.Repeat("x", 99_999))
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	if r, _ := c.Answer(); r.StatusCode != 204 {
		t.Errorf("status = %d, want 204", r.StatusCode)
	}
}
