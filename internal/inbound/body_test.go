package inbound

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
)

func TestBodyThatIsHere(t *testing.T) {
	for _, tt := range []struct {
		name, fields, body string
		here               bool
		length             int64
	}{
		{"none", "", "", true, 0},
		{"length 0", "Content-Length: 0\r\n", "", true, 0},
		{"all of it", "Content-Length: 5\r\n", "hello", true, 5},
		{"and the next request", "Content-Length: 5\r\n", "hello" + get, true, 5},
		{"not all of it", "Content-Length: 5\r\n", "hell", false, 5},
		{"chunks", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", false, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan struct{})
			s := start(t, options{handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
				b := c.Body()
				if b.Here() != tt.here || b.Length() != tt.length || b.Whole() != (tt.length == 0) {
					t.Errorf("here %v, length %d, whole %v, want %v, %d, %v", b.Here(), b.Length(), b.Whole(), tt.here, tt.length, tt.length == 0)
				}
				close(asked)
				if _, err := io.Copy(io.Discard, b); err != nil || !b.Whole() {
					t.Errorf("read: %v, whole %v behind it", err, b.Whole())
				}
				if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("read behind the end: %d, %v", n, err)
				}
				ctx.SetConnectionClose()
			}})
			c := s.dial(t)
			c.send("POST / HTTP/1.1\r\nHost: a\r\n" + tt.fields + "\r\n" + tt.body)
			<-asked
			if !tt.here && tt.length > 0 {
				c.send("o")
			}
			c.want("")
		})
	}
}

func TestBodiesThatFail(t *testing.T) {
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := []struct {
		name, sent string
		ends       bool  // the client sends no more
		limit      int64 // for the body
		want       error
	}{
		{"length cut off", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello", true, 0, io.ErrUnexpectedEOF},
		{"chunks cut off", chunked + "5\r\nhello\r\n", true, 0, io.ErrUnexpectedEOF},
		{"a size that is none", chunked + "x\r\n", false, 0, body.ErrChunkSize},
		{"an endless size", chunked + strings.Repeat("0", 5000), false, 0, body.ErrChunkSize},
		{"an endless extension", chunked + "1;" + strings.Repeat("x", 5000), false, 0, body.ErrChunkSize},
		{"a chunk that goes on", chunked + "1\r\nab\r\n", false, 0, body.ErrChunkEnd},
		{"trailers without end", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 1000), false, 0, body.ErrTrailers},
		{"malformed trailers", chunked + "0\r\nX : y\r\n\r\n", false, 0, body.ErrMalformed},
		{"more than the limit", chunked + "5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", false, 9, ErrBodySize},
		{"as much as the limit", chunked + "5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", false, 10, nil},
	}
	over(t, ways, func(t *testing.T, w way) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				got := make(chan error, 1)
				s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
					c.Begin(c.Body().Length(), tt.limit)
					_, err := io.Copy(io.Discard, c.Body())
					if (err == nil) != c.Body().Whole() {
						t.Errorf("whole %v with %v", c.Body().Whole(), err)
					}
					got <- err
				}})
				c := s.dial(t)
				c.send(tt.sent)
				if tt.ends {
					_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
				if err := <-got; !errors.Is(err, tt.want) {
					t.Errorf("body: %v, want %v", err, tt.want)
				}
				if tt.want == nil {
					c.want("")
					return
				}
				// What stands behind such a body is no request.
				if rest := c.rest(); strings.Count(rest, "HTTP/1.1 ") > 1 {
					t.Errorf("got %q, want one answer at most and the end", rest)
				}
			})
		}
	})
}

func TestSlowBodies(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		got := make(chan error, 1)
		s := start(t, options{
			way:    w,
			config: func(c *Config) { c.BodyTimeout = 20 * time.Millisecond },
			handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
				_, err := io.Copy(io.Discard, c.Body())
				got <- err
				ctx.SetConnectionClose()
			},
		})
		for _, framing := range []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n"} {
			c := s.dial(t)
			c.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
			if err := <-got; err != ErrSlow {
				t.Errorf("%q: %v, want %v", framing, err, ErrSlow)
			}
		}
	})
}

// Somebody else may end a wait for the body, and nothing is read from the connection any more.
func TestInterrupt(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("behind the end %v", late), func(t *testing.T) {
				s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
					b := c.Body()
					if late {
						_, _ = io.ReadFull(b, make([]byte, 5))
						c.Interrupt()
					} else {
						begun, ended := make(chan struct{}), make(chan error)
						go func() {
							_, _ = b.Read(make([]byte, 5))
							close(begun)
							_, err := b.Read(make([]byte, 5))
							ended <- err
						}()
						<-begun
						c.Interrupt()
						if err := <-ended; err == nil {
							t.Error("the read gives no error")
						}
						if _, err := b.Read(make([]byte, 5)); err == nil {
							t.Error("the next read gives no error")
						}
					}
					if b.Whole() {
						t.Error("the body counts as whole")
					}
				}})
				c := s.dial(t)
				length := 10
				if late {
					length = 5
				}
				c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhello", length))
				c.want("")
				_, _ = io.WriteString(c.Conn, get)
				if rest := c.rest(); rest != "" {
					t.Errorf("behind the answer %q, want the end", rest)
				}
			})
		}
	})
}

// A body that nobody has read is not taken for a request.
func TestUnreadBodyEndsTheConnection(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {}})
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + get)
		c.want("")
		if rest := c.rest(); rest != "" {
			t.Errorf("behind the answer %q, want the end", rest)
		}
	})
}

func TestTrailers(t *testing.T) {
	s := start(t, options{handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
		_, _ = io.Copy(io.Discard, c.Body())
		_, _ = ctx.Write(c.Body().Trailers())
	}})
	c := s.dial(t)
	for _, trailers := range []string{"a: 1\r\nB:2\r\n", ""} {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + trailers + "\r\n")
		c.want(trailers)
	}
}
