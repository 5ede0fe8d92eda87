package forward

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A backend that dies in the middle of its answer never looks as if it had come to the end, whatever its
// answer's framing, and the client's, and however it dies.
func TestBackendThatDiesInMidAnswer(t *testing.T) {
	answers := []struct{ name, text string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nhello"}, // which only a reset breaks off
	}
	dies := []struct {
		name string
		end  func(net.Conn)
	}{
		{"end", func(c net.Conn) { c.Close() }},
		{"reset", func(c net.Conn) { cut(c) }},
		{"end without leave", func(c net.Conn) { c.(*tls.Conn).NetConn().Close() }},
	}
	overWays(t, func(t *testing.T, w way) {
		for _, secure := range []bool{false, true} {
			for _, answer := range answers {
				for _, death := range dies {
					untilClose := answer.name == "until close"
					if !secure && death.name == "end without leave" || untilClose && death.name == "end" {
						continue
					}
					for _, request := range []string{keepGet, get10, keep10} {
						name := answer.name + "/" + death.name + "/" + strings.Fields(request)[2]
						if secure {
							name += "/TLS"
						}
						dieInMidAnswer(t, name, w, secure, request, answer.text, death.end)
					}
				}
			}
		}
	})
}

func dieInMidAnswer(t *testing.T, name string, w way, secure bool, request, answer string, end func(net.Conn)) {
	t.Helper()
	read := make(chan struct{})
	serve := func(c *rawConn) {
		if _, err := c.readHead(); err != nil {
			return
		}
		_ = c.send(answer)
		<-read // so that a reset does not overtake it
		end(c.Conn)
	}
	o := proxyOptions{way: w}
	if secure {
		o.to.Backend, o.config = secureBackend(t, serve)
	} else {
		o.to.Backend = at(rawBackend(t, serve))
	}
	p := startProxy(t, o)
	defer p.stop()
	c := p.dial(t)
	defer c.Close()
	_ = c.send(request)
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b := make([]byte, len("hello"))
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	close(read)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%s: %q and then the end, want a broken answer", name, string(b)+string(rest))
	}
	p.wantError(t, nil)
}
