package inbound

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/sock"
)

var leaves = []struct {
	name string
	end  func(net.Conn)
}{
	{"closed", func(c net.Conn) { c.Close() }},
	{"reset", sock.Cut},
	{"half closed for long", func(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite(); sendFIN(c) }},
}

// sendFIN ends the sending half below any TLS.
func sendFIN(c net.Conn) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		_ = over.NetConn().(*net.TCPConn).CloseWrite()
	}
}

// told is an Attendant that is nothing else.
type told func()

func (f told) ClientLeft() { f() }

func TestAttend(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		left, handled := make(chan int, 10), make(chan struct{}, 10)
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			gone := make(chan struct{})
			var calls atomic.Int32
			c.Attend(told(func() {
				if calls.Add(1) == 1 {
					close(gone)
				}
			}))
			handled <- struct{}{}
			<-gone
			c.Unattend()
			left <- int(calls.Load())
			ctx.SetConnectionClose()
		}})
		var conns []*client
		for range leaves {
			c := s.dial(t)
			c.send(get + "and bytes that nobody reads")
			<-handled
			conns = append(conns, c)
		}
		for i, l := range leaves {
			l.end(conns[i].Conn)
		}
		for range leaves {
			if n := <-left; n != 1 {
				t.Errorf("gone called %d times, want once", n)
			}
		}
	})
}

// A client that ends its sending half gets an answer that does not take long, and so do those that stay.
func TestAttendBearsAQuickAnswer(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			c.Attend(told(func() { t.Error("gone is called") }))
			defer c.Unattend()
			echo(c, ctx)
		}})
		for range 50 {
			c := s.dial(t)
			c.send(get)
			_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			sendFIN(c.Conn)
			c.want("GET / ")
			c.Close()
		}
	})
}

// Behind Unattend gone is not called, whatever the client does.
func TestUnattend(t *testing.T) {
	over(t, ways, func(t *testing.T, w way) {
		handled, left := make(chan struct{}), make(chan struct{})
		s := start(t, options{way: w, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
			switch string(ctx.Request.Header.RequestURI()) {
			case "/unattended":
				c.Attend(told(func() { t.Error("gone is called") }))
				c.Unattend()
				c.Unattend() // which is none
				handled <- struct{}{}
				<-left
			case "/attended":
				gone := make(chan struct{})
				c.Attend(told(func() { close(gone) }))
				defer c.Unattend()
				handled <- struct{}{}
				<-gone
			}
		}})
		first := s.dial(t)
		first.send("GET /unattended HTTP/1.1\r\nHost: a\r\n\r\n")
		<-handled
		first.Close()
		// One that is attended behind it has been given up later.
		second := s.dial(t)
		second.send("GET /attended HTTP/1.1\r\nHost: a\r\n\r\n")
		<-handled
		second.Close()
		_, _ = io.Copy(io.Discard, second)
		close(left)
		s.stop()
		s.port.attended.mu.Lock()
		defer s.port.attended.mu.Unlock()
		if n := s.port.attended.conns.n; n != 0 {
			t.Errorf("%d connections are attended at the end, want none", n)
		}
	})
}
