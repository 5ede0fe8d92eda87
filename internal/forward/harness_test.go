package forward

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// proxy is fasthttp with the settings of the real front before one backend.
type proxy struct {
	addr string
	errs chan error // what Forward returned, if anybody looks
	stop func()
}

type proxyOptions struct {
	config   Config
	to       To                                           // Backend and timeouts
	listen   func(net.Listener) net.Listener              // wraps the listener
	handler  func(*Transport, *fasthttp.RequestCtx) error // instead of Forward
	prefetch int                                          // what the server reads of a body before the handler runs, zero is 8 KiB
}

func startProxy(t *testing.T, o proxyOptions) *proxy {
	t.Helper()
	ln := listen(t)
	p := &proxy{addr: ln.Addr().String(), errs: make(chan error, 1000)}
	if o.listen != nil {
		ln = o.listen(ln)
	}
	transport := New(o.config)
	if o.handler == nil {
		o.handler = func(t *Transport, ctx *fasthttp.RequestCtx) error {
			to := o.to
			to.Head = requestHead(ctx)
			return t.Forward(ctx, to)
		}
	}
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			err := o.handler(transport, ctx)
			select {
			case p.errs <- err:
			default:
			}
			if err != nil {
				ctx.SetStatusCode(status(err))
				ctx.SetBodyString(err.Error() + "\n")
			}
		},
		StreamRequestBody:             true,
		MaxRequestBodySize:            o.prefetch,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		SecureErrorLogMessage:         true,
		ReadBufferSize:                8 << 10,
		MaxIdleWorkerDuration:         100 * time.Millisecond, // that long a goroutine of its pool survives Shutdown
		Logger:                        log.New(io.Discard, "", 0),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	p.stop = sync.OnceFunc(func() {
		if err := server.Shutdown(); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-served
		transport.Close()
	})
	t.Cleanup(p.stop)
	return p
}

func requestHead(ctx *fasthttp.RequestCtx) head.Request {
	return head.Request{
		Method:     ctx.Method(),
		Target:     ctx.Request.Header.RequestURI(),
		Fields:     ctx.Request.Header.RawHeaders(),
		ClientIP:   "192.0.2.1",
		Proto:      "http",
		ClientHost: "example.com",
	}
}

// status is what front will make of an error.
func status(err error) int {
	switch {
	case errors.Is(err, routing.ErrTimeout):
		return 504
	case errors.Is(err, routing.ErrDial), errors.Is(err, routing.ErrAnswer):
		return 502
	case errors.Is(err, ErrClient):
		return 400
	}
	return 500
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// rawConn is one side of a connection, without a library.
type rawConn struct {
	net.Conn
	*bufio.Reader
	n int // counts the backend's connections from 1 on
}

func (c *rawConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// readHead reads up to and with the empty line.
func (c *rawConn) readHead() (string, error) {
	var b strings.Builder
	for {
		line, err := c.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

func (c *rawConn) send(s string) error {
	_, err := io.WriteString(c.Conn, s)
	return err
}

// rawBackend serves each connection with serve and closes it then. The test waits for all of them.
func rawBackend(t *testing.T, serve func(*rawConn)) (addr string) {
	t.Helper()
	ln := listen(t)
	var conns sync.WaitGroup
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				// No wait in a test is for ever.
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				serve(&rawConn{Conn: c, Reader: bufio.NewReader(c), n: n})
			})
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-accepting
		conns.Wait()
	})
	return ln.Addr().String()
}

// at is the plain backend at an address.
func at(addr string) *routing.Backend { return &routing.Backend{Addr: addr} }

// answerOnce answers the first request of every connection with the given bytes and closes.
func answerOnce(t *testing.T, answer string) (addr string) {
	return rawBackend(t, func(c *rawConn) {
		if _, err := c.readHead(); err == nil {
			_ = c.send(answer)
		}
	})
}

// httpBackend serves with net/http.
func httpBackend(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	ln := listen(t)
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return ln.Addr().String()
}

// dialRaw is a client without a library.
func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &rawConn{Conn: c, Reader: bufio.NewReader(c)}
}

// exchangeRaw sends a request and returns all that comes up to the connection's end.
func exchangeRaw(t *testing.T, addr, request string) string {
	t.Helper()
	c := dialRaw(t, addr)
	if err := c.send(request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("read answer: %v after %q", err, b)
	}
	return string(b)
}

// httpClient keeps connections as browsers do, and leaves none behind.
func httpClient(t *testing.T) *http.Client {
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // the certificate is the test's own
		DisableCompression: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// plainConn hides everything a TCP connection can besides net.Conn, as a listener of one's own may.
type plainConn struct{ net.Conn }

type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return plainConn{c}, nil
}

func plainListen(ln net.Listener) net.Listener { return plainListener{ln} }

func wantError(t *testing.T, p *proxy, want error) {
	t.Helper()
	if err := <-p.errs; !errors.Is(err, want) {
		t.Errorf("Forward: %v, want %v", err, want)
	}
}
