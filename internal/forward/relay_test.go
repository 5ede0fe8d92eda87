package forward

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/inbound"
	"wsproxy/routing"
)

// A handshake that the backend refuses is answered with its answer.
func TestRelay(t *testing.T) {
	tests := []struct {
		name, answer, want string
		err                error
	}{
		{"refusal with a body", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
			"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", nil},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", nil},
		{"chunked", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
			"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nno\r\n0\r\n\r\n", nil},
		{"until close", "HTTP/1.0 403 Forbidden\r\n\r\nno",
			"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nno\r\n0\r\n\r\n", nil},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 502", routing.ErrAnswer},
		{"malformed", "hello\r\n\r\n", "HTTP/1.1 502", routing.ErrAnswer},
	}
	overWays(t, func(t *testing.T, w way) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				closed := make(chan struct{})
				backend := rawBackend(t, func(c *rawConn) {
					_ = c.send(tt.answer)
					if tt.name == "until close" {
						_ = c.Conn.(*net.TCPConn).CloseWrite()
					}
					io.Copy(io.Discard, c)
					close(closed)
				})
				var released atomic.Int32
				relay := func(transport *Transport, client *inbound.Conn, ctx *fasthttp.RequestCtx) (bool, error) {
					c, err := net.Dial("tcp", backend)
					if err != nil {
						return false, err
					}
					how := Answer{Close: true}
					return transport.Relay(client, c, bufio.NewReader(c), ctx.Method(), &how, func() { released.Add(1) })
				}
				p := startProxy(t, proxyOptions{way: w, handler: relay})
				got := p.exchange(t, get)
				if tt.err == nil && got != tt.want || !strings.HasPrefix(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if err := <-p.errs; !errors.Is(err, tt.err) {
					t.Errorf("Relay: %v, want %v", err, tt.err)
				}
				<-closed
				if n := released.Load(); n != 1 {
					t.Errorf("release called %d times, want 1", n)
				}
			})
		}
	})
}
