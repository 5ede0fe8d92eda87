package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"

	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// inForce is what a proxy runs with. It does not change; a reload makes another.
type inForce struct {
	cfg   *routing.Config
	table *routing.Table

	// secured is what backends are shaken hands with: those of table, and of the one before.
	secured map[routing.BackendTLS]*tls.Config

	names []string // of the listeners, as listenerNames has them
}

// reload reads the file again and takes over what has changed, all of it or nothing. It gives what has
// changed, in lines for people.
func (p *proxy) reload() (changed []string, err error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.staying.Err() != nil {
		return nil, errors.New("this wsproxy is stopping")
	}
	cfg, err := routing.Load(p.file)
	if err == nil {
		changed, err = p.apply(cfg)
	}
	p.reloads.count(err)
	if err != nil {
		p.watchFaulty(err)
		p.log.Error("not reloaded, all goes on as it was", "file", p.file, "err", oneLine(err))
		return nil, err
	}
	for _, w := range cfg.Warnings {
		p.log.Warn("configuration", "err", w.String())
	}
	if len(changed) == 0 {
		changed = []string{"nothing has changed"}
	}
	p.log.Info("reloaded", "file", p.file, "changed", changed)
	return changed, nil
}

// watchFaulty has files watched as well that a reload has found faults in: some may be new.
func (p *proxy) watchFaulty(err error) {
	faults, ok := errors.AsType[routing.Faults](err)
	if p.files == nil || !ok {
		return
	}
	files := slices.Clone(p.current.Load().cfg.Files)
	for _, f := range faults {
		files = append(files, f.File)
	}
	p.files.SetFiles(files)
}

// apply has the proxy run with another configuration. Whatever can fail comes first, beside what runs.
func (p *proxy) apply(cfg *routing.Config) (changed []string, err error) {
	old := p.current.Load()
	changed = p.fix(old.cfg, cfg)
	secured, err := backendTLS(cfg)
	if err != nil {
		return nil, err
	}
	for _, r := range old.table.Routes() { // requests that have come already may dial what is gone
		for _, b := range r.Backends() {
			if b.TLS != nil && secured[*b.TLS] == nil {
				secured[*b.TLS] = old.secured[*b.TLS]
			}
		}
	}
	p.keeper.expect()
	table, err := p.table(cfg, old.table)
	if err != nil {
		return nil, err
	}
	listeners, err := p.listenAgain(old, cfg)
	if err != nil {
		return nil, err
	}

	// From here on nothing fails.
	p.level.Set(cfg.Log.Level)
	p.dialer.UseTLS(secured)
	p.current.Store(&inForce{cfg, table, secured, listeners.names})
	p.keeper.use(table)
	settled := p.front.Update(served(cfg, table))
	changed = append(changed, listeners.commit(cfg)...)
	changed = append(changed, routeChanges(old.cfg, cfg)...)
	changed = append(changed, settingChanges(old.cfg, cfg)...)
	changed = append(changed, p.rereadFiles()...)
	if p.files != nil {
		p.files.SetFiles(cfg.Files)
	}
	p.retireLocked()
	p.beside(func() { p.retireSettled(settled) })
	return changed, nil
}

// rereadFiles takes over what listeners that stay read from files.
func (p *proxy) rereadFiles() (changed []string) {
	r := p.watcher.Reload()
	for _, file := range r.Changed {
		changed = append(changed, file+" has new content")
	}
	for _, file := range r.Kept {
		changed = append(changed, file+" cannot be used; what was read before stays in use")
	}
	return changed
}

// fix leaves as it is what cannot change without a restart, and says so where a file wants something else.
func (p *proxy) fix(old, cfg *routing.Config) (kept []string) {
	keep := func(name string, same bool) {
		if !same {
			kept = append(kept, name+" stays as it is until a restart")
		}
	}
	keep("engine", old.Engine == cfg.Engine)
	keep("loops", old.Loops == cfg.Loops)
	keep("log.format", old.Log.Format == cfg.Log.Format)
	keep("limits.tls_handshakes", old.Limits.TLSHandshakes == cfg.Limits.TLSHandshakes)
	keep("limits.header_size", old.Limits.HeaderSize == cfg.Limits.HeaderSize)
	keep("control", old.Control == cfg.Control)
	cfg.Engine, cfg.Loops, cfg.Log.Format = old.Engine, old.Loops, old.Log.Format
	cfg.Control = old.Control
	cfg.Limits.TLSHandshakes, cfg.Limits.HeaderSize = old.Limits.TLSHandshakes, old.Limits.HeaderSize
	return kept
}

// routeChanges says which routes have come, gone or changed.
func routeChanges(old, cfg *routing.Config) (changes []string) {
	nameOf := func(r routing.RouteConfig) string { return routing.RouteName(r.Host, r.Path) }
	before := make(map[string]routing.RouteConfig)
	for _, r := range old.Routes {
		before[nameOf(r)] = r
	}
	for _, r := range cfg.Routes {
		was, ok := before[nameOf(r)]
		delete(before, nameOf(r))
		was.Line, was.File = r.Line, r.File
		switch {
		case !ok:
			changes = append(changes, "route "+nameOf(r)+" is new")
		case !reflect.DeepEqual(was, r):
			changes = append(changes, "route "+nameOf(r)+" has changed")
		}
	}
	for name := range before {
		changes = append(changes, "route "+name+" is gone")
	}
	slices.Sort(changes)
	return changes
}

// settingChanges says which keys for everything have changed.
func settingChanges(old, cfg *routing.Config) (changes []string) {
	for _, section := range []struct {
		name    string
		was, is any
	}{
		{"limits", old.Limits, cfg.Limits}, {"timeouts", old.Timeouts, cfg.Timeouts},
		{"trusted_proxies", old.TrustedProxies, cfg.TrustedProxies}, {"forwarded", old.Forwarded, cfg.Forwarded},
		{"drain", old.Drain, cfg.Drain}, {"grace_period", old.GracePeriod, cfg.GracePeriod}, {"log.level", old.Log.Level, cfg.Log.Level},
	} {
		if !reflect.DeepEqual(section.was, section.is) {
			changes = append(changes, section.name+" changed")
		}
	}
	return changes
}

// relisten is what a reload does to listeners.
type relisten struct {
	p         *proxy
	names     []string
	listeners []*tlsterm.Listener // those to come, in the order of the file
	fresh     []*tlsterm.Listener // of these, those that are not served yet
	stale     []*tlsterm.Listener // those that are to be closed
	changes   []string
}

// listenAgain opens what is new, and gives addresses that stay with other settings a successor on the same
// socket. Nothing is served or closed before commit.
func (p *proxy) listenAgain(old *inForce, cfg *routing.Config) (_ *relisten, err error) {
	l := &relisten{p: p, names: listenerNames(cfg)}
	defer func() {
		if err != nil {
			for _, ln := range l.fresh {
				ln.Close()
			}
			p.acme.discard()
		}
	}()
	before := make(map[string]int)
	for i, name := range old.names {
		before[name] = i
	}
	for i, lc := range cfg.Listeners {
		name := l.names[i]
		at, ok := before[name]
		delete(before, name)
		if ok && sameListener(old.cfg, cfg, old.cfg.Listeners[at], lc) {
			l.listeners = append(l.listeners, p.listeners[at])
			if !reflect.DeepEqual(old.cfg.Listeners[at].Access, lc.Access) {
				l.changes = append(l.changes, "listener "+name+" has changed")
			}
			continue
		}
		var was *tlsterm.Listener
		if ok {
			was = p.listeners[at]
		}
		ln, err := p.listen(cfg, lc, name, was)
		if err != nil {
			return nil, p.ownPort(lc.Address, err)
		}
		l.listeners, l.fresh = append(l.listeners, ln), append(l.fresh, ln)
		if ok {
			l.stale = append(l.stale, was)
			l.changes = append(l.changes, "listener "+name+" has changed")
		} else {
			l.changes = append(l.changes, "listener "+name+" is new")
		}
	}
	for name, at := range before {
		l.stale = append(l.stale, p.listeners[at])
		l.changes = append(l.changes, "listener "+name+" is gone")
	}
	slices.Sort(l.changes)
	return l, nil
}

// ownPort says of an address that cannot be had when it may be in the way itself: a listener that goes is
// there until all is ready that comes.
func (p *proxy) ownPort(address string, err error) error {
	_, port, _ := net.SplitHostPort(address)
	for _, ln := range p.listeners {
		if _, own, _ := net.SplitHostPort(ln.Addr().String()); own == port {
			return fmt.Errorf("%w; this wsproxy itself listens on %s: to have the port on another address, restart it", err, ln.Addr())
		}
	}
	return err
}

// sameListener reports whether a listener can go on as it is.
func sameListener(old, cfg *routing.Config, was, is routing.Listener) bool {
	was.Line, was.Access = is.Line, is.Access // the front has that
	switch {
	case !reflect.DeepEqual(was, is):
		return false
	case is.ProxyProtocol && !reflect.DeepEqual(old.TrustedProxies, cfg.TrustedProxies):
		return false
	case (is.ProxyProtocol || is.TLS != nil) && old.Timeouts.TLSHandshake != cfg.Timeouts.TLSHandshake:
		return false
	}
	return is.TLS == nil || is.TLS.ACME == nil || hasPlain(old) == hasPlain(cfg)
}

// commit serves the listeners that are new and closes those that are not there any more.
func (l *relisten) commit(cfg *routing.Config) []string {
	p := l.p
	p.listeners = l.listeners
	for _, ln := range l.fresh {
		p.serving.Go(func() { p.serve(ln) })
	}
	for _, ln := range l.stale {
		ln.Close()
	}
	if len(l.fresh)+len(l.stale) > 0 {
		p.watcher.Close()
		p.watcher = tlsterm.Watch(p.log, p.listeners...)
	}
	p.acme.use(cfg, p.log)
	return l.changes
}

// oneLine is an error for the log.
func oneLine(err error) string {
	if faults, ok := errors.AsType[routing.Faults](err); ok && len(faults) > 1 {
		return fmt.Sprintf("%v (and %d more)", faults[0], len(faults)-1)
	}
	return err.Error()
}
