package forward

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A backend with TLS is spoken to as any other: over one connection while that is good.
func TestSecureBackend(t *testing.T) {
	const trailers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX-Sum: 1\r\n\r\n"
	overWays(t, func(t *testing.T, w way) {
		backend, config := secureBackend(t, func(c *rawConn) {
			for {
				r, err := http.ReadRequest(c.Reader)
				if err != nil {
					return
				}
				n, _ := io.Copy(io.Discard, r.Body)
				if n != max(0, r.ContentLength) && r.ContentLength >= 0 {
					t.Errorf("a body of %d bytes, want %d", n, r.ContentLength)
				}
				if r.URL.Path == "/chunked" {
					_ = c.send(trailers)
				} else {
					_ = answerNumber(c)
				}
			}
		})
		p := startProxy(t, proxyOptions{way: w, config: config, to: To{Backend: backend}})
		c := p.dial(t)
		for _, request := range []string{keepGet, keepPut, largePut, keepPost, "GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n", keepDelete} {
			_ = c.send(request)
			resp, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatalf("%.20q: %v", request, err)
			}
			b, err := io.ReadAll(resp.Body)
			if string(b) != "1" || err != nil {
				t.Errorf("%.20q: on connection %q, %v, want the first", request, b, err)
			}
			if sum := resp.Trailer.Get("X-Sum"); (sum == "1") != strings.Contains(request, "/chunked") {
				t.Errorf("%.20q: trailer %q", request, sum)
			}
			p.wantError(t, nil)
		}
	})
}

// What a TLS backend sends that nobody asked for, or its leave, is seen before its connection is reused.
func TestSecureConnectionIsCheckedBeforeReuse(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(*rawConn)
	}{
		{"an answer nobody asked for", func(c *rawConn) {
			_ = c.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
			endlessly(c)
		}},
		{"its leave", func(c *rawConn) { _ = c.Conn.(interface{ CloseWrite() error }).CloseWrite(); endlessly(c) }},
		{"its end", func(c *rawConn) { c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			idle, told := make(chan struct{}), make(chan struct{})
			backend, config := secureBackend(t, func(c *rawConn) {
				if _, err := c.readHead(); err != nil {
					return
				}
				_ = answerNumber(c)
				if c.n == 1 {
					<-idle
					close(told) // POST is not sent again, so that what comes too late shows
					tt.then(c)
				}
			})
			p := startProxy(t, proxyOptions{config: config, to: To{Backend: backend}})
			c := p.dial(t)
			ask(t, c, keepGet)
			p.wantError(t, nil)
			conn := p.transport.idle[backend][0]
			close(idle)
			<-told
			for p.transport.take(backend) != nil {
				// It has not come yet.
				p.transport.put(conn, &large)
			}
			if status, body := ask(t, c, keepPost); status != "200" || body != "2" {
				t.Errorf("got %s %q, want 200 from the second connection", status, body)
			}
		})
	}
}
