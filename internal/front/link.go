package front

import (
	"net/netip"
	"time"

	"wsproxy/internal/splice"
	"wsproxy/routing"
)

// link is what the front knows of a link while it lasts; there are as many as there are links.
type link struct {
	server  *Server
	client  netip.Addr
	port    uint16 // the client's, 0 where only its address is known
	backend *routing.Backend
	route   *routing.Route
}

// Ended gives the slot back and writes the one line of a link.
func (l *link) Ended(r splice.Result) {
	l.backend.Release()
	attrs := []any{
		"client", clientText(l.client, l.port), "backend", l.backend.Addr, "route", l.route.Name, "cause", r.Cause.String(),
		"client_code", r.ClientCode, "backend_code", r.BackendCode,
		"bytes_in", r.ToBackend.Bytes, "bytes_out", r.ToClient.Bytes,
		"messages_in", r.ToBackend.Messages, "messages_out", r.ToClient.Messages,
		"dur", r.Duration.Round(time.Millisecond),
	}
	if r.Err != nil {
		attrs = append(attrs, "err", r.Err)
	}
	l.server.cfg.Log.Info("link", attrs...)
}
