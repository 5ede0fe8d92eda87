package forward

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"wsproxy/internal/dial"
	"wsproxy/routing"
)

// neverDials fails as a dial does that has run out of time.
func neverDials(*routing.Backend, dial.Request) (net.Conn, error) { return nil, routing.ErrTimeout }

const (
	keepGet    = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	keepPut    = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
	keepPost   = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
	keepDelete = "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"
	keepPostHi = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
)

var largePut = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10000)

// What becomes of a request on a connection that the backend closes at the worst moment: it has read
// the request, and does not answer.
func TestSecondRequestOnAConnectionThatFails(t *testing.T) {
	tests := []struct {
		name, request, status, body string
	}{
		{"GET is repeated", keepGet, "200", "2"},
		{"DELETE is repeated", keepDelete, "200", "2"},
		{"PUT with a body that is there is repeated", keepPut, "200", "2"},
		{"PUT with a body that has to be waited for is not", largePut, "502", ""},
		{"POST is not", keepPost, "502", ""},
		{"POST with a body that is there is not", keepPostHi, "502", ""},
		{"PATCH is not", "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", "502", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			backend := rawBackend(t, func(c *rawConn) {
				for n := 1; ; n++ {
					if _, err := c.readHead(); err != nil {
						return
					}
					requests.Add(1)
					if c.n == 1 && n == 2 {
						return
					}
					if answerNumber(c) != nil {
						return
					}
				}
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := p.dial(t)
			if status, body := ask(t, c, keepGet); status != "200" || body != "1" {
				t.Fatalf("first request: %s %q", status, body)
			}
			<-p.errs
			status, body := ask(t, c, tt.request)
			want := int32(3)
			if tt.status == "502" {
				p.wantError(t, routing.ErrAnswer)
				want, body = 2, ""
			}
			if status != tt.status || body != tt.body {
				t.Errorf("got %s %q, want %s %q", status, body, tt.status, tt.body)
			}
			if n := requests.Load(); n != want {
				t.Errorf("backend saw %d requests, want %d", n, want)
			}
		})
	}
}

// A new connection has no excuse: what fails there has failed.
func TestNothingIsRepeatedTwice(t *testing.T) {
	var requests atomic.Int32
	backend := rawBackend(t, func(c *rawConn) {
		if _, err := c.readHead(); err == nil {
			requests.Add(1)
		}
		if c.n == 1 && answerNumber(c) == nil {
			if _, err := c.readHead(); err == nil {
				requests.Add(1)
			}
		}
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := p.dial(t)
	ask(t, c, keepGet)
	if status, _ := ask(t, c, keepGet); status != "502" {
		t.Errorf("got %s, want 502", status)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("backend saw %d requests, want 3", n)
	}
}

// A connection that must not carry another request carries none.
func TestConnectionsThatAreNotReused(t *testing.T) {
	tests := []struct {
		name, request, answer string
	}{
		{"closed by the backend", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"},
		{"Connection: close", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n1"},
		{"HTTP/1.0", keepPost, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1"},
		{"unread bytes", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 408 Request Timeout\r\n\r\n"},
		{"a body behind a 204", keepPost, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"101", keepPost, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"},
		{"two lengths", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			firstGone := make(chan struct{})
			backend := rawBackend(t, func(c *rawConn) {
				if _, err := c.readHead(); err != nil {
					return
				}
				if c.n == 1 {
					defer close(firstGone)
					if c.send(tt.answer) != nil || tt.name == "closed by the backend" {
						c.Close()
						return
					}
					if h, err := c.readHead(); err == nil {
						t.Errorf("a second request came: %q", h)
					}
					return
				}
				_ = answerNumber(c)
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := p.dial(t)
			ask(t, c, tt.request)
			if tt.name != "unread bytes" {
				// All but this one are closed at once.
				<-firstGone
			}
			if status, body := ask(t, c, keepPost); status != "200" || body != "2" {
				t.Errorf("second request: %s %q, want it on another connection", status, body)
			}
		})
	}
}

// An answer that nobody asked for must not become the answer to the next request.
func TestUnsolicitedAnswerIsNotTaken(t *testing.T) {
	idle, sent := make(chan struct{}), make(chan struct{})
	backend := rawBackend(t, func(c *rawConn) {
		for {
			if _, err := c.readHead(); err != nil {
				return
			}
			_ = answerNumber(c)
			if c.n == 1 {
				<-idle
				_ = c.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				close(sent)
			}
		}
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := p.dial(t)
	ask(t, c, keepGet)
	close(idle)
	<-sent
	if status, body := ask(t, c, keepGet); status != "200" || body != "2" {
		t.Errorf("got %s %q, want 200 from the second connection", status, body)
	}
}

// dullConn fails with its second write, of which it takes so many bytes.
type dullConn struct {
	net.Conn
	writes, takes int
}

func (c *dullConn) Write(p []byte) (int, error) {
	if c.writes++; c.writes < 2 {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:min(c.takes, len(p))])
	return n, io.ErrClosedPipe
}

// What no backend can have seen is sent again, whatever it is.
func TestRequestThatWasNeverWritten(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		takes         int
		status        string
	}{
		{"POST", keepPost, 0, "200"},
		{"POST with a body", keepPostHi, 0, "200"},
		{"a body that streams", largePut, 0, "200"},
		{"a byte of POST has been written", keepPost, 1, "502"},
		{"a byte of a body that streams has been written", largePut, 1, "502"},
		{"a byte of GET has been written", keepGet, 1, "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := true
			backend := rawBackend(t, func(c *rawConn) {
				for {
					r, err := http.ReadRequest(c.Reader)
					if err != nil {
						return
					}
					if n, err := io.Copy(io.Discard, r.Body); n != max(0, r.ContentLength) || err != nil || answerNumber(c) != nil {
						return
					}
				}
			})
			p := startProxy(t, proxyOptions{
				config: Config{Dial: func(b *routing.Backend, _ dial.Request) (net.Conn, error) {
					c, err := net.Dial("tcp", b.Addr)
					if first {
						first = false
						c = &dullConn{Conn: c, takes: tt.takes}
					}
					return c, err
				}},
				to: To{Backend: at(backend)},
			})
			c := p.dial(t)
			if _, body := ask(t, c, keepGet); body != "1" {
				t.Errorf("the first request is on connection %s", body)
			}
			p.wantError(t, nil)
			status, body := ask(t, c, tt.request)
			if status != tt.status || status == "200" && body != "2" {
				t.Errorf("got %s %q, want %s", status, body, tt.status)
			}
		})
	}
}
