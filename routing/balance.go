package routing

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Balance is how a route picks among its backends.
type Balance uint8

const (
	// RoundRobin takes turns, the heavier ones more often, spread evenly.
	RoundRobin Balance = iota

	// LeastConnections takes the one with the fewest open links for its weight.
	LeastConnections

	// RandomTwo draws two and takes the one with fewer open links for its weight. Unlike
	// LeastConnections it does not have several proxies flock to the same one.
	RandomTwo

	// Hash takes the same one for the same HashKey.
	Hash
)

// String is the word for it in the file.
func (b Balance) String() string {
	if int(b) < len(balances) {
		return balances[b].word
	}
	return strconv.Itoa(int(b))
}

// Ask is what Pick wants to know of a request. What the functions give need only be valid during the
// call; Acquire calls them for as long as it waits, one at a time, maybe on another goroutine.
type Ask struct {
	// Client is who asks, as far as it can be believed.
	Client netip.Addr

	// Header gives the first value of a header field, Cookie that of a cookie; nil when there is none.
	// A nil function is a request without any.
	Header, Cookie func(name string) []byte

	// Path and Query are raw, as the client sent them.
	Path, Query []byte

	// Tried are backends that have failed the request already.
	Tried []*Backend
}

// Pick gives the backend for a request that takes no slot, or nil when no backend can have it: they
// are unhealthy, draining or Tried. A backend whose slots are taken can; Acquire is for links. It may
// be called from any goroutine and allocates nothing.
func (r *Route) Pick(ask *Ask) *Backend {
	if m := r.pick(ask, false); m != nil {
		return m.backend
	}
	return nil
}

// pick is Pick; with slots it leaves out the backends whose slots are all taken.
func (r *Route) pick(ask *Ask, slots bool) *candidate {
	if r.SlowStart <= 0 {
		return r.pickAt(ask, slots, 0)
	}
	return r.pickAt(ask, slots, sinceEpoch(time.Now()))
}

// pickAt is pick at a time, which means something with a slow start only.
func (r *Route) pickAt(ask *Ask, slots bool, now int64) *candidate {
	c := r.candidates.Load()
	v := view{ask: ask, slots: slots, choosy: slots || len(ask.Tried) > 0, slowStart: r.SlowStart, now: now}
	stuck := r.Sticky.candidate(c, ask)
	for i := range c.groups {
		g := &c.groups[i]
		// A cookie that names a backup counts only where one is wanted.
		if stuck != nil && stuck.backup == (i == backups) && v.usable(stuck) {
			return stuck
		}
		if m := r.choose(g, &v); m != nil {
			return m
		}
	}
	return nil
}

func (r *Route) choose(g *group, v *view) *candidate {
	switch {
	case len(g.members) == 0:
		return nil
	case r.Balance == LeastConnections:
		return g.leastConnections(v)
	case r.Balance == RandomTwo:
		return g.randomTwo(v, r.random)
	case r.Balance == Hash:
		return g.rendezvous(v, r.HashKey.of(v.ask))
	case g.equal && v.slowStart <= 0:
		return g.nextInTurn(v)
	}
	return g.smooth(v)
}

// usableAtAll reports whether there would be a backend if none were full.
func (r *Route) usableAtAll(ask *Ask) bool {
	c := r.candidates.Load()
	v := view{ask: ask, choosy: true}
	for i := range c.groups {
		for j := range c.groups[i].members {
			if v.usable(&c.groups[i].members[j]) {
				return true
			}
		}
	}
	return false
}

// view is the candidates as one request sees them.
type view struct {
	ask       *Ask
	slots     bool // those without a free slot are of no use
	choosy    bool // slots, or something was tried
	slowStart time.Duration
	now       int64 // see sinceEpoch
}

func (v *view) usable(m *candidate) bool {
	return !m.drain && m.backend.takes() && (!v.choosy || v.chosen(m))
}

func (v *view) chosen(m *candidate) bool {
	return (!v.slots || m.maxLinks <= 0 || m.backend.Links() < int64(m.maxLinks)) && !slices.Contains(v.ask.Tried, m.backend)
}

// weight is that of m by now, in thousandths.
func (v *view) weight(m *candidate) int64 {
	if v.slowStart <= 0 {
		return int64(m.weight) * fullWeight
	}
	return int64(m.weight) * m.backend.warmth(v.now, v.slowStart)
}
