package front_test

import (
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

const expecting = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

// Whether a client may continue is the backend's to say (RFC 9110 §10.1.1).
func TestExpectContinueIsTheBackendsToAnswer(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for name, dial := range map[string]func() *fronttest.Conn{
		"http":  func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
		"https": func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
	} {
		t.Run(name+", it may", func(t *testing.T) {
			c := dial()
			c.Send(expecting)
			b := backend.Accept()
			if head := b.Head(); strings.Count(head, "\r\nExpect: 100-continue\r\n") != 1 {
				t.Errorf("the backend is asked %q, want the expectation", head)
			}
			const interim = "HTTP/1.1 100 Go on\r\nX-Odd: 1\r\n\r\n"
			b.Send(interim)
			if got := c.Head(); got != interim {
				t.Errorf("first answer = %q, want the backend's %q", got, interim)
			}
			c.Send("abc")
			b.Bytes("abc")
			b.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if r, body := c.Answer(); r.StatusCode != 200 || body != "ok" || r.Close {
				t.Errorf("answer = %d %q, close %v, want 200, ok and no end", r.StatusCode, body, r.Close)
			}
			// The connection is good for another.
			c.Send("GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
			b.Head()
			b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			c.Answer()
			b.Close()
		})
		t.Run(name+", it may not", func(t *testing.T) {
			c := dial()
			c.Send(expecting)
			b := backend.Accept()
			b.Head()
			b.Send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
			// A body that has not been read would be the next request.
			if r, _ := c.Answer(); r.StatusCode != 417 || !r.Close {
				t.Errorf("answer = %d, close %v, want 417 and the end", r.StatusCode, r.Close)
			}
			c.Send("abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			if rest := c.Rest(); rest != "" {
				t.Errorf("behind the answer: %q", rest)
			}
			if got := b.Rest(); got != "" && got != "abc" {
				t.Errorf("the backend gets %q, want the body or nothing", got)
			}
		})
	}
}

// An expectation is kept from nobody: a client that does not wait, and one that speaks HTTP/1.0.
func TestExpectContinueWithoutWaiting(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, request := range []string{expecting, strings.Replace(expecting, "HTTP/1.1", "HTTP/1.0", 1)} {
		c := fronttest.Dial(t, p.Addr)
		c.Send(request + "abc")
		b := backend.Accept()
		b.Head()
		b.Bytes("abc")
		b.Send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		got := c.Head()
		if old := strings.Contains(request, "HTTP/1.0"); strings.HasPrefix(got, "HTTP/1.1 204 ") != old {
			t.Errorf("first answer to %q = %q", request, got)
		}
		b.Close()
	}
}
