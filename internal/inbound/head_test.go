package inbound

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// stream is what a client may send of requests, one behind the other, and what they come to.
const stream = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" +
	"\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n" + // line ends that old clients add
	"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n" +
	"PUT /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n" +
	"DELETE /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

var bodies = []string{"GET /1 ", "POST /2 hello", "POST /3 abcde", "PUT /4 GET /no HTTP/1.1\r\nHost: a\r\n", "DELETE /5 "}

func TestRequestsInAnyCut(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w})
		for _, size := range []int{1, 2, 3, 7, 30, 64, len(stream)} {
			c := s.dial(t)
			go func() {
				for rest := stream; rest != ""; {
					n := min(size, len(rest))
					if _, err := io.WriteString(c.Conn, rest[:n]); err != nil {
						t.Errorf("send: %v", err)
						return
					}
					rest = rest[n:]
				}
			}()
			for _, body := range bodies {
				c.want(body)
			}
			if rest := c.rest(); rest != "" {
				t.Errorf("behind the answers: %q", rest)
			}
		}
	})
}

// What stands behind a head is not read with it: fasthttp's buffer is empty while a request is handled.
func TestOneHeadAtATime(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			if got := string(ctx.Request.Header.RequestURI()); got == "/1" {
				b, _ := c.br.Peek(c.br.Buffered())
				if want := stream[strings.Index(stream, "\r\n\r\n")+4:]; string(b) != want {
					t.Errorf("behind the first head there is %q, want %q", b, want)
				}
			}
			echo(c, ctx)
		}})
		c := s.dial(t)
		c.send(stream)
		for _, body := range bodies {
			c.want(body)
		}
	})
}

// What comes behind an opening handshake is the link's.
func TestDetachKeepsWhatIsBehindTheHead(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		got := make(chan string, 1)
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			conn, early := c.Detach()
			ctx.SetConnectionClose()
			go func() { // when fasthttp believes that it is over
				defer conn.Close()
				b := make([]byte, len("early and late"))
				n := copy(b, early)
				m, err := io.ReadFull(conn, b[n:])
				if err != nil {
					t.Errorf("read: %v", err)
				}
				got <- string(b[:n+m])
				_, _ = io.WriteString(conn, "bye")
			}()
		}})
		c := s.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nearly")
		c.send(" and late")
		if text := <-got; text != "early and late" {
			t.Errorf("the link gets %q", text)
		}
		if rest := c.rest(); rest != "HTTP/1.1 101 Switching Protocols\r\n\r\nbye" {
			t.Errorf("the client gets %q", rest)
		}
	})
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name, sent string
		want       error
	}{
		{"at the first byte", "\x00", head.ErrMethodToken},
		{"a bare LF at the start", "\n", head.ErrBareLineEnd},
		{"a second empty line", "\r\n\r\n" + get, head.ErrRequestLine},
		{"a bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", head.ErrBareLineEnd},
		{"a version", "GET / HTTP/2.0\r\n\r\n", head.ErrVersion},
		{"a folded field", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", head.ErrFolded},
		{"a name", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", head.ErrName},
		{"a value", "GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", head.ErrValue},
		{"a long target", "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\r\n\r\n", head.ErrTargetSize},
		{"a large head", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 17000) + "\r\n\r\n", head.ErrHeadSize},
		{"many fields", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n", head.ErrFieldCount},
		{"behind a request", get + "GET / HTTP/1.1\r\nX\r\n\r\n", head.ErrName},
		{"an end in the head", "GET / HT", io.ErrUnexpectedEOF},
		{"an end in the fields", "GET / HTTP/1.1\r\nHost: a\r\n", io.ErrUnexpectedEOF},
	}
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				c := s.dial(t)
				_, _ = io.WriteString(c.Conn, tt.sent)
				if tt.want == io.ErrUnexpectedEOF {
					_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
				if strings.HasPrefix(tt.sent, get) {
					c.want("GET / ")
				}
				if status, body := c.answer(); status != 400 {
					t.Errorf("got %d %q, want a 400", status, body)
				}
				if err := <-s.faults; !errors.Is(err, tt.want) {
					t.Errorf("fault %v, want %v", err, tt.want)
				}
				if rest := c.rest(); rest != "" {
					t.Errorf("behind the answer: %q", rest)
				}
			})
		}
	})
}

// What is no request gets no answer.
func TestEndsThatAreNoFault(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w})
		for _, sent := range []string{"", "\r", "\r\n", get, get + "\r\n"} {
			c := s.dial(t)
			_, _ = io.WriteString(c.Conn, sent)
			_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			if strings.HasPrefix(sent, get) {
				c.want("GET / ")
			}
			if rest := c.rest(); rest != "" {
				t.Errorf("of %q: %q, want nothing", sent, rest)
			}
			select {
			case err := <-s.faults:
				t.Errorf("of %q: fault %v, want none", sent, err)
			default:
			}
		}
	})
}

func TestSlowHeads(t *testing.T) {
	header := func(c *Config, timeout time.Duration) { c.HeaderTimeout = timeout }
	tests := []struct {
		name, sent       string
		answered, faults int
		bound            func(*Config, time.Duration)
	}{
		{"nothing", "", 0, 0, header},
		{"an empty line", "\r\n", 0, 0, header},
		{"half a head", "GET / HTTP/1.1\r\nHost", 0, 1, header},
		{"nothing behind a request", get, 1, 0, func(c *Config, timeout time.Duration) { c.KeepAlive = timeout }},
		{"half a head behind a request", get + "GET", 1, 1, header},
	}
	// slow is what a client gets that sends no more.
	slow := func(t *testing.T, w way, sent string, config func(*Config)) (got string, faults []error) {
		s := start(t, options{way: w, config: config})
		c := s.dial(t)
		_, _ = io.WriteString(c.Conn, sent)
		got = c.rest()
		s.stop()
		close(s.faults)
		for err := range s.faults {
			faults = append(faults, err)
		}
		return got, faults
	}
	over(t, ways, func(t *testing.T, w way) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				for timeout := 20 * time.Millisecond; ; timeout *= 4 {
					got, faults := slow(t, w, tt.sent, func(c *Config) { tt.bound(c, timeout) })
					if strings.Count(got, "HTTP/1.1 200 ") == tt.answered && len(faults) == tt.faults && strings.Count(got, "HTTP/1.1 400 ") == tt.faults {
						if tt.faults > 0 && faults[0] != ErrSlow {
							t.Errorf("fault %v, want %v", faults[0], ErrSlow)
						}
						return
					}
					// What was sent may have come too late where there is much else to do.
					if timeout > hung/8 {
						t.Fatalf("got %q and faults %v, want %d answers and %d faults", got, faults, tt.answered, tt.faults)
					}
				}
			})
		}
	})
}
