package inbound

import (
	"io"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/sock"
)

// An answer goes on when its handler has returned, and behind it the connection does, or ends.
func TestAnswerThatGoesOn(t *testing.T) {
	over(t, homes, func(t *testing.T, w way) {
		rested := make(chan *Conn)
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			if string(ctx.Path()) != "/rests" {
				echo(c, ctx)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			c.Rest(func() { go func() { rested <- c }() })
			c.Mute()
			ctx.SetConnectionClose()
			c.Linger()
		}})
		c := s.dial(t)
		for range 2 {
			c.send("GET /rests HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
			conn := <-rested
			if n, err := conn.TryWrite([]byte("wor")); n != 3 || err != nil {
				t.Errorf("TryWrite = %d, %v", n, err)
			}
			if _, err := io.WriteString(conn, "ld"); err != nil {
				t.Errorf("Write: %v", err)
			}
			go conn.Resume(true)
			c.want("helloworld")
			c.want("GET /next ")
		}
		c.send("GET /rests HTTP/1.1\r\nHost: a\r\n\r\n")
		conn := <-rested
		_, _ = io.WriteString(conn, "world")
		conn.Resume(false)
		c.want("helloworld")
		if rest := c.rest(); rest != "" {
			t.Errorf("behind the last answer %q", rest)
		}
	})
}

// What there is no room for is the caller's to write, or goes with the next Write.
func TestTryWrite(t *testing.T) {
	over(t, homes, func(t *testing.T, w way) {
		const size = 256 << 10
		piece := strings.Repeat("0123456789abcdef", size/16)
		blocked := make(chan int)
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
			pieces := 0
			for {
				n, err := c.TryWrite([]byte(piece))
				pieces++
				if err == nil {
					continue
				}
				if err != sock.ErrAgain {
					t.Errorf("TryWrite: %v", err)
				}
				blocked <- pieces
				if _, err := io.WriteString(c, piece[n:]); err != nil {
					t.Errorf("Write: %v", err)
				}
				break
			}
			c.Mute()
			ctx.SetConnectionClose()
		}})
		c := s.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		pieces := <-blocked
		head := "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
		if got := c.rest(); got != head+strings.Repeat(piece, pieces) {
			t.Errorf("the client got %d bytes, want %d and the same", len(got), len(head)+pieces*size)
		}
	})
}
