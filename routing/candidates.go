package routing

import (
	"sync"
	"sync/atomic"
)

// member is a backend as a route has it.
type member struct {
	backend  *Backend
	weight   int  // 1 or more
	backup   bool // only for when no other can be used
	drain    bool // gets nothing new from this route
	maxLinks int  // how many slots may be taken, by whatever route, for this one to take another; zero is no limit
}

// candidates are the members of a route, published whole: what is not atomic or guarded never changes.
type candidates struct {
	all    []*Backend // in the order they were given
	groups [2]group   // primaries, backups

	// byID are those that a cookie can name, by the identity within it; nil without Sticky.
	byID map[stickyID]*candidate
}

const (
	primaries = iota
	backups
)

// group is what is balanced among.
type group struct {
	// Fixed at creation.
	members []candidate
	equal   bool // all have the same weight

	// turn is the place of the one whose turn it is, in nextInTurn and leastConnections.
	turn atomic.Uint32

	// mu guards current of the members.
	mu sync.Mutex
}

// candidate is a member with what is worked out for it in advance.
type candidate struct {
	member
	seed   uint64 // for rendezvous
	cookie stickyMAC

	// current is how far it is ahead in smooth, guarded by the group's mu.
	current int64
}

// Backends are all backends of the route, those included that cannot be used at present, in the order
// of the config. The slice is the route's own.
func (r *Route) Backends() []*Backend {
	return r.candidates.Load().all
}

// setBackends replaces all backends of the route, while it is in use or before. Each stands there once.
// A backend that stays keeps its place in the round robin. One call at a time.
func (r *Route) setBackends(members []member) {
	r.candidates.Store(newCandidates(members, r.Sticky, r.candidates.Load()))
	r.queue.changed()
}

// newCandidates follows on from previous, unless that is nil.
func newCandidates(members []member, sticky *Sticky, previous *candidates) *candidates {
	c := new(candidates)
	for _, m := range members {
		c.all = append(c.all, m.backend)
		g := &c.groups[primaries]
		if m.backup {
			g = &c.groups[backups]
		}
		g.members = append(g.members, candidate{member: m, seed: hashText(m.backend.identity)})
	}
	for i := range c.groups {
		g := &c.groups[i]
		g.equal = true
		for j := range g.members {
			g.equal = g.equal && g.members[j].weight == g.members[0].weight
		}
		if previous != nil {
			g.follow(&previous.groups[i])
		}
	}
	if sticky != nil {
		c.byID = make(map[stickyID]*candidate)
		for i := range c.groups {
			for j := range c.groups[i].members {
				m := &c.groups[i].members[j]
				id, mac := sticky.sign(m.backend)
				m.cookie, c.byID[id] = mac, m
			}
		}
	}
	return c
}

// follow goes on where previous is.
func (g *group) follow(previous *group) {
	g.turn.Store(previous.turn.Load())
	var total int64
	for i := range g.members {
		total += int64(g.members[i].weight) * fullWeight
	}
	previous.mu.Lock()
	defer previous.mu.Unlock()
	current := make(map[*Backend]int64)
	for i := range previous.members {
		current[previous.members[i].backend] = previous.members[i].current
	}
	for i := range g.members {
		m := &g.members[i]
		// Where weights were larger, so is the distance: a light one would have to wait for long.
		m.current = min(max(current[m.backend], -total), total)
	}
}

// watch has every backend poke q.
func (c *candidates) watch(q *queue) {
	for _, b := range c.all {
		b.watch(q)
	}
}

func (c *candidates) unwatch(q *queue) {
	for _, b := range c.all {
		b.unwatch(q)
	}
}
