package forward

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// way is how clients come to the proxy.
type way struct {
	name string
	tls  bool
	home bool // connections live in a loop of a splice engine
}

var (
	plainWay  = way{"http", false, true}
	secureWay = way{"https", true, true}
	ways      = []way{plainWay, secureWay, {"http without a home", false, false}, {"https without a home", true, false}}
)

// overWays runs a test once for each way.
func overWays(t *testing.T, f func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// proxy is what of the real front matters here, before one backend.
type proxy struct {
	addr string
	way  way
	errs chan error // what Forward returned, if anybody looks
	port *inbound.Port
	stop func()

	transport *Transport
	to        atomic.Pointer[To]
}

type proxyOptions struct {
	way     way // plainWay if there is none
	config  Config
	to      To // Backend, timeouts and Pool, which is large if it is zero
	inbound func(*inbound.Config)
	rests   time.Duration                                                       // restAfter, which is very short if it is zero
	handler func(*Transport, *inbound.Conn, *fasthttp.RequestCtx) (bool, error) // instead of Forward
}

var selfSigned = sync.OnceValues(func() (*tlsterm.Certs, error) { return tlsterm.SelfSigned([]string{"localhost"}) })

func startProxy(t testing.TB, o proxyOptions) *proxy {
	t.Helper()
	if o.way.name == "" {
		o.way = plainWay
	}
	config := tlsterm.Config{Log: slog.New(slog.DiscardHandler)}
	if o.way.tls {
		certs, err := selfSigned()
		if err != nil {
			t.Fatal(err)
		}
		config.Certs = certs
	}
	var engine *splice.Engine
	if o.way.home {
		var err error
		if engine, err = splice.New(splice.Config{}); err != nil {
			t.Fatal(err)
		}
		config.Home = engine.Home()
	}
	ln, err := tlsterm.Listen("127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), way: o.way, errs: make(chan error, 1000), transport: New(o.config)}
	p.transport.restAfter = cmp.Or(o.rests, time.Microsecond)
	p.direct(o.to)
	if o.handler == nil {
		o.handler = p.forward
	}
	var server *fasthttp.Server
	ic := inbound.Config{
		Head:          head.Limits{Size: 16 << 10},
		HeaderTimeout: time.Minute, KeepAlive: time.Minute, BodyTimeout: time.Minute, SendTimeout: time.Minute,
		MinRate: -1,
		Serve:   func(c net.Conn) { _ = server.ServeConn(c) },
	}
	if o.inbound != nil {
		o.inbound(&ic)
	}
	p.port = inbound.NewPort(ic)
	server = newServer(func(ctx *fasthttp.RequestCtx) { p.handle(ctx, o.handler) })
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(p.port.Listen(ln))
	}()
	p.stop = sync.OnceFunc(func() {
		ln.Close() // so that a Shutdown which comes before Serve leaves nothing
		p.port.Stop()
		_ = server.Shutdown() // the listener is closed
		<-served
		p.transport.Close()
		if engine != nil {
			engine.Stop(context.Background())
		}
	})
	t.Cleanup(p.stop)
	return p
}

// newServer makes a server with the settings of the real front.
func newServer(handle fasthttp.RequestHandler) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: handle,
		HeaderReceived: func(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
			h.SetContentLength(0)
			h.Del("Expect")
			h.Del("expect")
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

// direct sends the requests from now on elsewhere.
func (p *proxy) direct(to To) {
	if to.Pool == (routing.Pool{}) {
		to.Pool = routing.Pool{MaxIdle: 128, IdleTimeout: time.Minute}
	}
	p.to.Store(&to)
}

func (p *proxy) handle(ctx *fasthttp.RequestCtx, handler func(*Transport, *inbound.Conn, *fasthttp.RequestCtx) (bool, error)) {
	conn := ctx.Conn().(*inbound.Conn)
	defer func() {
		if fault := recover(); fault != nil {
			conn.Mute()
			ctx.SetConnectionClose()
		}
	}()
	conn.Begin(bodyLength(ctx.Request.Header.RawHeaders()), 0)
	keep, err := handler(p.transport, conn, ctx)
	select {
	case p.errs <- err:
	default:
	}
	switch {
	case err != nil:
		ctx.SetStatusCode(status(err))
		ctx.SetBodyString(err.Error() + "\n")
		keep = conn.Body().Whole()
	default:
		conn.Mute()
	}
	if !keep {
		ctx.SetConnectionClose()
		conn.Linger()
	}
}

func (p *proxy) forward(t *Transport, conn *inbound.Conn, ctx *fasthttp.RequestCtx) (bool, error) {
	to := *p.to.Load()
	h := &ctx.Request.Header
	to.Head = head.Request{
		Method: h.Method(), Target: h.RequestURI(), Fields: h.RawHeaders(),
		Origin: head.Origin{Peer: netip.MustParseAddr("192.0.2.1"), Proto: "http", Host: "example.com"},
	}
	to.HTTP10 = string(h.Protocol()) == "HTTP/1.0"
	to.Close = h.ConnectionClose()
	return t.Forward(conn, &to)
}

// bodyLength is what the gate finds out.
func bodyLength(fields []byte) (length int64) {
	for f := range head.Fields(fields) {
		switch {
		case f.Is("Content-Length"):
			length, _ = body.ParseLength(f.Value)
		case f.Is("Transfer-Encoding"):
			length = -1
		}
	}
	return length
}

// status is what front makes of an error.
func status(err error) int {
	switch {
	case errors.Is(err, routing.ErrTimeout):
		return 504
	case errors.Is(err, routing.ErrDial), errors.Is(err, routing.ErrAnswer):
		return 502
	case errors.Is(err, inbound.ErrSlow):
		return 408
	case errors.Is(err, ErrClient):
		return 400
	}
	return 500
}

// dial is a client without a library.
func (p *proxy) dial(t testing.TB) *rawConn {
	t.Helper()
	c, err := p.tryDial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(hung))
	return &rawConn{Conn: c, Reader: bufio.NewReader(c)}
}

// exchange sends a request and returns all that comes up to the connection's end.
func (p *proxy) exchange(t testing.TB, request string) string {
	t.Helper()
	c := p.dial(t)
	if err := c.send(request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("read answer: %v after %q", err, b)
	}
	c.Close()
	return string(b)
}

// url is that of the proxy.
func (p *proxy) url() string {
	scheme, _, _ := strings.Cut(p.way.name, " ")
	return scheme + "://" + p.addr
}

func (p *proxy) wantError(t testing.TB, want error) {
	t.Helper()
	if err := <-p.errs; !errors.Is(err, want) {
		t.Errorf("Forward: %v, want %v", err, want)
	}
}

// at is the plain backend at an address.
func at(addr string) *routing.Backend { return &routing.Backend{Addr: addr} }

// cut ends a connection with a reset.
func cut(c net.Conn) { sock.Cut(c) }
