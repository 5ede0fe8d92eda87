package front

import (
	"errors"
	"log/slog"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/forward"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// What front itself refuses, besides what the gate does.
var (
	errNoRoute    = errors.New("no route for this host and path")
	errHeaderSize = errors.New("request header too large")
	errTooSlow    = errors.New("request too slow")
	errBodySize   = errors.New("request body too large")
	errStopping   = errors.New("shutting down; try again")
	errGone       = errors.New("client gone")
)

// refusals makes a status of an error; it is the only place that does. The first that fits counts.
var refusals = []refusal{
	{errMalformed, fasthttp.StatusBadRequest, tell | hangUp},
	{errMethod, fasthttp.StatusMethodNotAllowed, tell | hangUp},
	{errNoRoute, fasthttp.StatusNotFound, tell},
	{errHeaderSize, fasthttp.StatusRequestHeaderFieldsTooLarge, tell | hangUp},
	{errTooSlow, fasthttp.StatusRequestTimeout, tell | hangUp},
	{errBodySize, fasthttp.StatusRequestEntityTooLarge, tell | hangUp},
	{errRedirects, fasthttp.StatusForbidden, tell | hangUp},
	{errStopping, fasthttp.StatusServiceUnavailable, tell | hangUp},
	{upgrade.ErrMethod, fasthttp.StatusMethodNotAllowed, tell},
	{upgrade.ErrVersion, fasthttp.StatusUpgradeRequired, tell},
	{upgrade.ErrHandshake, fasthttp.StatusBadRequest, tell | hangUp},
	{routing.ErrTimeout, fasthttp.StatusGatewayTimeout, 0},
	{routing.ErrDial, fasthttp.StatusBadGateway, 0},
	{routing.ErrTLS, fasthttp.StatusBadGateway, 0},
	{routing.ErrAnswer, fasthttp.StatusBadGateway, 0},
}

type refusal struct {
	err    error
	status int
	how    how
}

type how uint8

const (
	// tell gives the client the error's text, which then names nothing behind wsproxy.
	tell how = 1 << iota
	// hangUp closes the connection: what stands behind a request that cannot be trusted cannot be
	// either. So does every refusal of a request with a body, which is not worth waiting for, and of a
	// handshake, behind which may be frames.
	hangUp
)

// refuse answers a request with a status and one line of text, and logs it.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, route *routing.Route, err error) {
	gone := errors.Is(err, errGone) || errors.Is(err, upgrade.ErrClientGone) || errors.Is(err, forward.ErrClient)
	if gone && !errors.Is(err, errBodySize) {
		// A client that leaves is no fault. One that has only ended its sending half may still read.
		s.cfg.Log.Debug("client gone", "client", ctx.RemoteAddr().String(), "err", err)
		ctx.Response.Reset()
		ctx.SetStatusCode(fasthttp.StatusBadRequest)
		ctx.SetConnectionClose()
		return
	}
	r := refusal{err, fasthttp.StatusInternalServerError, hangUp}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			r = known
			break
		}
	}
	text := fasthttp.StatusMessage(r.status)
	if r.how&tell != 0 {
		text += ": " + err.Error()
	}

	ctx.Response.Reset()
	ctx.Response.Header.DisableNormalizing()
	ctx.SetStatusCode(r.status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
	switch r.err {
	case upgrade.ErrVersion:
		ctx.Response.Header.Set("Sec-WebSocket-Version", "13") // RFC 6455 §4.4
		ctx.Response.Header.Set("Upgrade", "websocket")        // RFC 9110 §15.5.22
		ctx.Response.Header.Set("Connection", "Upgrade")
	case upgrade.ErrMethod:
		ctx.Response.Header.Set("Allow", "GET")
	case errMethod:
		ctx.Response.Header.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if h := &ctx.Request.Header; r.how&hangUp != 0 || hasBody(h) || upgrade.Wanted(h) {
		hangUpOn(ctx)
	}

	level := slog.LevelInfo
	if r.status >= 500 {
		level = slog.LevelWarn
	}
	attrs := []any{"client", ctx.RemoteAddr().String(), "status", r.status, "err", err}
	if route != nil {
		attrs = append(attrs, "route", route.Name)
	}
	s.cfg.Log.Log(ctx, level, "refused", attrs...)
}

func hasBody(h *fasthttp.RequestHeader) bool { return h.ContentLength() > 0 || h.ContentLength() == -1 }

// hangUpOn closes the connection behind the answer, in a way that lets the client read it.
func hangUpOn(ctx *fasthttp.RequestCtx) {
	ctx.SetConnectionClose()
	if conn, ok := ctx.Conn().(interface{ Linger() }); ok {
		conn.Linger()
	}
}
