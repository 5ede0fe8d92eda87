package forward

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/routing"
)

// A backend that pauses too long within its answer breaks it off.
func TestReadTimeout(t *testing.T) {
	for _, tt := range []struct{ name, answer string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello"},
		{"before the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nhello"},
	} {
		overWays(t, func(t *testing.T, w way) {
			t.Run(tt.name, func(t *testing.T) {
				ended := make(chan struct{})
				backend := rawBackend(t, func(c *rawConn) {
					_, _ = c.readHead()
					_ = c.send(tt.answer)
					endlessly(c)
					close(ended)
				})
				p := startProxy(t, proxyOptions{way: w, to: To{
					Backend: at(backend), Answer: Answer{ResponseTimeout: time.Minute, ReadTimeout: 30 * time.Millisecond},
				}})
				resp, err := httpClient(t).Get(p.url())
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err == nil {
					t.Errorf("got %q, %v, want hello and an error", b, err)
				}
				<-ended
				p.wantError(t, nil)
			})
		})
	}
}

// Pauses are bounded, and the wait for the head is, but no answer is too long for either.
func TestTimeoutsDoNotBoundTheWhole(t *testing.T) {
	const timeout = 400 * time.Millisecond
	t.Run("many pauses", func(t *testing.T) {
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			_ = c.send("HTTP/1.1 200 OK\r\n\r\n")
			for end := time.Now().Add(3 * timeout); time.Now().Before(end); {
				_ = c.send("x")
				_ = c.SetReadDeadline(time.Now().Add(timeout / 40))
				_, _ = c.ReadByte()
			}
			_ = c.send(".")
		})
		p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: timeout, ReadTimeout: timeout}}})
		resp, err := httpClient(t).Get(p.url())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(b), ".") {
			t.Errorf("%d bytes, %v, want all of them", len(b), err)
		}
	})
	// The backend has always more than is read at once, since the client is slow.
	t.Run("a client that is slow", func(t *testing.T) {
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			_ = c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", bulk))
			_, _ = io.Copy(c.Conn, io.LimitReader(pattern(), bulk))
		})
		p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: timeout}}})
		c := p.dial(t)
		_ = c.send(get)
		if _, err := c.readHead(); err != nil {
			t.Fatal(err)
		}
		left := int64(bulk)
		for end := time.Now().Add(2 * timeout); time.Now().Before(end) && left > bulk/2; {
			n, err := io.CopyN(io.Discard, c, 64<<10)
			if left -= n; err != nil {
				t.Fatalf("%v with %d bytes to come", err, left)
			}
			time.Sleep(time.Millisecond) // the client is slow
		}
		if n, err := io.CopyN(io.Discard, c, left); err != nil {
			t.Errorf("%v with %d bytes to come", err, left-n)
		}
	})
	t.Run("a body that trickles", func(t *testing.T) {
		const text = "a body of known length that comes letter by letter"
		got := make(chan string, 1)
		backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got <- string(b)
		})
		p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: timeout}}})
		c := p.dial(t)
		_ = c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(text)))
		for i := range text {
			_ = c.send(text[i : i+1])
			time.Sleep(2 * timeout / time.Duration(len(text))) // the client is slow
		}
		if s := <-got; s != text {
			t.Errorf("the backend gets %q, want %q", s, text)
		}
		if h, err := c.readHead(); !strings.HasPrefix(h, "HTTP/1.1 200 ") {
			t.Errorf("got %q, %v, want a 200", h, err)
		}
	})
}

// A backend that answers a body it does not take is too slow when it takes too long.
func TestResponseTimeoutCountsFromTheEndOfTheRequest(t *testing.T) {
	const timeout = 100 * time.Millisecond
	backend := rawBackend(t, endlessly)
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: timeout}}})
	c := p.dial(t)
	_ = c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for end := time.Now().Add(2 * timeout); time.Now().Before(end); {
		_ = c.send("1\r\nx\r\n")
		time.Sleep(timeout / 40) // the client is slow
	}
	select {
	case err := <-p.errs:
		t.Fatalf("Forward: %v while the body is sent", err)
	default:
	}
	_ = c.send("0\r\n\r\n")
	if line, err := c.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 504 ") {
		t.Errorf("got %q, %v, want a 504", line, err)
	}
	p.wantError(t, routing.ErrTimeout)
}
