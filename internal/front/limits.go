package front

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"wsproxy/routing"
)

// Handshakes that are one too many. What a client has done is 429, what all have done together 503.
var (
	errClientLinks      = errors.New("too many WebSockets from this address")
	errClientRate       = errors.New("too many handshakes from this address")
	errRouteClientLinks = errors.New("too many WebSockets from this address here")
	errRouteClientRate  = errors.New("too many handshakes from this address here")
	errLinks            = errors.New("too many WebSockets; try again")
	errHandshakes       = errors.New("too many handshakes under way; try again")
	errRouteLinks       = errors.New("too many WebSockets here; try again")
	errRouteHandshakes  = errors.New("too many handshakes under way here; try again")
)

// limits bounds links and their making, as one setup has it. A handshake that has been found good takes a
// lease, before any backend is asked; the lease is given back in two steps, when the handshake is over and
// when the link is, or was never made.
type limits struct {
	taken  *taken
	all    scope
	routes map[*routing.Route]*scope

	// counts has those of routes by their names, and of routes that are gone and had links.
	counts map[string]*counts

	// last is the highest number of a descriptor that a client may have whose link is made. Zero means any.
	last int
}

// taken is what limits are held against, the same for all setups of a Server.
type taken struct {
	all     counts
	clients clients

	// lastID is that of the counts that were made last. Guarded by Server.updating.
	lastID uint32
}

// counts are what is taken of one route, or of all together, whose id is 0. A route has them whether or not
// it has limits, since the next setup may have some.
type counts struct {
	id                uint32 // fixed at creation
	links, handshakes gauge
}

// scope is what limits hold for: one route, or all together.
type scope struct {
	*counts

	// Fixed at creation.
	mostLinks, mostHandshakes int // not positive: any
	perClient                 int // links; zero means any
	rate                      rate.Limit
	burst                     int

	errLinks, errHandshakes, errClientLinks, errClientRate error
}

// lease is what one link holds. It is small, since there are as many as links.
type lease struct {
	route               *counts
	client, routeClient *client
}

// limits makes those of what is served, for a process that may have so many descriptors. old are those
// whose place they take, nil for none.
func (t *taken) limits(served *Served, descriptors int, old *limits) *limits {
	l := &limits{taken: t, routes: make(map[*routing.Route]*scope), counts: make(map[string]*counts)}
	t.clients.bound(served.Limits.Clients)
	l.all = newScope(&t.all, served.Limits.LinkLimits)
	l.all.errLinks, l.all.errHandshakes, l.all.errClientLinks, l.all.errClientRate = errLinks, errHandshakes, errClientLinks, errClientRate
	if descriptors > 0 {
		l.last = descriptors - 1 - reserve(descriptors)/2
		if served.Limits.Links == 0 {
			l.all.mostLinks = LinksFor(descriptors)
			l.all.errLinks = fmt.Errorf("%w: those of %d links are taken", routing.ErrDescriptors, l.all.mostLinks)
		}
	}
	for _, route := range served.Table.Routes() {
		var c *counts
		if old != nil {
			c = old.counts[route.Name]
		}
		if c == nil {
			t.lastID++
			c = &counts{id: t.lastID}
		}
		l.counts[route.Name] = c
		s := newScope(c, route.Limits)
		s.errLinks, s.errHandshakes, s.errClientLinks, s.errClientRate = errRouteLinks, errRouteHandshakes, errRouteClientLinks, errRouteClientRate
		l.routes[route] = &s
	}
	if old != nil {
		for name, c := range old.counts {
			if l.counts[name] == nil && c.links.n.Load() > 0 {
				l.counts[name] = c
			}
		}
	}
	return l
}

func newScope(counts *counts, c routing.LinkLimits) scope {
	return scope{
		counts: counts, mostLinks: c.Links, mostHandshakes: c.Handshakes, perClient: c.LinksPerClient,
		rate: rate.Limit(c.HandshakeRate), burst: cmp.Or(c.HandshakeBurst, c.HandshakeRate),
	}
}

// LinksFor is how many links a process may have that may have so many descriptors: two for each link, which
// leaves a tenth, 64 at least and 16384 at most, for listeners, plain requests and their backends, health
// checks, files, and clients that are to be told that there is no room.
func LinksFor(descriptors int) int { return max(1, (descriptors-reserve(descriptors))/2) }

func reserve(descriptors int) int { return min(max(descriptors/10, 64), 16<<10, descriptors/2) }

// take takes a lease for a handshake of r, whose route is known. Without an error, shaken and give have each
// to be called once.
func (l *limits) take(r *request, now time.Time) (held lease, err error) {
	clients, route := &l.taken.clients, l.routes[r.route]
	held.route = route.counts
	defer func() {
		if err != nil {
			clients.give(held.client)
			clients.give(held.routeClient)
		}
	}()
	// Whoever is over a limit of his own hears of that, whatever else there is.
	if held.client, err = clients.take(&l.all, r.client, now); err != nil {
		return held, err
	}
	if held.routeClient, err = clients.take(route, r.client, now); err != nil {
		return held, err
	}
	// Plain requests and what else there is have taken half of what is kept for them: before they take the
	// rest, and nobody can be accepted any more, no link is added.
	if number := r.conn.Descriptor(); l.last > 0 && number > l.last {
		return held, fmt.Errorf("%w: %d are taken", routing.ErrDescriptors, number)
	}
	if err = l.all.take(); err != nil {
		return held, err
	}
	if err = route.take(); err != nil {
		l.all.handshakes.give()
		l.all.links.give()
	}
	return held, err
}

// shaken says that the handshake is over, whether it has become a link or not.
func (t *taken) shaken(held lease) {
	t.all.handshakes.give()
	held.route.handshakes.give()
}

// give says that the link is over, or will never be.
func (t *taken) give(held lease) {
	t.all.links.give()
	held.route.links.give()
	t.clients.give(held.client)
	t.clients.give(held.routeClient)
}

func (s *scope) take() error {
	if !s.handshakes.take(s.mostHandshakes) {
		return s.errHandshakes
	}
	if !s.links.take(s.mostLinks) {
		s.handshakes.give()
		return s.errLinks
	}
	return nil
}

// gauge counts what is taken and not given back.
type gauge struct{ n atomic.Int64 }

// take counts one more unless there are most, if that is positive, and reports whether it has. It never counts one too
// many, not even for a moment in which somebody else would be refused for it.
func (g *gauge) take(most int) bool {
	for {
		n := g.n.Load()
		if most > 0 && n >= int64(most) {
			return false
		}
		if g.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gauge) give() { g.n.Add(-1) }

// LimitStats are what the limits are about.
type LimitStats struct {
	// Links are open or being opened, Handshakes under way.
	Links, Handshakes int64

	// MostLinks is how many links there may be. Zero means any number.
	MostLinks int64

	// Clients are those that are remembered, each once for all routes together and once for each route
	// with limits for clients.
	Clients int
}

// Limits returns them as they are now.
func (s *Server) Limits() LimitStats {
	all := &s.present.Load().limits.all
	return LimitStats{
		Links: all.links.n.Load(), Handshakes: all.handshakes.n.Load(), MostLinks: int64(all.mostLinks),
		Clients: s.taken.clients.count(time.Now()),
	}
}

// waitError is a refusal that is over after a while.
type waitError struct {
	error
	wait time.Duration
}

func (e *waitError) Unwrap() error { return e.error }

// retrySpread is within how many seconds those come back that are all sent away for the same reason.
const retrySpread = 5

// retryAfter is the value of Retry-After for an error that has a status, empty for none.
func retryAfter(status int, err error) string {
	if status != fasthttp.StatusServiceUnavailable && status != fasthttp.StatusTooManyRequests {
		return ""
	}
	if e, ok := errors.AsType[*waitError](err); ok {
		return strconv.Itoa(max(1, int((e.wait+time.Second-1)/time.Second)))
	}
	return strconv.Itoa(1 + rand.N(retrySpread))
}
