package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/front"
	"wsproxy/internal/splice"
	"wsproxy/routing"
)

// openingsTimeout is longer than a handshake takes that began before a reload.
const openingsTimeout = 10 * time.Minute

// retireLocked closes the links whose route or backend is gone or drained, paced over drain.window; those
// that it has told to close before keep their turn. An address that a name does not stand for any more gets
// nothing new, and keeps its links for as long as the route has the name: DNS may give another part of many
// addresses each time, and a server that ends closes its links itself.
func (p *proxy) retireLocked() {
	now := p.current.Load()
	window := window(now.cfg.Drain.Window)
	routes := now.routes()
	var mu sync.Mutex // guards leaving, which several loops may come to
	leaving := make(map[splice.Owner]bool)
	n := p.closeLinks(func(l front.Linked) bool {
		if routes[l.Route().Name].keeps(l.Backend()) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		leaving[l] = true
		return !p.leaving[l]
	}, splice.Retirement{Code: frame.Restart, Reason: "moved; come back", Window: window})
	p.leaving = leaving
	if n > 0 {
		p.log.Info("closing links whose route or backend is gone", "links", n, "window", window)
	}
}

// retireSettled does so again once the handshakes are over that were under way: they may have become links
// of what is gone.
func (p *proxy) retireSettled(settled func(context.Context) error) {
	ctx, cancel := context.WithTimeout(p.running, openingsTimeout)
	defer cancel()
	if settled(ctx) == nil {
		p.reloading.Lock()
		defer p.reloading.Unlock()
		p.retireLocked()
	}
}

// routeInForce is a route as it is and as it stands in the file; nil is one that is gone.
type routeInForce struct {
	*routing.Route
	cfg *routing.RouteConfig
}

// routes are the routes by their names.
func (f *inForce) routes() map[string]*routeInForce {
	routes := make(map[string]*routeInForce)
	for i, r := range f.table.Routes() { // in the order of the file
		routes[r.Name] = &routeInForce{r, &f.cfg.Routes[i]}
	}
	return routes
}

// keeps reports whether the links that a backend has of the route may stay.
func (r *routeInForce) keeps(b *routing.Backend) bool {
	if r == nil || b.Draining() {
		return false
	}
	return r.Keeps(b) || slices.ContainsFunc(r.cfg.Backends, func(c routing.BackendConfig) bool {
		return c.URL == b.URL && !c.Drain && reflect.DeepEqual(c.TLS, b.TLS)
	})
}

func (p *proxy) closeLinks(which func(front.Linked) bool, r splice.Retirement) int {
	r.Which = func(o splice.Owner) bool {
		l, ok := o.(front.Linked)
		return ok && which(l)
	}
	return p.engine.Retire(r)
}

// window is a time over which links are closed, as package splice has it.
func window(d time.Duration) time.Duration { return max(d, 0) }

// backendChanged does what routes want done when a backend goes down or comes up.
func (p *proxy) backendChanged(b *routing.Backend, up bool) {
	p.beside(func() {
		if up {
			p.rebalance([]*routing.Backend{b})
			return
		}
		now := p.current.Load()
		routes := now.routes()
		for _, how := range [...]routing.OnDown{routing.CloseLinks, routing.PaceLinks} {
			r := splice.Retirement{Code: frame.BadGateway, Reason: "backend down"}
			if how == routing.PaceLinks {
				r.Window = window(now.cfg.Drain.Window)
			}
			n := p.closeLinks(func(l front.Linked) bool {
				r := routes[l.Route().Name]
				return l.Backend() == b && r != nil && r.OnDown == how
			}, r)
			if n > 0 {
				p.log.Warn("closing links of a backend that is down", "backend", b.Addr, "links", n, "window", r.Window)
			}
		}
	})
}

// backendsArrived does what routes want done when backends are added.
func (p *proxy) backendsArrived(added []*routing.Backend) {
	p.beside(func() { p.rebalance(added) })
}

// rebalance closes some of the links on the fullest backends of routes that want it, so that those that have
// come get their share.
func (p *proxy) rebalance(come []*routing.Backend) {
	for _, r := range p.current.Load().table.Routes() {
		if r.Rebalance.Share <= 0 || !slices.ContainsFunc(come, func(b *routing.Backend) bool { return r.Weight(b) > 0 }) {
			continue
		}
		links := make(map[*routing.Backend]int)
		total, weights := 0, 0
		p.engine.Links(func(live splice.Live) {
			if l, ok := live.Owner.(front.Linked); ok && l.Route().Name == r.Name && live.Cause == splice.StillOpen {
				links[l.Backend()]++
				total++
			}
		})
		for _, b := range r.Backends() {
			if b.Healthy() && !b.Draining() {
				weights += r.Weight(b)
			}
		}
		left := total * r.Rebalance.Share / 100
		for _, b := range r.Backends() {
			excess := links[b]
			if weights > 0 {
				excess -= (total*r.Weight(b) + weights - 1) / weights
			}
			if n := min(excess, left); n > 0 {
				left -= n
				n = p.closeLinks(func(l front.Linked) bool { return l.Backend() == b && l.Route().Name == r.Name }, splice.Retirement{
					Code: frame.Restart, Reason: "making room; come back", Most: n, Window: r.Rebalance.Window,
				})
				p.log.Info("rebalancing", "route", r.Name, "backend", b.Addr, "links", n, "window", r.Rebalance.Window)
			}
		}
	}
}

// drain takes the backends that go by a name out of use, or back into it.
func (p *proxy) drain(name string, on bool) (said []string, err error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	now := p.current.Load()
	for _, b := range now.table.Backends() {
		if b.URL != name && b.Addr != name {
			continue
		}
		b.SetDraining(on)
		if on {
			said = append(said, fmt.Sprintf("%s takes nothing new; closing %d links over %s", b.Addr, b.Links(), window(now.cfg.Drain.Window)))
		} else {
			said = append(said, b.Addr+" is in use again")
		}
		p.log.Info("drain", "backend", b.Addr, "on", on, "links", b.Links())
	}
	if said == nil {
		return nil, fmt.Errorf("no backend is called %q; wsproxy backends prints them", name)
	}
	if on {
		p.retireLocked()
		if p.staying.Err() == nil {
			settled := p.front.Update(served(now.cfg, now.table)) // for what it waits for
			p.beside(func() { p.retireSettled(settled) })
		}
	}
	return said, nil
}

// backendStates are the backends in the order of the configuration.
func (p *proxy) backendStates() (states []backendState) {
	table := p.current.Load().table
	for _, b := range table.Backends() {
		s := backendState{Backend: b.URL, State: "up", Links: b.Links()}
		if !strings.HasPrefix(b.URL, "builtin:") && !strings.Contains(b.URL, b.Addr) {
			s.Backend = b.Addr // one of those that a name stands for
		}
		for _, r := range table.Routes() {
			if slices.Contains(r.Backends(), b) {
				s.Routes = append(s.Routes, r.Name)
			}
		}
		if snap, ok := p.keeper.snapshot(b); ok {
			s.Since = snap.Since
			if !snap.Up {
				s.State, s.Reason = "down", snap.Reason
			}
		}
		switch {
		case b.Draining() && b.Links() > 0:
			s.State = "draining"
		case b.Draining():
			s.State = "drained"
		}
		states = append(states, s)
	}
	return states
}

// commands are what the control socket offers.
func (p *proxy) commands() commands {
	return commands{
		reload:   func(context.Context) ([]string, error) { return p.reload() },
		drain:    func(_ context.Context, backend string) ([]string, error) { return p.drain(backend, true) },
		undrain:  func(_ context.Context, backend string) ([]string, error) { return p.drain(backend, false) },
		backends: p.backendStates,
		status:   p.status,
	}
}
