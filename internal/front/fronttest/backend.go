package fronttest

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// Backend is a raw server.
type Backend struct {
	Addr string

	ln  net.Listener
	tls *tls.Config // nil for plain ones
	t   testing.TB
}

// Listen starts a Backend.
func Listen(t testing.TB) *Backend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &Backend{Addr: ln.Addr().String(), ln: ln, t: t}
}

// ListenTLS starts a Backend that speaks TLS. It shakes hands when a connection is first read or written.
func ListenTLS(t testing.TB, cfg *tls.Config) *Backend {
	t.Helper()
	b := Listen(t)
	b.tls = cfg
	return b
}

// Accept waits for the next connection.
func (b *Backend) Accept() *Conn {
	b.t.Helper()
	_ = b.ln.(*net.TCPListener).SetDeadline(time.Now().Add(Hung))
	c, err := b.ln.Accept()
	if err != nil {
		b.t.Fatalf("accept: %v", err)
	}
	return b.conn(c)
}

func (b *Backend) conn(c net.Conn) *Conn {
	if b.tls != nil {
		c = tls.Server(c, b.tls)
	}
	return newConn(b.t, c)
}

// Untouched fails the test when the proxy has connected and Accept has not been called for it: the
// next in the queue must be a connection that Untouched makes.
func (b *Backend) Untouched() {
	b.t.Helper()
	own, err := net.Dial("tcp", b.Addr)
	if err != nil {
		b.t.Fatal(err)
	}
	defer own.Close()
	next := b.Accept()
	defer next.Close()
	if next.RemoteAddr().String() != own.LocalAddr().String() {
		b.t.Errorf("the backend was asked: %q", next.Head())
	}
}

// Serve accepts for the test: each connection is handled on a goroutine of its own, and closed
// afterwards. It ends with the test, when all of those have.
func (b *Backend) Serve(handle func(*Conn)) {
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			nc, err := b.ln.Accept()
			if err != nil {
				return
			}
			c := b.conn(nc)
			handlers.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	b.t.Cleanup(func() {
		b.ln.Close()
		handlers.Wait()
	})
}
