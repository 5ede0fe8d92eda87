// Package front is the shared port: every request of every listener arrives here, passes the gate,
// finds its route and is then forwarded, or upgraded to a link.
package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/forward"
	"wsproxy/internal/head"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// Config is a Server's.
type Config struct {
	Table    *routing.Table
	Upgrader *upgrade.Upgrader
	Forward  *forward.Transport

	// HeaderSize is the most bytes that a request may have before its body. Zero means 16 KiB.
	HeaderSize int

	// HeaderTimeout is how long a client may take to send them, and again to begin with the body.
	// Zero means ten seconds.
	HeaderTimeout time.Duration

	// BodySize is the most bytes that the body of a plain request may have. Zero means no limit.
	BodySize int64

	// Challenge answers the path of an ACME server's HTTP-01 challenge for a host on plain listeners. It
	// reports false for what is not its own. Nil means that there are none.
	Challenge func(host, path string) (body []byte, ok bool)

	// KeepAlive is how long a connection may be idle between requests. Zero means a minute.
	KeepAlive time.Duration

	// Busy is called with each request. Nil means that nobody wants to know.
	Busy func()

	// Log gets one line for each link and each refused request. Nil means slog's default.
	Log *slog.Logger
}

const (
	defaultHeaderSize    = 16 << 10
	defaultHeaderTimeout = 10 * time.Second
	defaultKeepAlive     = time.Minute
)

// Server serves all listeners.
type Server struct {
	cfg      Config
	policies map[*routing.Route]*splice.Policy
	http     fasthttp.Server
	stopping atomic.Bool
}

// New makes a Server; Shutdown ends it.
func New(cfg Config) *Server {
	if cfg.HeaderSize == 0 {
		cfg.HeaderSize = defaultHeaderSize
	}
	if cfg.HeaderTimeout == 0 {
		cfg.HeaderTimeout = defaultHeaderTimeout
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg, policies: make(map[*routing.Route]*splice.Policy)}
	for _, route := range cfg.Table.Routes() {
		s.policies[route] = upgrade.PolicyOf(route)
	}
	s.http = fasthttp.Server{
		Handler:        s.handle,
		ErrorHandler:   s.unreadable,
		HeaderReceived: s.awaitBody,

		ReadBufferSize: cfg.HeaderSize,
		ReadTimeout:    cfg.HeaderTimeout,
		IdleTimeout:    cfg.KeepAlive,

		// What a client sent and a backend answered passes as it is.
		DisableHeaderNamesNormalizing: true,
		DisablePreParseMultipartForm:  true,
		NoDefaultServerHeader:         true,
		NoDefaultContentType:          true,
		NoDefaultDate:                 true,

		// In stream mode this limits only what is read before the handler runs: an upload reaches its
		// backend with its first byte.
		StreamRequestBody:  true,
		MaxRequestBodySize: 1,

		// A client is told that its connection ends with the answer.
		CloseOnShutdown: true,

		SecureErrorLogMessage: true,
		Logger:                fasthttpLog{cfg.Log},
	}
	return s
}

// Serve serves one listener, of tlsterm's, until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown closes the listeners, refuses new handshakes on connections that are open, waits for
// requests and for links on their way to the engine, and closes idle connections. When ctx is done
// it returns its error and leaves the rest as it is.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	if err := s.http.ShutdownWithContext(ctx); err != nil {
		return err
	}
	return s.cfg.Upgrader.Wait(ctx)
}

// awaitBody bounds the wait for the first byte of a body, which fasthttp wants before it calls the
// handler. forward lifts the bound.
func (s *Server) awaitBody(*fasthttp.RequestHeader) fasthttp.RequestConfig {
	return fasthttp.RequestConfig{ReadTimeout: s.cfg.HeaderTimeout}
}

// handle is one request, on one of fasthttp's workers.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	// fasthttp does not recover, and one bad request must not end every link.
	defer func() {
		if fault := recover(); fault != nil {
			s.cfg.Log.Error("request", "client", ctx.RemoteAddr().String(), "err", fault, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			ctx.Error("Internal Server Error\n", fasthttp.StatusInternalServerError)
			hangUpOn(ctx)
		}
	}()
	if s.cfg.Busy != nil {
		s.cfg.Busy()
	}
	target, err := gate(&ctx.Request.Header)
	if err != nil {
		s.refuse(ctx, nil, err)
		return
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	if s.onPlainPort(ctx, target, path) {
		return
	}
	route := s.cfg.Table.Match(ctx.Request.Header.Host(), path)
	if route == nil {
		s.refuse(ctx, nil, errNoRoute)
		return
	}
	if upgrade.Wanted(&ctx.Request.Header) {
		err = s.upgrade(ctx, route, target)
	} else {
		err = s.forward(ctx, route, target)
	}
	if err != nil {
		s.refuse(ctx, route, err)
	}
}

// upgrade makes a link of the request, or relays the backend's refusal of it.
func (s *Server) upgrade(ctx *fasthttp.RequestCtx, route *routing.Route, target []byte) error {
	if s.stopping.Load() {
		return errStopping
	}
	hs, err := upgrade.Check(&ctx.Request.Header)
	if err != nil {
		return err
	}
	b := route.Pick()
	b.Acquire()
	linked := false
	defer func() {
		if !linked {
			b.Release()
		}
	}()
	req := request(ctx, route, b, target)
	req.Upgrade = true
	answer, err := s.cfg.Upgrader.Ask(ctx.Conn(), route, b, &hs, &req)
	if err != nil {
		return err
	}
	if answer.Status() != fasthttp.StatusSwitchingProtocols {
		status := answer.Status()
		conn, br, release := answer.Take()
		hangUpOn(ctx) // frames sent early must not be read as a next request
		if err := s.cfg.Forward.Relay(ctx, conn, br, ctx.Method(), release); err != nil {
			return err
		}
		s.cfg.Log.Info("handshake refused by backend", "client", ctx.RemoteAddr().String(), "backend", b.Addr,
			"route", route.Name, "status", status)
		return nil
	}
	err = s.cfg.Upgrader.Link(ctx, answer, s.policies[route], &link{s, addrPort(ctx.RemoteAddr()), b, route})
	linked = err == nil // the link begins after the handler's return
	return err
}

// forward answers a request that is no upgrade.
func (s *Server) forward(ctx *fasthttp.RequestCtx, route *routing.Route, target []byte) error {
	if limit := s.cfg.BodySize; limit > 0 {
		switch length := int64(ctx.Request.Header.ContentLength()); {
		case length > limit:
			return errBodySize
		case length == -1:
			ctx.Request.SetBodyStream(&limitedBody{ctx.RequestBodyStream(), limit}, -1)
		}
	}
	// An upload may take hours.
	if err := ctx.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	b := route.Pick()
	return s.cfg.Forward.Forward(ctx, forward.To{
		Backend:         b,
		DialTimeout:     route.DialTimeout,
		ResponseTimeout: route.ResponseTimeout,
		Head:            request(ctx, route, b, target),
	})
}

// limitedBody is a chunked body, whose size shows only as it comes. More than left bytes are
// errBodySize.
type limitedBody struct {
	body io.Reader
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errBodySize
	}
	return n, err
}

// request is the head that a backend gets.
func request(ctx *fasthttp.RequestCtx, route *routing.Route, b *routing.Backend, target []byte) head.Request {
	h := &ctx.Request.Header
	req := head.Request{
		Method:     h.Method(),
		Target:     target,
		Fields:     h.RawHeaders(),
		Host:       route.HostHeader.HostFor(b),
		ClientIP:   ctx.RemoteIP().String(),
		Proto:      "http",
		ClientHost: string(h.Host()),
	}
	if state := ctx.TLSConnectionState(); state != nil {
		req.Proto = "https"
		// With certificates that nobody has verified there is no handshake.
		if len(state.PeerCertificates) > 0 {
			req.ClientCert = head.ClientCertOf(state.PeerCertificates[0])
		}
	}
	if len(h.Host()) == 0 && req.Host == "" {
		req.Host = b.Host
	}
	return req
}

// fasthttpLog is where fasthttp says what it thinks.
type fasthttpLog struct{ log *slog.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case strings.Contains(text, "error when reading request headers"):
		// It may quote the request, and unreadable has said what there is to say.
	case strings.HasPrefix(text, "error when serving connection"):
		l.log.Debug(text)
	default:
		l.log.Warn(text) // more connections than it serves, for one
	}
}

// unreadable answers what fasthttp cannot parse. Its words are not passed on: they may quote the
// request.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	_, large := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	network, broken := errors.AsType[net.Error](err)
	slow := broken && network.Timeout()
	conn, ours := ctx.Conn().(interface{ Silent() bool })
	switch {
	case large:
		err = errHeaderSize
	case slow && ours && conn.Silent():
		// A client that opens connections ahead of need would take an answer now for that of its first
		// request, so it gets none.
		err = errGone
		ctx.Conn().Close()
	case slow:
		err = errTooSlow
	case broken, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errGone
	default:
		err = errMalformed
	}
	s.refuse(ctx, nil, err)
}
