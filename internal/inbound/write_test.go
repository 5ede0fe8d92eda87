package inbound

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// Answers may be written past fasthttp, which then writes none.
func TestMute(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			if c.Answered() {
				t.Error("answered before there is an answer")
			}
			ctx.SetBodyString("fasthttp's")
			if string(ctx.Request.Header.RequestURI()) == "/" {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nours")
			if !c.Answered() {
				t.Error("not answered with an answer written")
			}
			c.Mute()
		}})
		c := s.dial(t)
		for range 3 {
			c.send("GET /ours HTTP/1.1\r\nHost: a\r\n\r\n" + get)
			c.want("ours")
			c.want("fasthttp's")
		}
	})
}

// Large answers come whole, in whatever pieces they go.
func TestLargeWrites(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		want := strings.Repeat("0123456789abcde", 100000)
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			if n, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+want); n < len(want) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			c.Mute()
			ctx.SetConnectionClose()
		}})
		c := s.dial(t)
		c.send(get)
		if status, got := c.answer(); status != 200 || got != want {
			t.Errorf("got %d and %d bytes, want %d", status, len(got), len(want))
		}
	})
}

// A client that takes nothing is given up.
func TestSendTimeout(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		got := make(chan error, 1)
		s := start(t, options{
			way:    w,
			config: func(c *Config) { c.SendTimeout = 100 * time.Millisecond },
			handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
				var err error
				for piece := make([]byte, 1<<20); err == nil; {
					_, err = c.Write(piece)
				}
				got <- err
				ctx.SetConnectionClose()
			},
		})
		c := s.dial(t)
		c.send(get)
		if err := <-got; !timedOut(err) {
			t.Errorf("Write: %v, want a timeout", err)
		}
	})
}

func TestTLSIsKnown(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w, parkAfter: time.Millisecond, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			state := c.TLS()
			if (state != nil) != w.tls || state != nil && !state.HandshakeComplete {
				t.Errorf("TLS() = %+v", state)
			}
			if allocs := testing.AllocsPerRun(100, func() { c.TLS() }); allocs > 0 {
				t.Errorf("%v allocations for another look, want none", allocs)
			}
		}})
		c := s.dial(t)
		for range 3 {
			c.send(get)
			c.want("")
		}
	})
}
