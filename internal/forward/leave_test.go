package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// ends are how a client may leave.
var ends = []struct {
	name string
	end  func(net.Conn)
}{
	{"closed", func(c net.Conn) { c.Close() }},
	{"reset", cut},
}

// overEnds runs a test once for each way and each end.
func overEnds(t *testing.T, f func(t *testing.T, w way, end func(net.Conn))) {
	overWays(t, func(t *testing.T, w way) {
		for _, e := range ends {
			t.Run(e.name, func(t *testing.T) { f(t, w, e.end) })
		}
	})
}

// A client that leaves while nothing happens takes its request with it: the backend's connection ends.
func TestClientThatLeavesWhileItWaits(t *testing.T) {
	tests := []struct {
		name, request string
		answer        string // that the backend sends at once, and the client reads
		err           error
	}{
		{"no answer yet", keepGet, "", ErrClient},
		{"no answer yet to a small body", keepPostHi, "", ErrClient},
		{"no answer yet to a large body", largePut, "", ErrClient},
		{"behind a hint", keepGet, "HTTP/1.1 103 Early Hints\r\n\r\n", ErrClient},
		{"silent events", keepGet, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", nil},
		{"silent events behind some", keepGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n", nil},
		{"within a length", keepGet, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", nil},
		{"until close", keepGet, "HTTP/1.1 200 OK\r\n\r\nhello", nil},
		{"events in answer to a body", largePut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", nil},
		{"while it sends", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", nil},
		{"while it is to be told to go on", expecting, "", ErrClient},
	}
	overEnds(t, func(t *testing.T, w way, end func(net.Conn)) {
		// All at once: each takes as long as it takes to give a client up.
		var waits []func()
		for _, tt := range tests {
			asked, ended := make(chan struct{}), make(chan struct{})
			backend := rawBackend(t, func(c *rawConn) {
				_, _ = c.readHead()
				if tt.request == largePut {
					_, _ = c.Discard(10000)
				}
				_ = c.send(tt.answer)
				close(asked)
				endlessly(c)
				close(ended)
			})
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
			c := p.dial(t)
			_ = c.send(tt.request)
			<-asked
			if tt.answer != "" {
				if h, err := c.readHead(); err != nil {
					t.Errorf("%s: got %q, %v, want a head", tt.name, h, err)
				}
			}
			end(c.Conn)
			waits = append(waits, func() {
				<-ended
				if err := <-p.errs; !errors.Is(err, tt.err) {
					t.Errorf("%s: Forward: %v, want %v", tt.name, err, tt.err)
				}
				p.stop()
			})
		}
		for _, wait := range waits {
			wait()
		}
	})
}

// A client that leaves in the middle of an upload is noticed although the backend takes none of it.
func TestClientThatLeavesWhileTheBackendTakesNothing(t *testing.T) {
	overEnds(t, func(t *testing.T, w way, end func(net.Conn)) {
		t.Parallel()
		asked, over := make(chan struct{}), make(chan struct{})
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			close(asked)
			<-over
		})
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
		fmt.Fprintf(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", bulk)
		<-asked
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.Copy(c.Conn, io.LimitReader(pattern(), bulk))
		}()
		end(c.Conn)
		<-sent
		p.wantError(t, ErrClient)
		close(over)
	})
}

// A client that is writing all the time is gone as well when it is reset.
func TestClientThatLeavesWhileItSendsFast(t *testing.T) {
	overEnds(t, func(t *testing.T, w way, end func(net.Conn)) {
		flows, ended := make(chan struct{}), make(chan struct{})
		backend := rawBackend(t, func(c *rawConn) {
			_, _ = c.readHead()
			_, _ = io.CopyN(io.Discard, c, 1<<20)
			close(flows)
			endlessly(c)
			close(ended)
		})
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			fmt.Fprintf(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", int64(1)<<40)
			_, _ = io.Copy(c.Conn, pattern())
		}()
		<-flows
		end(c.Conn)
		<-sent
		<-ended
		p.wantError(t, ErrClient)
	})
}

// A client that has said all it has to say may end its half and still gets its answer, if that is soon.
func TestHalfClosedClientGetsAQuickAnswer(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(answerOnce(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))}})
		for range 20 {
			c := p.dial(t)
			_ = c.send(keepGet)
			_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			b, err := io.ReadAll(c)
			if !strings.HasSuffix(string(b), "\r\n\r\nhi") || err != nil {
				t.Errorf("got %q, %v, want the answer", b, err)
			}
			c.Close()
		}
	})
}

// A client that leaves behind its answer is no error, and the backend's connection goes on.
func TestClientThatLeavesBehindItsAnswer(t *testing.T) {
	overEnds(t, func(t *testing.T, w way, end func(net.Conn)) {
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(rawBackend(t, answerNumbers))}})
		for range 3 {
			c := p.dial(t)
			if _, body := ask(t, c, keepGet); body != "1" {
				t.Errorf("on connection %s, want the first", body)
			}
			p.wantError(t, nil)
			end(c.Conn)
		}
	})
}
