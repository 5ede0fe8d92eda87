// Package front is the shared port: every request of every listener arrives here, passes the gate,
// finds its route and is then forwarded, or upgraded to a link.
package front

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/forward"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// Config is a Server's.
type Config struct {
	Table    *routing.Table
	Upgrader *upgrade.Upgrader
	Forward  *forward.Transport

	// Limits are what requests may have. Of its sizes zero means the default that package routing has for
	// it; TLSHandshakes is not looked at.
	Limits routing.Limits

	// Timeouts are what clients may take. Zero means the default that package routing has for it;
	// TLSHandshake is not looked at.
	Timeouts routing.Timeouts

	// TrustedProxies are those whose word about their clients is taken.
	TrustedProxies routing.Networks

	// Forwarded says that backends are sent RFC 7239 Forwarded as well.
	Forwarded bool

	// Challenge answers the path of an ACME server's HTTP-01 challenge for a host on plain listeners. It
	// reports false for what is not its own. Nil means that there are none.
	Challenge func(host, path string) (body []byte, ok bool)

	// Busy is called with each request. Nil means that nobody wants to know.
	Busy func()

	// Log gets one line for each link and each refused request. Nil means slog's default.
	Log *slog.Logger
}

// Server serves all listeners.
type Server struct {
	cfg      Config
	policies map[*routing.Route]*splice.Policy
	http     fasthttp.Server
	port     *inbound.Port
	refused  map[string]*atomic.Int64 // by reason
	stopping atomic.Bool
}

// New makes a Server; Shutdown ends it.
func New(cfg Config) *Server {
	defaults := routing.Config{Limits: cfg.Limits, Timeouts: cfg.Timeouts}
	defaults.FillDefaults()
	cfg.Limits, cfg.Timeouts = defaults.Limits, defaults.Timeouts
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg, policies: make(map[*routing.Route]*splice.Policy), refused: newCounts()}
	for _, route := range cfg.Table.Routes() {
		s.policies[route] = upgrade.PolicyOf(route)
	}
	s.port = inbound.NewPort(inbound.Config{
		Head: head.Limits{
			Size: int(cfg.Limits.HeaderSize), Target: int(min(cfg.Limits.URISize, cfg.Limits.HeaderSize)),
			Fields: cfg.Limits.HeaderFields, Underscores: cfg.Limits.Underscores,
		},
		HeaderTimeout: cfg.Timeouts.RequestHeader,
		KeepAlive:     cfg.Timeouts.KeepAlive,
		BodyTimeout:   cfg.Timeouts.RequestBody,
		SendTimeout:   cfg.Timeouts.Send,
		MinRate:       cfg.Limits.MinRate,
		Serve:         func(c net.Conn) { _ = s.http.ServeConn(c) },
	})
	// Time and size are inbound's to look after.
	s.http = fasthttp.Server{
		Handler:        s.handle,
		ErrorHandler:   s.unreadable,
		HeaderReceived: takeBody,

		// One byte more than a head may have, which inbound refuses first.
		ReadBufferSize: int(cfg.Limits.HeaderSize) + 1,

		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultContentType:          true,

		// A client is told that its connection ends with the answer.
		CloseOnShutdown: true,

		// Nobody asks when a request came.
		LazyRequestTime: true,

		SecureErrorLogMessage: true,
		Logger:                fasthttpLog{cfg.Log},
	}
	return s
}

// takeBody leaves fasthttp nothing to do about a body: inbound has it, and it is the backend that says
// whether a client may continue.
func takeBody(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
	h.SetContentLength(0) // takes Transfer-Encoding away, too
	for f := range head.Fields(h.RawHeaders()) {
		if f.Is("Expect") {
			h.DelBytes(f.Name)
		}
	}
	return none
}

// Serve serves one listener, of tlsterm's, until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(s.port.Listen(ln)); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown closes the listeners, refuses new handshakes on connections that are open, waits for
// requests and for links on their way to the engine, and closes idle connections. When ctx is done
// it returns its error and leaves the rest as it is.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	s.port.Stop()
	return s.http.ShutdownWithContext(ctx)
}

// Waiting is how many connections wait for a request without a goroutine.
func (s *Server) Waiting() int { return s.port.Waiting() }

// handle is one request, on one of fasthttp's workers.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	conn := ctx.Conn().(*inbound.Conn)
	// fasthttp does not recover, and one bad request must not end every link.
	defer func() {
		if fault := recover(); fault != nil {
			s.cfg.Log.Error("request", "client", conn.Client().String(), "err", fault, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			ctx.Error("Internal Server Error\n", fasthttp.StatusInternalServerError)
			ctx.SetConnectionClose()
			if conn.Answered() {
				conn.Mute() // there is a part of an answer
			} else {
				conn.Linger()
			}
		}
	}()
	if s.cfg.Busy != nil {
		s.cfg.Busy()
	}
	r := &request{ctx: ctx, conn: conn, client: conn.Client().Addr()}
	var err error
	if r.gated, err = gate(&ctx.Request.Header); err != nil {
		s.refuse(r, err)
		return
	}
	s.identify(r)
	conn.Begin(r.length, s.cfg.Limits.BodySize)
	if s.onPlainPort(r) {
		return
	}
	if r.route = s.cfg.Table.Match(r.host, r.path); r.route == nil {
		s.refuse(r, errNoRoute)
		return
	}
	if upgrade.Wanted(&ctx.Request.Header) {
		err = s.upgrade(r)
	} else {
		err = s.forward(r)
	}
	if err != nil {
		s.refuse(r, err)
	}
}

// upgrade makes a link of the request, or relays the backend's refusal of it.
func (s *Server) upgrade(r *request) error {
	if s.stopping.Load() {
		return errStopping
	}
	hs, err := upgrade.Check(&r.ctx.Request.Header)
	if err != nil {
		return err
	}
	r.backend = r.route.Pick()
	r.backend.Acquire()
	linked := false
	defer func() {
		if !linked {
			r.backend.Release()
		}
	}()
	req := s.head(r)
	req.Upgrade = true
	answer, err := s.cfg.Upgrader.Ask(r.conn, r.route, r.backend, &hs, &req, r.preface())
	if err != nil {
		return err
	}
	if answer.Status() != fasthttp.StatusSwitchingProtocols {
		status := answer.Status()
		how := r.answer()
		how.Close = true // frames sent early must not be read as a next request
		backend, br, release := answer.Take()
		keep, err := s.cfg.Forward.Relay(r.conn, backend, br, r.ctx.Method(), &how, release)
		if err != nil {
			return err
		}
		r.answered(keep)
		s.cfg.Log.Info("handshake refused by backend", "client", r.from(), "backend", r.backend.Addr,
			"route", r.route.Name, "status", status)
		return nil
	}
	owner := &link{server: s, client: r.client, port: r.clientPort(), backend: r.backend, route: r.route}
	if err = s.cfg.Upgrader.Link(r.conn, answer, r.edit(r.route.ResponseHeaders), s.policies[r.route], owner); err != nil {
		return err
	}
	linked = true // the link gives the slot back
	r.ctx.SetConnectionClose()
	return nil
}

// forward answers a request that is no upgrade.
func (s *Server) forward(r *request) error {
	if limit := s.cfg.Limits.BodySize; limit > 0 && r.length > limit {
		return inbound.ErrBodySize
	}
	if r.route.NoHTTP {
		return errNoHTTP
	}
	r.backend = r.route.Pick()
	to := forward.To{
		Backend:     r.backend,
		DialTimeout: r.route.DialTimeout,
		Preface:     r.preface(),
		Pool:        r.route.Pool,
		Head:        s.head(r),
		Answer:      r.answer(),
	}
	to.Close = r.ctx.Request.Header.ConnectionClose()
	keep, err := s.cfg.Forward.Forward(r.conn, &to)
	if err != nil {
		return err
	}
	r.answered(keep)
	return nil
}
