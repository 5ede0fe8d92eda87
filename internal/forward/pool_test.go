package forward

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/routing"
)

// large is a pool that takes all there is, for as long as a test takes.
var large = routing.Pool{MaxIdle: 100, IdleTimeout: time.Hour}

// open makes a connection as ask does.
func open(t *testing.T, transport *Transport, b *routing.Backend) *conn {
	t.Helper()
	nc, err := transport.config.Dial(b, dial.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return &conn{Conn: nc, backend: b}
}

func TestPoolIsBoundedAndLastInFirstOut(t *testing.T) {
	to := at(rawBackend(t, endlessly))
	transport := New(Config{})
	defer transport.Close()
	var conns []*conn
	for range 3 {
		conns = append(conns, open(t, transport, to))
	}
	for _, c := range conns {
		transport.put(c, &routing.Pool{MaxIdle: 2, IdleTimeout: time.Hour})
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
	transport.sweep.Stop()
	transport.expire()
	if len(transport.idle) != 0 {
		t.Errorf("%d backends left in an empty pool, want 0", len(transport.idle))
	}
}

// Two ways to speak to an address are two backends, whose connections are never taken for each other.
func TestPoolKeepsBackendsApart(t *testing.T) {
	plain := at(rawBackend(t, endlessly))
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
		transport.put(c, &large)
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
	p := startProxy(t, proxyOptions{to: To{
		Backend: &routing.Backend{Addr: ln.Addr().String(), TLS: &routing.BackendTLS{ServerName: "a"}},
	}})
	p.exchange(t, get)
	p.wantError(t, routing.ErrTLS)
}

func TestPoolOff(t *testing.T) {
	backend := rawBackend(t, answerNumbers)
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend), Pool: routing.Pool{MaxIdle: -1}}})
	c := p.dial(t)
	for _, want := range []string{"1", "2"} {
		if _, body := ask(t, c, keepGet); body != want {
			t.Errorf("on connection %s, want %s", body, want)
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	ended := make(chan struct{}, 10)
	to := at(rawBackend(t, func(c *rawConn) {
		_, _ = io.Copy(io.Discard, c)
		ended <- struct{}{}
	}))
	t.Run("after IdleTimeout", func(t *testing.T) {
		transport := New(Config{})
		defer transport.Close()
		for range 3 {
			transport.put(open(t, transport, to), &routing.Pool{MaxIdle: 3, IdleTimeout: time.Millisecond})
		}
		for range 3 {
			<-ended
		}
	})
	t.Run("by Close", func(t *testing.T) {
		transport := New(Config{})
		transport.put(open(t, transport, to), &large)
		transport.Close()
		<-ended
		transport.put(open(t, transport, to), &large)
		<-ended
	})
}

// A connection that is too old is not handed out though the sweep has not come by yet.
func TestOldConnectionIsNotTaken(t *testing.T) {
	to := at(rawBackend(t, endlessly))
	transport := New(Config{})
	defer transport.Close()
	c := open(t, transport, to)
	transport.put(c, &large)
	c.until = time.Now()
	if got := transport.take(to); got != nil {
		t.Error("take gave a connection that is too old, want none")
		got.Close()
	}
}

func TestErrorsNameOperationObjectAndCause(t *testing.T) {
	ln := listen(t)
	addr := ln.Addr().String()
	ln.Close()
	p := startProxy(t, proxyOptions{to: To{Backend: at(addr)}})
	p.exchange(t, get)
	err := <-p.errs
	want := "dial backend " + addr + ": backend unreachable: connect: connection refused"
	if err == nil || err.Error() != want || !errors.Is(err, routing.ErrDial) || errors.Is(err, routing.ErrTimeout) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The sweep closes what is old and comes again for the rest.
func TestSweepLeavesYoungConnections(t *testing.T) {
	ended := make(chan int, 2)
	to := at(rawBackend(t, func(c *rawConn) {
		_, _ = io.Copy(io.Discard, c)
		ended <- c.n
	}))
	transport := New(Config{})
	defer transport.Close()
	var conns []*conn
	for range 2 {
		c := open(t, transport, to)
		conns = append(conns, c)
		transport.put(c, &large)
	}
	transport.mu.Lock()
	conns[0].until = time.Now()
	transport.sweep.Reset(0)
	transport.mu.Unlock()
	<-ended
	if got := transport.take(to); got != conns[1] {
		t.Errorf("take gave %p, want the young connection %p", got, conns[1])
	} else {
		got.Close()
	}
}
