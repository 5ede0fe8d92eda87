package forward

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/inbound"
	"wsproxy/routing"
)

const (
	expecting = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	goOn      = "HTTP/1.1 100 Continue\r\n\r\n"
)

// The client's question is the backend's to answer, and its word is the client's to wait for.
func TestContinue(t *testing.T) {
	for _, framing := range []struct{ name, fields, body string }{
		{"length", "Content-Length: 5", "hello"},
		{"chunks", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"},
	} {
		overWays(t, func(t *testing.T, w way) {
			t.Run(framing.name, func(t *testing.T) {
				waits := make(chan struct{})
				backend := rawBackend(t, func(c *rawConn) {
					h, err := c.readHead()
					if err != nil || !strings.Contains(h, "\r\nExpect: 100-continue\r\n") {
						t.Errorf("the backend gets %q, %v, want an Expect", h, err)
					}
					<-waits
					if c.Buffered() > 0 {
						t.Error("the body came before the word to go on")
					}
					_ = c.send(goOn)
					b := make([]byte, len(framing.body))
					_, err = io.ReadFull(c, b)
					if string(b) != framing.body {
						t.Errorf("body %q, %v, want %q", b, err, framing.body)
					}
					_ = c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
					endlessly(c)
				})
				p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
				c := p.dial(t)
				_ = c.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing.fields + "\r\nExpect: 100-continue\r\n\r\n")
				close(waits)
				if h, err := c.readHead(); h != goOn {
					t.Fatalf("got %q, %v, want %q", h, err, goOn)
				}
				if status, body := ask(t, c, framing.body); status != "200" || body != "hi" {
					t.Errorf("got %s %q, want 200 hi", status, body)
				}
			})
		})
	}
}

// A backend that refuses at once is heard before there is a body, which is never sent then.
func TestFinalAnswerInPlaceOfContinue(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		rest := make(chan string, 1)
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			_ = c.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			b, _ := io.ReadAll(c)
			rest <- string(b)
		})
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
		_ = c.send(expecting)
		b, err := io.ReadAll(c)
		if want := "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"; string(b) != want || err != nil {
			t.Errorf("got %q, %v, want %q", b, err, want)
		}
		if got := <-rest; got != "" {
			t.Errorf("the backend gets %q behind the head, want nothing", got)
		}
	})
}

// Many backends say nothing and wait for the body, which most clients send after a while.
func TestBackendThatNeverSaysToGoOn(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		asked := make(chan struct{})
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			close(asked)
			b := make([]byte, 5)
			_, _ = io.ReadFull(c, b)
			_ = c.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + string(b))
		})
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: time.Minute}}})
		c := p.dial(t)
		_ = c.send(expecting)
		<-asked
		if status, body := ask(t, c, "hello"); status != "200" || body != "hello" {
			t.Errorf("got %s %q, want 200 hello", status, body)
		}
	})
}

// When both wait for the other, it is the backend that owes a word.
func TestBothWaitForTheOther(t *testing.T) {
	backend := rawBackend(t, endlessly)
	p := startProxy(t, proxyOptions{
		to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: 50 * time.Millisecond}},
		// A client that is to send something has no time at all.
		inbound: func(c *inbound.Config) { c.MinRate = 1 << 30 },
	})
	c := p.dial(t)
	_ = c.send(expecting)
	line, err := c.ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 504 ") {
		t.Errorf("got %q, %v, want a 504", line, err)
	}
	p.wantError(t, routing.ErrTimeout)
}

// Once it has been told, the client is as much in a hurry as any other, and the backend is not.
func TestTheWordToGoOnEndsTheWait(t *testing.T) {
	backend := rawBackend(t, func(c *rawConn) {
		_, _ = c.readHead()
		_ = c.send(goOn)
		endlessly(c)
	})
	p := startProxy(t, proxyOptions{
		to:      To{Backend: at(backend), Answer: Answer{ResponseTimeout: 500 * time.Millisecond}},
		inbound: func(c *inbound.Config) { c.BodyTimeout = time.Second },
	})
	c := p.dial(t)
	_ = c.send(expecting)
	if h, err := c.readHead(); h != goOn {
		t.Fatalf("got %q, %v, want %q", h, err, goOn)
	}
	line, err := c.ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 408 ") {
		t.Errorf("got %q, %v, want a 408", line, err)
	}
	p.wantError(t, inbound.ErrSlow)
}

// A hint reaches the client while the answer is still being made.
func TestEarlyHintsComeEarly(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
		seen := make(chan struct{})
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			_ = c.send(hint)
			<-seen
			_ = answerNumber(c)
		})
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
		_ = c.send(keepGet)
		if h, err := c.readHead(); h != hint {
			t.Errorf("got %q, %v, want %q", h, err, hint)
		}
		close(seen)
		if r, err := http.ReadResponse(c.Reader, nil); err != nil || r.StatusCode != 200 {
			t.Errorf("got %v, %v, want the answer", r, err)
		}
	})
}

// Each interim answer gives the backend its time again.
func TestInterimAnswersKeepTheWaitAlive(t *testing.T) {
	for _, request := range []string{keepGet, largePut} {
		t.Run(request[:3], func(t *testing.T) {
			const timeout = 400 * time.Millisecond
			backend := rawBackend(t, func(c *rawConn) {
				_, _ = c.readHead()
				if request == largePut {
					_, _ = c.Discard(10000)
				}
				for end := time.Now().Add(2 * timeout); time.Now().Before(end); {
					_ = c.send("HTTP/1.1 102 Processing\r\n\r\n")
					// A pause that ends by itself, much shorter than the timeout.
					_ = c.SetReadDeadline(time.Now().Add(timeout / 40))
					_, _ = c.ReadByte()
				}
				_ = answerNumber(c)
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: timeout}}})
			c := p.dial(t)
			_ = c.send(request)
			for {
				h, err := c.readHead()
				if strings.HasPrefix(h, "HTTP/1.1 102 ") {
					continue
				}
				if !strings.HasPrefix(h, "HTTP/1.1 200 ") {
					t.Errorf("got %q, %v, want a 200", h, err)
				}
				return
			}
		})
	}
}
