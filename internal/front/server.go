// Package front is the shared port: every request of every listener arrives here, passes the gate,
// finds its route and is then forwarded, or upgraded to a link.
package front

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/forward"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// Config is a Server's.
type Config struct {
	Served

	Upgrader *upgrade.Upgrader
	Forward  *forward.Transport

	// Descriptors is how many descriptors the process may have. Zero means that it is not known, or any.
	Descriptors int

	// Challenge answers the path of an ACME server's HTTP-01 challenge for a host on plain listeners. It
	// reports false for what is not its own. Nil means that there are none.
	Challenge func(host, path string) (body []byte, ok bool)

	// Busy is called with each request. Nil means that nobody wants to know.
	Busy func()

	// Log gets one line for each link and each refused request. Nil means slog's default.
	Log *slog.Logger
}

// Served is the part of a Config that can be changed while the Server serves.
type Served struct {
	Table *routing.Table

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

	// Access says for listeners, by a name, which clients they serve. One that is not there serves those
	// that it has served before, and all if it has never been.
	Access map[string]routing.Access
}

// Server serves all listeners.
type Server struct {
	cfg      Config // but for Served, of which present has what counts
	present  atomic.Pointer[setup]
	taken    taken
	http     fasthttp.Server
	port     *inbound.Port
	refused  map[string]*atomic.Int64 // by reason
	stopping atomic.Bool

	// life ends with Shutdown, which calls end, errStopping being the cause.
	life context.Context
	end  context.CancelCauseFunc

	shortages shortages

	updating sync.Mutex // held while present is replaced
}

// New makes a Server; Shutdown ends it.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg, refused: newCounts()}
	s.life, s.end = context.WithCancelCause(context.Background())
	set := s.newSetup(cfg.Served, nil)
	s.present.Store(set)
	s.port = inbound.NewPort(s.inbound(set))
	// Time and size are inbound's to look after.
	s.http = fasthttp.Server{
		Handler:        s.handle,
		ErrorHandler:   s.unreadable,
		HeaderReceived: takeBody,

		// One byte more than a head may have, which inbound refuses first.
		ReadBufferSize: int(set.Limits.HeaderSize) + 1,

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
	s.end(errStopping)
	s.port.Stop()
	if err := s.http.ShutdownWithContext(ctx); err != nil {
		return err
	}
	return s.cfg.Forward.Wait(ctx)
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
	upgrading := upgrade.Wanted(&ctx.Request.Header)
	set := s.present.Load()
	if upgrading {
		set = s.opening()
		defer set.openings.end()
	}
	r := &request{setup: set, ctx: ctx, conn: conn, client: conn.Client().Addr()}
	var err error
	if r.gated, err = gate(&ctx.Request.Header); err != nil {
		s.refuse(r, err)
		return
	}
	s.identify(r)
	conn.Begin(r.length, r.Limits.BodySize)
	if s.challenged(r) {
		return
	}
	if err = r.onListener(); err != nil {
		s.refuse(r, err)
		return
	}
	if s.redirected(r) {
		return
	}
	if r.route = r.Table.Match(r.host, r.path); r.route == nil {
		s.refuse(r, errNoRoute)
		return
	}
	switch err = r.onRoute(); {
	case err != nil:
	case upgrading:
		err = s.upgrade(r)
	default:
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
	if err := r.fromPage(); err != nil {
		return err
	}
	held, err := r.limits.take(r, time.Now())
	if err != nil {
		return err
	}
	linked := false
	defer func() {
		s.taken.shaken(held)
		if !linked {
			s.taken.give(held)
		}
	}()
	answer, err := s.open(r, &hs)
	if err != nil {
		return err
	}
	defer func() {
		if !linked {
			r.backend.Release()
		}
	}()
	if answer.Status() != fasthttp.StatusSwitchingProtocols {
		return s.relay(r, answer)
	}
	opened := time.Now()
	owner := &link{server: s, client: r.client, port: r.clientPort(), backend: r.backend, route: r.route, lease: held, opened: opened}
	edit := r.answerEdit()
	r.judge.Opened(opened)
	linked = true // the link gives both back, even if this panics
	if err = s.cfg.Upgrader.Link(r.conn, answer, edit, r.policies[r.route], owner); err != nil {
		linked = false
		r.judge.Ended(opened, time.Now(), false)
		return err
	}
	r.ctx.SetConnectionClose()
	return nil
}

// relay relays a backend's refusal of a handshake.
func (s *Server) relay(r *request, answer *upgrade.Answer) error {
	status := answer.Status()
	how := r.answer()
	how.Close = true // frames sent early must not be read as a next request
	how.Begins = r.succeeded
	backend, br, release := answer.Take()
	keep, err := s.cfg.Forward.Relay(r.conn, backend, br, r.ctx.Method(), &how, release)
	if err != nil {
		r.failed(err)
		return err
	}
	r.answered(keep)
	s.cfg.Log.Info("handshake refused by backend", "client", r.from(), "backend", r.backend.Addr,
		"route", r.route.Name, "status", status)
	return nil
}

// forward answers a request that is no upgrade.
func (s *Server) forward(r *request) error {
	if limit := r.Limits.BodySize; limit > 0 && r.length > limit {
		return inbound.ErrBodySize
	}
	if r.route.NoHTTP {
		return errNoHTTP
	}
	keep, err := s.bring(r)
	if err != nil {
		return err
	}
	r.answered(keep)
	return nil
}
