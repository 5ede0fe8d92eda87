package inbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
	"wsproxy/internal/splice"
	"wsproxy/tlsterm"
)

// hung is how long anything may take before a test fails because of it; no test measures it.
const hung = 30 * time.Second

// way is how clients come.
type way struct {
	name string
	tls  bool
	home bool // connections live in a loop of a splice engine, so that they can park
}

var (
	plainWay = way{"http", false, true}
	homes    = []way{plainWay, {"https", true, true}}
	ways     = append(homes[:2:2], way{"http without a home", false, false}, way{"https without a home", true, false})
)

func over(t *testing.T, ways []way, f func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// server is a Port with fasthttp behind it, as front has it.
type server struct {
	addr   string
	way    way
	port   *Port
	faults chan error // of heads that are none
	stop   func()
}

type options struct {
	way       way // plainWay if there is none
	config    func(*Config)
	parkAfter time.Duration // never if it is zero
	handle    func(*Conn, *fasthttp.RequestCtx)
}

var selfSigned = sync.OnceValues(func() (*tlsterm.Certs, error) { return tlsterm.SelfSigned([]string{"localhost"}) })

func start(t testing.TB, o options) *server {
	t.Helper()
	if o.way.name == "" {
		o.way = plainWay
	}
	if o.handle == nil {
		o.handle = echo
	}
	lc := tlsterm.Config{Log: slog.New(slog.DiscardHandler)}
	if o.way.tls {
		certs, err := selfSigned()
		if err != nil {
			t.Fatal(err)
		}
		lc.Certs = certs
	}
	var engine *splice.Engine
	if o.way.home {
		var err error
		if engine, err = splice.New(splice.Config{}); err != nil {
			t.Fatal(err)
		}
		lc.Home = engine.Home()
	}
	ln, err := tlsterm.Listen("127.0.0.1:0", lc)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), way: o.way, faults: make(chan error, 1000)}
	var srv *fasthttp.Server
	cfg := Config{
		Head:          head.Limits{Size: 16 << 10, Target: 8 << 10, Fields: 100},
		HeaderTimeout: hung, KeepAlive: hung, BodyTimeout: hung, SendTimeout: hung, MinRate: -1,
		Serve: func(c net.Conn) { _ = srv.ServeConn(c) },
	}
	if o.config != nil {
		o.config(&cfg)
	}
	s.port = NewPort(cfg)
	if s.port.parkAfter = o.parkAfter; o.parkAfter == 0 {
		s.port.parkAfter = time.Hour
	}
	srv = s.newServer(o.handle)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(s.port.Listen(ln))
	}()
	s.stop = sync.OnceFunc(func() {
		ln.Close() // so that a Shutdown which comes before Serve leaves nothing
		s.port.Stop()
		_ = srv.Shutdown() // the listener is closed
		<-served
		if engine != nil {
			engine.Stop(context.Background())
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) newServer(handle func(*Conn, *fasthttp.RequestCtx)) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			c := ctx.Conn().(*Conn)
			c.Begin(lengthOf(ctx.Request.Header.RawHeaders()), 0)
			handle(c, ctx)
		},
		ErrorHandler: func(ctx *fasthttp.RequestCtx, err error) {
			c := ctx.Conn().(*Conn)
			if fault := c.Fault(); fault != nil {
				err = fault
			}
			s.faults <- err
			ctx.SetStatusCode(400)
			ctx.SetBodyString(err.Error())
			c.Linger()
		},
		HeaderReceived: func(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
			h.SetContentLength(0)
			return none
		},
		ReadBufferSize:                16<<10 + 1,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		CloseOnShutdown:               true,
		SecureErrorLogMessage:         true,
		MaxIdleWorkerDuration:         100 * time.Millisecond, // that long a goroutine of its pool survives Shutdown
		Logger:                        log.New(io.Discard, "", 0),
	}
}

func lengthOf(fields []byte) (length int64) {
	for f := range head.Fields(fields) {
		switch {
		case f.Is("Content-Length"):
			length, _ = strconv.ParseInt(string(f.Value), 10, 64)
		case f.Is("Transfer-Encoding"):
			length = -1
		}
	}
	return length
}

// echo says what has been asked.
func echo(c *Conn, ctx *fasthttp.RequestCtx) {
	b, err := io.ReadAll(c.Body())
	if err != nil {
		ctx.SetStatusCode(500)
		ctx.SetConnectionClose()
		c.Linger()
		b = []byte(err.Error())
	}
	fmt.Fprintf(ctx, "%s %s %s", ctx.Method(), ctx.Request.Header.RequestURI(), b)
}

// client is the other side.
type client struct {
	net.Conn
	br *bufio.Reader
	t  testing.TB
}

func (s *server) tryDial() (net.Conn, error) {
	if s.way.tls {
		return tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	}
	return net.Dial("tcp", s.addr)
}

func (s *server) dial(t testing.TB) *client {
	t.Helper()
	c, err := s.tryDial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(hung))
	return &client{Conn: c, br: bufio.NewReader(c), t: t}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answer reads one, and gives its status and body.
func (c *client) answer() (status int, body string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("read body: %v after %q", err, b)
	}
	return r.StatusCode, string(b)
}

// want reads an answer and compares its body.
func (c *client) want(body string) {
	c.t.Helper()
	if status, got := c.answer(); status != 200 || got != body {
		c.t.Errorf("got %d %q, want %q", status, got, body)
	}
}

// exchange sends a request and compares the answer's body.
func (c *client) exchange(request, body string) {
	c.t.Helper()
	c.send(request)
	c.want(body)
}

// rest reads to the end, a reset included.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.br)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.t.Fatalf("still open; so far %q", b)
	}
	return string(b)
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
