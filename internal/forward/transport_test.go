package forward

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/routing"
)

// neverDials fails as a dial does that has run out of time.
func neverDials(*routing.Backend, time.Duration) (net.Conn, error) { return nil, routing.ErrTimeout }

// ask sends a request on a connection that stays open and returns the answer's body.
func ask(t *testing.T, c *rawConn, request string) (status, body string) {
	t.Helper()
	if err := c.send(request); err != nil {
		t.Fatal(err)
	}
	h, err := c.readHead()
	if err != nil {
		t.Fatalf("answer's head: %v after %q", err, h)
	}
	length := 0
	for _, line := range strings.Split(h, "\r\n") {
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(v)
		}
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("answer's body: %v", err)
	}
	return strings.Fields(h)[1], string(b)
}

const (
	keepGet  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	keepPut  = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
	keepPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
	keepHead = "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"
)

// answerNumber tells the client on which connection its request came.
func answerNumber(c *rawConn) error {
	n := strconv.Itoa(c.n)
	return c.send("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(n)) + "\r\n\r\n" + n)
}

// What becomes of a request on a connection that the backend closes at the worst moment: it has read
// the request, and does not answer.
func TestSecondRequestOnAConnectionThatFails(t *testing.T) {
	tests := []struct {
		name, request, status, body string
	}{
		{"GET is repeated", keepGet, "200", "2"},
		{"DELETE is repeated", keepHead, "200", "2"},
		{"POST is not", keepPost, "502", ""},
		{"PUT with a body is not", keepPut, "502", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			backend := rawBackend(t, func(c *rawConn) {
				for n := 1; ; n++ {
					if _, err := c.readHead(); err != nil {
						return
					}
					requests.Add(1)
					if c.n == 1 && n == 2 {
						return
					}
					if answerNumber(c) != nil {
						return
					}
				}
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := dialRaw(t, p.addr)
			if status, body := ask(t, c, keepGet); status != "200" || body != "1" {
				t.Fatalf("first request: %s %q", status, body)
			}
			<-p.errs
			status, body := ask(t, c, tt.request)
			want := int32(3)
			if tt.status == "502" {
				wantError(t, p, routing.ErrAnswer)
				want, body = 2, ""
			}
			if status != tt.status || body != tt.body {
				t.Errorf("got %s %q, want %s %q", status, body, tt.status, tt.body)
			}
			if n := requests.Load(); n != want {
				t.Errorf("backend saw %d requests, want %d", n, want)
			}
		})
	}
}

// A new connection has no excuse: what fails there has failed.
func TestNothingIsRepeatedTwice(t *testing.T) {
	var requests atomic.Int32
	backend := rawBackend(t, func(c *rawConn) {
		if _, err := c.readHead(); err == nil {
			requests.Add(1)
		}
		if c.n == 1 && answerNumber(c) == nil {
			if _, err := c.readHead(); err == nil {
				requests.Add(1)
			}
		}
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	ask(t, c, keepGet)
	if status, _ := ask(t, c, keepGet); status != "502" {
		t.Errorf("got %s, want 502", status)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("backend saw %d requests, want 3", n)
	}
}

// A connection that must not carry another request carries none.
func TestConnectionsThatAreNotReused(t *testing.T) {
	tests := []struct {
		name, request, answer string
	}{
		{"closed by the backend", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"},
		{"Connection: close", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n1"},
		{"HTTP/1.0", keepPost, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1"},
		{"unread bytes", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 408 Request Timeout\r\n\r\n"},
		{"a body behind a 204", keepPost, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"101", keepPost, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"},
		{"two lengths", keepPost, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			firstGone := make(chan struct{})
			backend := rawBackend(t, func(c *rawConn) {
				if _, err := c.readHead(); err != nil {
					return
				}
				if c.n == 1 {
					defer close(firstGone)
					if c.send(tt.answer) != nil || tt.name == "closed by the backend" {
						c.Close()
						return
					}
					if h, err := c.readHead(); err == nil {
						t.Errorf("a second request came: %q", h)
					}
					return
				}
				_ = answerNumber(c)
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := dialRaw(t, p.addr)
			ask(t, c, tt.request)
			if tt.name != "unread bytes" {
				// All but this one are closed at once.
				<-firstGone
			}
			if status, body := ask(t, c, keepPost); status != "200" || body != "2" {
				t.Errorf("second request: %s %q, want it on another connection", status, body)
			}
		})
	}
}

// An answer that nobody asked for must not become the answer to the next request.
func TestUnsolicitedAnswerIsNotTaken(t *testing.T) {
	idle, sent := make(chan struct{}), make(chan struct{})
	backend := rawBackend(t, func(c *rawConn) {
		for {
			if _, err := c.readHead(); err != nil {
				return
			}
			_ = answerNumber(c)
			if c.n == 1 {
				<-idle
				_ = c.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				close(sent)
			}
		}
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	ask(t, c, keepGet)
	close(idle)
	<-sent
	if status, body := ask(t, c, keepGet); status != "200" || body != "2" {
		t.Errorf("got %s %q, want 200 from the second connection", status, body)
	}
}

func TestPoolIsBoundedAndLastInFirstOut(t *testing.T) {
	to := at(rawBackend(t, func(c *rawConn) { io.Copy(io.Discard, c) }))
	transport := New(Config{MaxIdle: 2})
	defer transport.Close()
	var conns []*conn
	for range 3 {
		c, err := transport.dial(to, 0)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		transport.put(c)
	}
	if _, err := conns[2].Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write on the third connection: %v, want it closed", err)
	}
	for i, want := range []*conn{conns[1], conns[0], nil} {
		got := transport.take(to)
		if got != want {
			t.Errorf("take %d gave %p, want %p", i, got, want)
		}
		if got != nil {
			got.Close()
		}
	}
	if len(transport.idle) != 0 {
		t.Errorf("%d backends left in an empty pool, want 0", len(transport.idle))
	}
}

// Two ways to speak to an address are two backends, whose connections are never taken for each other.
func TestPoolKeepsBackendsApart(t *testing.T) {
	plain := at(rawBackend(t, func(c *rawConn) { io.Copy(io.Discard, c) }))
	verified := &routing.Backend{Addr: plain.Addr, TLS: &routing.BackendTLS{ServerName: "a"}}
	blind := &routing.Backend{Addr: plain.Addr, TLS: &routing.BackendTLS{ServerName: "a", InsecureSkipVerify: true}}
	transport := New(Config{})
	defer transport.Close()
	for _, b := range []*routing.Backend{plain, verified, blind} {
		nc, err := net.Dial("tcp", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		c := &conn{Conn: nc, backend: b}
		transport.put(c)
		for _, other := range []*routing.Backend{plain, verified, blind} {
			got := transport.take(other)
			if want := other == b; (got == c) != want || got != nil && !want {
				t.Errorf("take(%+v) gave %p with the connection %p to %+v waiting", other, got, c, b)
			}
		}
		c.Close()
	}
}

// A backend with TLS never gets a plain byte, whoever forgets what to shake hands with.
func TestBackendWithTLSIsNotDialledWithout(t *testing.T) {
	ln := listen(t)
	transport := New(Config{})
	defer transport.Close()
	_, err := transport.dial(&routing.Backend{Addr: ln.Addr().String(), TLS: &routing.BackendTLS{ServerName: "a"}}, time.Minute)
	if !errors.Is(err, routing.ErrTLS) {
		t.Errorf("dial: %v, want %v", err, routing.ErrTLS)
	}
}

func TestPoolOff(t *testing.T) {
	backend := rawBackend(t, func(c *rawConn) {
		for {
			if _, err := c.readHead(); err != nil || answerNumber(c) != nil {
				return
			}
		}
	})
	p := startProxy(t, proxyOptions{config: Config{MaxIdle: -1}, to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	for _, want := range []string{"1", "2"} {
		if _, body := ask(t, c, keepGet); body != want {
			t.Errorf("on connection %s, want %s", body, want)
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	ended := make(chan struct{}, 10)
	to := at(rawBackend(t, func(c *rawConn) {
		io.Copy(io.Discard, c)
		ended <- struct{}{}
	}))
	t.Run("after IdleTimeout", func(t *testing.T) {
		transport := New(Config{IdleTimeout: time.Millisecond})
		defer transport.Close()
		for range 3 {
			c, err := transport.dial(to, 0)
			if err != nil {
				t.Fatal(err)
			}
			transport.put(c)
		}
		for range 3 {
			<-ended
		}
	})
	t.Run("by Close", func(t *testing.T) {
		transport := New(Config{IdleTimeout: -1})
		c, err := transport.dial(to, 0)
		if err != nil {
			t.Fatal(err)
		}
		transport.put(c)
		transport.Close()
		<-ended
		if c, err = transport.dial(to, 0); err != nil {
			t.Fatal(err)
		}
		transport.put(c)
		<-ended
	})
}

// A connection that is too old is not handed out though the sweep has not come by yet.
func TestOldConnectionIsNotTaken(t *testing.T) {
	to := at(rawBackend(t, func(c *rawConn) { io.Copy(io.Discard, c) }))
	transport := New(Config{IdleTimeout: time.Hour})
	defer transport.Close()
	c, err := transport.dial(to, 0)
	if err != nil {
		t.Fatal(err)
	}
	transport.put(c)
	c.since = c.since.Add(-2 * time.Hour)
	if got := transport.take(to); got != nil {
		t.Errorf("take gave a connection two hours old, want none")
		got.Close()
	}
}

func TestErrorsNameOperationObjectAndCause(t *testing.T) {
	ln := listen(t)
	addr := ln.Addr().String()
	ln.Close()
	transport := New(Config{})
	defer transport.Close()
	_, err := transport.dial(at(addr), time.Minute)
	want := "dial backend " + addr + ": backend unreachable: connect: connection refused"
	if err == nil || err.Error() != want || !errors.Is(err, routing.ErrDial) || errors.Is(err, routing.ErrTimeout) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The sweep closes what is old and comes again for the rest.
func TestSweepLeavesYoungConnections(t *testing.T) {
	ended := make(chan int, 2)
	to := at(rawBackend(t, func(c *rawConn) {
		io.Copy(io.Discard, c)
		ended <- c.n
	}))
	transport := New(Config{IdleTimeout: time.Hour})
	defer transport.Close()
	var conns []*conn
	for range 2 {
		c, err := transport.dial(to, 0)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		transport.put(c)
	}
	transport.mu.Lock()
	conns[0].since = conns[0].since.Add(-2 * time.Hour)
	transport.sweep.Reset(0)
	transport.mu.Unlock()
	<-ended
	if got := transport.take(to); got != conns[1] {
		t.Errorf("take gave %p, want the young connection %p", got, conns[1])
	} else {
		got.Close()
	}
}
