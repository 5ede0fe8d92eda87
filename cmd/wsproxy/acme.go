package main

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"

	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// acmes are the ACMEs of the listeners in use, one for all that want the same: a listener that changes in
// some other way keeps its own.
//
//	made → in use → forgotten    by use; made → forgotten when listeners are not taken into use
type acmes struct {
	mu    sync.Mutex // guards what follows
	inUse []oneACME
	made  []oneACME
}

type oneACME struct {
	cfg tlsterm.ACMEConfig
	*tlsterm.ACME
}

// acmeConfig is a listener's acme. HTTP-01 is tried when there is a listener that can answer.
func acmeConfig(cfg *routing.Config, c *routing.ACME, log *slog.Logger) tlsterm.ACMEConfig {
	return tlsterm.ACMEConfig{
		Hosts: c.Hosts, Email: c.Email, Directory: c.Directory, Cache: c.Cache, CA: c.CA, HTTP: hasPlain(cfg), Log: log,
	}
}

// hasPlain reports whether there is a listener without TLS.
func hasPlain(cfg *routing.Config) bool {
	return slices.ContainsFunc(cfg.Listeners, func(l routing.Listener) bool { return l.TLS == nil })
}

// get gives the one of a config. One that has to be made asks for nothing before use.
func (a *acmes) get(cfg tlsterm.ACMEConfig) (*tlsterm.ACME, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range slices.Concat(a.inUse, a.made) {
		if reflect.DeepEqual(one.cfg, cfg) {
			return one.ACME, nil
		}
	}
	made, err := tlsterm.NewACME(cfg)
	if err == nil {
		a.made = append(a.made, oneACME{cfg, made})
	}
	return made, err
}

// use has those in use that a configuration wants, whose listeners are served, and no others. What is new
// asks for its certificates, now that its challenges find somebody. What is forgotten renews those that it
// has, while the process lasts: autocert does not end that.
func (a *acmes) use(cfg *routing.Config, log *slog.Logger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted := func(one oneACME) bool {
		return slices.ContainsFunc(cfg.Listeners, func(l routing.Listener) bool {
			return l.TLS != nil && l.TLS.ACME != nil && reflect.DeepEqual(one.cfg, acmeConfig(cfg, l.TLS.ACME, log))
		})
	}
	a.inUse = slices.DeleteFunc(a.inUse, func(one oneACME) bool { return !wanted(one) })
	for _, one := range a.made {
		if wanted(one) {
			a.inUse = append(a.inUse, one)
			one.Obtain()
		}
	}
	a.made = nil
}

// discard forgets those that have been made for listeners which are not taken into use.
func (a *acmes) discard() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made = nil
}

// challenge answers HTTP-01 for all listeners.
func (a *acmes) challenge(host, path string) ([]byte, bool) {
	if !strings.HasPrefix(path, tlsterm.ChallengePath) {
		return nil, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.inUse {
		if body, ok := one.Challenge(host, path); ok {
			return body, true
		}
	}
	return nil, false
}
