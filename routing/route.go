package routing

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Route is where a matched request goes.
type Route struct {
	// Fixed at creation.

	// Name is host and path as matched, * for any host, for logs and metrics: "chat.example.com/ws/*", "*/*".
	Name string

	// Those of RouteConfig.
	HostHeader                      HostHeader
	ProxyProtocol                   int
	NoHTTP                          bool
	RequestHeaders, ResponseHeaders HeaderRules
	Balance                         Balance
	HashKey                         HashKey
	SlowStart                       time.Duration
	Queue                           Queue

	// The timeouts of RouteConfig, more than zero; ReadTimeout is negative where there is none.
	DialTimeout, HandshakeTimeout, ResponseTimeout, ReadTimeout time.Duration

	// Pool is that of RouteConfig, its MaxIdle negative where no connection is kept.
	Pool Pool

	// WebSocket, Health, Passive, Limits, Access and Origins are those of RouteConfig.
	WebSocket WebSocket
	Health    HealthCheck
	Passive   PassiveCheck
	Limits    LinkLimits
	Access    Access
	Origins   Origins

	// Sticky is nil for a route without.
	Sticky *Sticky

	// Retries, OnDown and Rebalance are those of RouteConfig, Retries negative for none.
	Retries   int
	OnDown    OnDown
	Rebalance Rebalance

	// Line is where the file has the route, zero for one built in Go.
	Line int

	// rewriting is for Rewrite.
	rewriting rewriting

	// sources is for Sources: the SourceAddresses of RouteConfig, twice.
	sources []netip.Addr

	// specs are its backends as the config has them.
	specs []spec

	// random gives 64 random bits, from any goroutine.
	random func() uint64

	// queue is shared with the routes of the same name in other tables.
	queue *queue

	// Read and changed from anywhere. Changed by setBackends only.
	candidates atomic.Pointer[candidates]

	// Changed by Sources.
	sourceTurns atomic.Uint64
}

// newRoute makes a route of rc, which is checked and has its defaults. previous, unless nil, is the one
// whose place it takes.
func newRoute(name, path string, rc *RouteConfig, members []member, previous *Route) *Route {
	r := &Route{
		Name:             name,
		HostHeader:       rc.HostHeader,
		ProxyProtocol:    rc.ProxyProtocol,
		NoHTTP:           rc.NoHTTP,
		RequestHeaders:   rc.RequestHeaders,
		ResponseHeaders:  rc.ResponseHeaders,
		Balance:          rc.Balance,
		HashKey:          rc.HashKey,
		SlowStart:        rc.SlowStart,
		Queue:            rc.Queue,
		DialTimeout:      rc.DialTimeout,
		HandshakeTimeout: rc.HandshakeTimeout,
		ResponseTimeout:  rc.ResponseTimeout,
		ReadTimeout:      rc.ReadTimeout,
		Pool:             rc.Pool,
		WebSocket:        rc.WebSocket,
		Health:           rc.Health,
		Passive:          rc.Passive,
		Limits:           rc.Limits,
		Access:           rc.Access,
		Origins:          rc.Origins,
		Retries:          rc.Retries,
		OnDown:           rc.OnDown,
		Rebalance:        rc.Rebalance,
		Line:             rc.Line,
		rewriting:        rc.Prefix.rewriting(path),
		sources:          slices.Repeat(rc.SourceAddresses, 2),
		random:           rand.Uint64,
	}
	var sticky *Sticky
	var before *candidates
	if previous != nil {
		r.queue, sticky, before = previous.queue, previous.Sticky, previous.candidates.Load()
	} else {
		r.queue = newQueue()
	}
	if rc.Sticky != nil {
		r.Sticky = newSticky(r, *rc.Sticky, sticky)
	}
	r.candidates.Store(newCandidates(members, r.Sticky, before))
	return r
}

// Keeps reports whether the links that a backend has of the route may stay: it is one of the route's, and
// neither the file nor anybody else has it drained. Links from before a name had its first answer may stay,
// too: they lead to one of its servers.
func (r *Route) Keeps(b *Backend) bool {
	if b.Draining() {
		return false
	}
	c := r.candidates.Load()
	for i := range c.groups {
		for j := range c.groups[i].members {
			if m := &c.groups[i].members[j]; m.backend == b {
				return !m.drain
			}
		}
	}
	for i := range r.specs {
		if s := &r.specs[i]; s.dials(b) {
			return !s.drain
		}
	}
	return false
}

// Weight is that of a backend on the route, 0 for one that is not the route's, is drained or a backup.
func (r *Route) Weight(b *Backend) int {
	members := r.candidates.Load().groups[primaries].members
	for i := range members {
		if m := &members[i]; m.backend == b && !m.drain {
			return m.weight
		}
	}
	return 0
}
