package front

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/forward"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// What front itself refuses, besides what the gate does.
var (
	errNoRoute  = errors.New("no route for this host and path")
	errNoHTTP   = errors.New("only WebSockets are served here")
	errStopping = errors.New("shutting down; try again")
	errGone     = errors.New("client gone")
)

// refusals makes a status and a reason of an error; it is the only place that does. The first that fits
// counts.
var refusals = []refusal{
	// The backend. What is wrong with its answer may be what is wrong with heads of requests.
	{routing.ErrTimeout, "backend_timeout", fasthttp.StatusGatewayTimeout, 0},
	{routing.ErrDial, "backend_dial", fasthttp.StatusBadGateway, 0},
	{routing.ErrTLS, "backend_tls", fasthttp.StatusBadGateway, 0},
	{routing.ErrAnswer, "backend_answer", fasthttp.StatusBadGateway, 0},
	{routing.ErrNoBackend, "no_backend", fasthttp.StatusServiceUnavailable, tell},
	{routing.ErrFull, "backends_full", fasthttp.StatusServiceUnavailable, tell},
	{routing.ErrQueueTimeout, "queue_timeout", fasthttp.StatusServiceUnavailable, tell},
	// What wsproxy lacks itself.
	{routing.ErrPorts, "ports", fasthttp.StatusServiceUnavailable, 0},
	{routing.ErrDescriptors, "descriptors", fasthttp.StatusServiceUnavailable, 0},

	// The head, as it arrives.
	{head.ErrBareLineEnd, "bare_line_end", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrFolded, "folded_field", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrName, "field_name", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrUnderscore, "field_underscore", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrValue, "field_value", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrRequestLine, "request_line", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrMethodToken, "method_token", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrVersion, "version", fasthttp.StatusBadRequest, tell | hangUp},
	{head.ErrHeadSize, "header_size", fasthttp.StatusRequestHeaderFieldsTooLarge, tell | hangUp},
	{head.ErrFieldCount, "header_fields", fasthttp.StatusRequestHeaderFieldsTooLarge, tell | hangUp},
	{head.ErrTargetSize, "uri_size", fasthttp.StatusRequestURITooLong, tell | hangUp},
	{inbound.ErrSlow, "slow", fasthttp.StatusRequestTimeout, tell | hangUp},

	// The gate.
	{errMethod, "method", fasthttp.StatusMethodNotAllowed, tell | hangUp},
	{errHostCount, "host_count", fasthttp.StatusBadRequest, tell | hangUp},
	{errHost, "host", fasthttp.StatusBadRequest, tell | hangUp},
	{errHostTarget, "host_target", fasthttp.StatusBadRequest, tell | hangUp},
	{errTarget, "target", fasthttp.StatusBadRequest, tell | hangUp},
	{errFragment, "fragment", fasthttp.StatusBadRequest, tell | hangUp},
	{errEscape, "escape", fasthttp.StatusBadRequest, tell | hangUp},
	{errLength, "length", fasthttp.StatusBadRequest, tell | hangUp},
	{errLengths, "length_twice", fasthttp.StatusBadRequest, tell | hangUp},
	{errCoding, "transfer_encoding", fasthttp.StatusBadRequest, tell | hangUp},
	{errCodings, "transfer_encoding_twice", fasthttp.StatusBadRequest, tell | hangUp},
	{errTwoEnds, "transfer_encoding_and_length", fasthttp.StatusBadRequest, tell | hangUp},
	{errCodingHTTP, "transfer_encoding_http10", fasthttp.StatusBadRequest, tell | hangUp},
	{errOptions, "connection_size", fasthttp.StatusBadRequest, tell | hangUp},
	{errOption, "connection_name", fasthttp.StatusBadRequest, tell | hangUp},
	{errMalformed, "malformed", fasthttp.StatusBadRequest, tell | hangUp},

	// The request.
	{inbound.ErrBodySize, "body_size", fasthttp.StatusRequestEntityTooLarge, tell | hangUp},
	{body.ErrMalformed, "body", fasthttp.StatusBadRequest, tell | hangUp},
	{errNoRoute, "no_route", fasthttp.StatusNotFound, tell},
	{errNoHTTP, "no_http", fasthttp.StatusUpgradeRequired, tell},
	{errRedirects, "redirects", fasthttp.StatusForbidden, tell | hangUp},
	{errNoHost, "no_host", fasthttp.StatusBadRequest, tell | hangUp},
	{errAddress, "address", fasthttp.StatusForbidden, tell | hangUp},
	{errRouteAddress, "route_address", fasthttp.StatusForbidden, tell | hangUp},
	{errOrigin, "origin", fasthttp.StatusForbidden, tell},
	{errNoOrigin, "no_origin", fasthttp.StatusForbidden, tell},
	{errClientLinks, "client_links", fasthttp.StatusTooManyRequests, tell},
	{errClientRate, "client_rate", fasthttp.StatusTooManyRequests, tell},
	{errRouteClientLinks, "route_client_links", fasthttp.StatusTooManyRequests, tell},
	{errRouteClientRate, "route_client_rate", fasthttp.StatusTooManyRequests, tell},
	{errLinks, "links", fasthttp.StatusServiceUnavailable, tell},
	{errHandshakes, "handshakes", fasthttp.StatusServiceUnavailable, tell},
	{errRouteLinks, "route_links", fasthttp.StatusServiceUnavailable, tell},
	{errRouteHandshakes, "route_handshakes", fasthttp.StatusServiceUnavailable, tell},
	{errStopping, "stopping", fasthttp.StatusServiceUnavailable, tell | hangUp},
	{upgrade.ErrMethod, "handshake_method", fasthttp.StatusMethodNotAllowed, tell},
	{upgrade.ErrVersion, "handshake_version", fasthttp.StatusUpgradeRequired, tell},
	{upgrade.ErrHandshake, "handshake", fasthttp.StatusBadRequest, tell | hangUp},

	// The client's own doing, which is no refusal.
	{forward.ErrClient, reasonGone, fasthttp.StatusBadRequest, hangUp},
	{upgrade.ErrClientGone, reasonGone, fasthttp.StatusBadRequest, hangUp},
	{errGone, reasonGone, fasthttp.StatusBadRequest, hangUp},
}

const (
	reasonGone     = "client_gone"
	reasonInternal = "internal"
)

type refusal struct {
	err    error
	reason string // counted under this name, in all releases
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

// reasonOf finds the refusal of an error, nil if there is none.
func reasonOf(err error) *refusal {
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return &refusals[i]
		}
	}
	return nil
}

func newCounts() map[string]*atomic.Int64 {
	counts := map[string]*atomic.Int64{reasonInternal: new(atomic.Int64)}
	for _, r := range refusals {
		counts[r.reason] = new(atomic.Int64)
	}
	return counts
}

// Refused is how many requests have been refused so far, by reason. A client that left before its answer
// counts as client_gone.
func (s *Server) Refused() map[string]int64 {
	counts := make(map[string]int64, len(s.refused))
	for reason, n := range s.refused {
		counts[reason] = n.Load()
	}
	return counts
}

// refuse answers a request with a status and one line of text, counts it and logs it.
func (s *Server) refuse(r *request, err error) {
	ctx := r.ctx
	ctx.Response.Reset()
	ctx.Response.Header.DisableNormalizing()
	why := reasonOf(err)
	if why == nil {
		why = &refusal{err, reasonInternal, fasthttp.StatusInternalServerError, hangUp}
	}
	s.refused[why.reason].Add(1)
	if why.reason == reasonGone {
		// A client that leaves is no fault. One that has only ended its sending half may still read.
		s.cfg.Log.Debug("client gone", "client", r.from(), "err", err)
		ctx.SetStatusCode(why.status)
		ctx.SetConnectionClose()
		return
	}
	text := fasthttp.StatusMessage(why.status)
	switch {
	case why.err == upgrade.ErrHandshake:
		text += ": " + err.Error() // which goes on to say what is wrong with it
	case why.how&tell != 0:
		text += ": " + why.err.Error()
	}

	ctx.SetStatusCode(why.status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
	switch why.err {
	case upgrade.ErrVersion:
		ctx.Response.Header.Set("Sec-WebSocket-Version", "13") // RFC 6455 §4.4
		fallthrough
	case errNoHTTP:
		ctx.Response.Header.Set("Upgrade", "websocket") // RFC 9110 §15.5.22
		ctx.Response.Header.Set("Connection", "Upgrade")
	case upgrade.ErrMethod:
		ctx.Response.Header.Set("Allow", "GET")
	case errMethod:
		ctx.Response.Header.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if after := retryAfter(why.status, err); after != "" {
		ctx.Response.Header.Set("Retry-After", after)
	}
	if why.how&hangUp != 0 || !r.conn.Body().Whole() || upgrade.Wanted(&ctx.Request.Header) {
		r.hangUp()
	}

	level := slog.LevelInfo
	if why.status >= 500 {
		level = slog.LevelWarn
	}
	attrs := []any{"client", r.from(), "status", why.status, "reason", why.reason, "err", err}
	if r.route != nil {
		attrs = append(attrs, "route", r.route.Name)
	}
	s.cfg.Log.Log(ctx, level, "refused", attrs...)
	s.reportShortage(why.err, r, err)
}

// hangUp closes the connection behind the answer, in a way that lets the client read it.
func (r *request) hangUp() {
	r.ctx.SetConnectionClose()
	r.conn.Linger()
}
