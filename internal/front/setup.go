package front

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync/atomic"

	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// setup is what a Server serves at a time. It does not change; a reload makes another.
type setup struct {
	Served
	policies map[*routing.Route]*splice.Policy
	limits   *limits
	budgets  map[*routing.Route]*budget

	// openings are the handshakes that have begun under it and are not links yet, or nothing.
	openings openings
}

// newSetup makes the one that comes after old, nil for none.
func (s *Server) newSetup(served Served, old *setup) *setup {
	defaults := routing.Config{Limits: served.Limits, Timeouts: served.Timeouts}
	defaults.FillDefaults()
	served.Limits, served.Timeouts = defaults.Limits, defaults.Timeouts
	set := &setup{Served: served, policies: make(map[*routing.Route]*splice.Policy), budgets: newBudgets(served.Table, old)}
	set.openings.init()
	for _, route := range served.Table.Routes() {
		set.policies[route] = upgrade.PolicyOf(route)
	}
	if old == nil {
		set.limits = s.taken.limits(&set.Served, s.cfg.Descriptors, nil)
		return set
	}
	set.limits = s.taken.limits(&set.Served, s.cfg.Descriptors, old.limits)
	set.Access = maps.Clone(old.Access) // those of listeners that are gone have connections, perhaps
	if set.Access == nil {
		set.Access = make(map[string]routing.Access)
	}
	maps.Copy(set.Access, served.Access)
	return set
}

// Admits reports whether a listener serves a client, by what is served at present. It is for
// tlsterm.Config.
func (s *Server) Admits(listener string, client netip.Addr) bool {
	access := s.present.Load().Access[listener]
	return access.Everybody() || access.Admits(client)
}

// openings counts handshakes under a setup.
//
//	present → superseded → settled    superseded: end has been called once more than begin; settled: by all
type openings struct {
	n       atomic.Int64 // and one for being present
	settled chan struct{}
}

func (o *openings) init() {
	o.n.Store(1)
	o.settled = make(chan struct{})
}

// begin reports whether a handshake may begin. It owes an end.
func (o *openings) begin() bool {
	for {
		n := o.n.Load()
		if n == 0 {
			return false
		}
		if o.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (o *openings) end() {
	if o.n.Add(-1) == 0 {
		close(o.settled)
	}
}

// opening gives the setup for a handshake, which has begun there and owes its openings an end.
func (s *Server) opening() *setup {
	for {
		if set := s.present.Load(); set.openings.begin() {
			return set
		}
		// It has been replaced meanwhile.
	}
}

// inbound is what a setup means for connections.
func (s *Server) inbound(set *setup) inbound.Config {
	return inbound.Config{
		Head: head.Limits{
			Size: int(set.Limits.HeaderSize), Target: int(min(set.Limits.URISize, set.Limits.HeaderSize)),
			Fields: set.Limits.HeaderFields, Underscores: set.Limits.Underscores,
		},
		HeaderTimeout: set.Timeouts.RequestHeader,
		KeepAlive:     set.Timeouts.KeepAlive,
		BodyTimeout:   set.Timeouts.RequestBody,
		SendTimeout:   set.Timeouts.Send,
		MinRate:       set.Limits.MinRate,
		Serve:         func(c net.Conn) { _ = s.http.ServeConn(c) },
	}
}

// Update has the Server serve something else from now on: requests that have come already end as they
// began. What is counted against limits and what is left for retries go on, for each route under its name.
// HeaderSize stays what it was at the start if it has become larger. The result waits until no handshake is
// under way any more that began before, or until ctx is done: then every link there is has its backend and
// its route from this update, or is known to the engine.
func (s *Server) Update(served Served) (settled func(ctx context.Context) error) {
	s.updating.Lock()
	defer s.updating.Unlock()
	old := s.present.Load()
	set := s.newSetup(served, old)
	s.present.Store(set)
	s.port.Configure(s.inbound(set))
	old.openings.end()
	return func(ctx context.Context) error {
		select {
		case <-old.openings.settled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
