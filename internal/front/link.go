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
	lease   lease
	opened  time.Time
}

// Linked is the Owner of every link that a Server makes.
type Linked interface {
	splice.Owner

	Route() *routing.Route
	Backend() *routing.Backend
}

// Route is the link's.
func (l *link) Route() *routing.Route { return l.route }

// Backend is the link's.
func (l *link) Backend() *routing.Backend { return l.backend }

// Ended gives the slot and the lease back and writes the one line of a link.
func (l *link) Ended(r splice.Result) {
	died := (r.Cause == splice.BackendGone || r.Cause == splice.BackendReset) && r.BackendCode == 0
	l.backend.Judge().Ended(l.opened, time.Now(), died) // before anybody gets the slot
	l.backend.Release()
	l.server.taken.give(l.lease)
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
