package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/discover"
	"wsproxy/internal/health"
	"wsproxy/routing"
)

// firstAnswers is how long a start, or a reload, waits for the names of backends to be looked up.
const firstAnswers = 5 * time.Second

// keeper looks after the backends of the table in use: it has their names followed, has those probed that are
// to be, and judges what becomes of requests.
type keeper struct {
	// Fixed at creation.
	ctx        context.Context // when it is done nobody waits for names
	log        *slog.Logger
	dialer     *dial.Dialer
	discoverer *discover.Discoverer
	prober     *health.Prober

	// changed is told of a backend that goes down or comes up, arrived of those that are added to a table
	// that is in use. Neither may block or call the keeper.
	changed func(b *routing.Backend, up bool)
	arrived func([]*routing.Backend)

	mu      sync.Mutex // guards what follows, and whoever changes the table
	table   *routing.Table
	follows map[routing.Name]func() // what ends each
	kept    map[*routing.Backend]*kept

	// news are the answers since expect, for a table that is being made meanwhile; nil without one.
	news map[routing.Name][]routing.Endpoint
}

// kept is what a keeper has of a backend.
type kept struct {
	// Fixed at creation.
	state   *health.State
	how     way
	backend *routing.Backend
	remove  func() // the probe; nil without one

	mu   sync.Mutex // guards what follows, and held while the backend is told how it is
	over bool       // requests that began before may still tell state something
}

// way is how a route has its backends looked after.
type way struct {
	health        routing.HealthCheck
	passive       routing.PassiveCheck
	proxyProtocol int
	sources       []netip.Addr
}

func wayOf(r *routing.Route) way {
	sources := slices.SortedFunc(slices.Values(r.Sources()), netip.Addr.Compare) // each time in another order
	return way{r.Health, r.Passive, r.ProxyProtocol, sources}
}

// expect is called before a table is made that use is to be called with, or that comes to nothing.
func (k *keeper) expect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.news = make(map[routing.Name][]routing.Endpoint)
}

// use has the keeper look after the backends of a table, and no others. It waits for the first answers about
// names that are new, but no longer than firstAnswers.
func (k *keeper) use(table *routing.Table) {
	k.mu.Lock()
	first := k.table == nil
	k.table = table
	for n, answer := range k.news { // the table follows on from what was known when it was made
		if slices.Contains(table.Names(), n) {
			table.Resolve(n, answer, time.Now())
		}
	}
	k.news = nil
	wanted := make(map[routing.Name]bool)
	var fresh []routing.Name
	for _, n := range table.Names() {
		if wanted[n] = true; k.follows[n] == nil {
			k.follows[n] = func() {}
			fresh = append(fresh, n)
		}
	}
	for n, stop := range k.follows {
		if !wanted[n] {
			stop()
			delete(k.follows, n)
		}
	}
	k.settleLocked(first)
	k.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	var names []discover.Name
	for _, n := range fresh {
		name := discover.Name{Host: n.Host, Port: n.Port, SRV: n.SRV}
		names = append(names, name)
		stop := k.discoverer.Follow(name, func(endpoints []discover.Endpoint) { k.resolved(n, endpoints) })
		k.mu.Lock()
		k.follows[n] = stop
		k.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(k.ctx, firstAnswers)
	defer cancel()
	_ = k.discoverer.Wait(ctx, names...) // it has said itself what is wrong
}

// resolved is what a name has come to. The links on addresses that are gone go on.
func (k *keeper) resolved(n routing.Name, endpoints []discover.Endpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.follows[n] == nil {
		return // by a table that is gone
	}
	answer := make([]routing.Endpoint, len(endpoints))
	for i, e := range endpoints {
		answer[i] = routing.Endpoint{Addr: e.Addr, Weight: e.Weight, Backup: e.Backup}
	}
	if k.news != nil {
		k.news[n] = answer
	}
	k.table.Resolve(n, answer, time.Now())
	k.settleLocked(false)
}

// settleLocked begins to look after backends that have come, and lets go of those that are gone. The first
// route that has a backend says how.
func (k *keeper) settleLocked(first bool) {
	present := make(map[*routing.Backend]bool)
	var arrived []*routing.Backend
	for _, r := range k.table.Routes() {
		for _, b := range r.Backends() {
			if present[b] {
				continue
			}
			present[b] = true
			have := k.kept[b]
			switch {
			case have == nil && !first:
				arrived = append(arrived, b)
			case have != nil && reflect.DeepEqual(have.how, wayOf(r)):
				continue
			case have != nil:
				have.stop()
			}
			k.kept[b] = k.keep(r, b)
		}
	}
	for b, have := range k.kept {
		if !present[b] {
			have.stop()
			b.SetJudge(nil)
			b.SetHealthy(true, time.Now())
			delete(k.kept, b)
		}
	}
	if len(arrived) > 0 {
		k.arrived(arrived)
	}
}

func (h *kept) stop() {
	if h.remove != nil {
		h.remove()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// told takes over what State has found out.
func (h *kept) told(up bool) (taken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.backend.SetHealthy(up, time.Now())
	}
	return !h.over
}

// keep begins to look after a backend in the way of a route.
func (k *keeper) keep(r *routing.Route, b *routing.Backend) *kept {
	h := &kept{how: wayOf(r), backend: b}
	h.state = health.NewState(health.StateConfig{
		Name: b.Addr, Log: k.log,
		Passive: health.Passive{
			Failures: r.Passive.Failures, Window: r.Passive.Window, Pause: r.Passive.Pause, MaxPause: r.Passive.MaxPause,
			EarlyDeath: r.Passive.EarlyDeath, Probed: r.Health.Type != "",
		},
		Changed: func(up bool, _ string) {
			if h.told(up) {
				k.changed(b, up)
			}
		},
	})
	b.SetHealthy(true, time.Now())
	b.SetJudge(judge{h.state})
	if r.Health.Type == "" {
		return h
	}
	var preface []byte
	if r.ProxyProtocol > 0 {
		// Of no client: the connection is wsproxy's own.
		preface = dial.AppendProxyHeader(nil, r.ProxyProtocol, netip.AddrPort{}, netip.AddrPort{})
	}
	sources := r.Sources()
	h.remove = k.prober.Add(health.Target{
		Name: b.Addr, Host: b.Host, Probed: h.state.Probed,
		Dial: func(timeout time.Duration) (net.Conn, error) {
			return k.dialer.Dial(b, dial.Request{Timeout: timeout, Preface: preface, Sources: sources})
		},
	}, checkOf(r.Health))
	return h
}

// checkOf is a route's check as package health has it.
func checkOf(h routing.HealthCheck) health.Check {
	kinds := map[string]health.Kind{"tcp": health.TCP, "http": health.HTTP, "websocket": health.WebSocket}
	c := health.Check{
		Kind: kinds[h.Type], Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
		Path: h.Path, Host: h.Host, Method: h.Method, Body: h.Body, Subprotocol: h.Subprotocol,
	}
	for _, f := range h.Headers {
		c.Headers = append(c.Headers, health.Header(f))
	}
	for _, s := range h.Status {
		c.Statuses = append(c.Statuses, health.StatusRange(s))
	}
	return c
}

// snapshot is what is known of a backend's health; false for one that is not looked after.
func (k *keeper) snapshot(b *routing.Backend) (health.Snapshot, bool) {
	k.mu.Lock()
	h := k.kept[b]
	k.mu.Unlock()
	if h == nil {
		return health.Snapshot{}, false
	}
	return h.state.Snapshot(), true
}

// judge is a backend's State as routing has it.
type judge struct{ *health.State }

// Failed tells the State of what is the backend's fault: running out of ports or descriptors is not.
func (j judge) Failed(begun, now time.Time, err error) {
	switch {
	case errors.Is(err, routing.ErrPorts), errors.Is(err, routing.ErrDescriptors):
		j.Abandoned(begun)
	case errors.Is(err, routing.ErrTimeout):
		j.State.Failed(begun, now, health.TimedOut)
	case errors.Is(err, routing.ErrDial), errors.Is(err, routing.ErrTLS):
		j.State.Failed(begun, now, health.FailedDial)
	case errors.Is(err, routing.ErrAnswer):
		j.State.Failed(begun, now, health.BadAnswer)
	default:
		j.Abandoned(begun)
	}
}
