package tlsterm

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestListenIPv6(t *testing.T) {
	ln, err := Listen("[::1]:0", Config{})
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skip("no IPv6 on loopback here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := dial(t, ln.Addr().String())
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("RemoteAddr = %s, want %s", got, want)
	}
}

func TestListenOnATakenPort(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if second, err := Listen(ln.Addr().String(), Config{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen = %v, %v, want %v", second, err, syscall.EADDRINUSE)
	}
}

// queue is an inner listener whose Accept gives what it is told.
type queue struct {
	net.Listener
	results chan any // a net.Conn or an error
	closed  chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case r := <-q.results:
		if conn, ok := r.(net.Conn); ok {
			return conn, nil
		}
		return nil, r.(error)
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	close(q.closed)
	return q.Listener.Close()
}

func queued(t *testing.T, results ...any) *Listener {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{Listener: ln.Listener, results: make(chan any, len(results)), closed: make(chan struct{})}
	for _, r := range results {
		q.results <- r
	}
	ln.Listener = q
	return ln
}

func acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func TestAcceptSurvivesWhatPasses(t *testing.T) {
	near, far := accepted(t, nil)
	defer far.Close()
	ln := queued(t, acceptError(syscall.EMFILE), acceptError(syscall.ECONNABORTED), acceptError(syscall.ENOBUFS), near.Detach())
	defer ln.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	conn.Close()
}

func TestAcceptReportsWhatStays(t *testing.T) {
	ln := queued(t, acceptError(syscall.EINVAL))
	defer ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Accept: %v, want %v", err, syscall.EINVAL)
	}
}

func TestCloseEndsAPausingAccept(t *testing.T) {
	var errs []any
	for range 100 { // half a minute and more of pauses
		errs = append(errs, acceptError(syscall.EMFILE))
	}
	ln := queued(t, errs...)
	ended := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		ended <- err
	}()
	ln.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
		}
	case <-time.After(hung):
		t.Fatal("Accept goes on")
	}
}
