package main

import (
	"crypto/tls"
	"fmt"

	"wsproxy/internal/dial"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// clientAuths are tlsterm's, as proxy.yaml names them.
var clientAuths = map[string]tlsterm.ClientAuth{
	"off": tlsterm.NoClientCert, "request": tlsterm.RequestClientCert, "require": tlsterm.RequireClientCert,
}

// listen opens one listener. Its errors say what the user can do.
func (p *proxy) listen(cfg *routing.Config, l routing.Listener, budget *tlsterm.Budget) (*tlsterm.Listener, error) {
	c := tlsterm.Config{
		HandshakeTimeout: cfg.Timeouts.TLSHandshake, Budget: budget, HTTPSPort: l.HTTPSPort,
		KeepTLS: cfg.Engine == "goroutines", Home: p.engine.Home(), Log: p.log,
	}
	if l.ProxyProtocol {
		c.Proxied = cfg.TrustedProxies.Contains
	}
	if t := l.TLS; t != nil {
		c.MinVersion, c.Curves = t.MinVersion, t.Curves
		c.Protocols, c.AnyProtocol = t.Protocols, t.AnyProtocol
		c.ClientAuth, c.ClientCA = clientAuths[t.ClientAuth], t.ClientCA
		c.NoTickets, c.TicketKeys = t.NoTickets, t.TicketKeys
		var err error
		if t.ACME != nil {
			c.ACME, err = p.newACME(cfg, t.ACME)
		} else {
			c.Certs, err = certs(t)
		}
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
	}
	ln, err := tlsterm.Listen(l.Address, c)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (%s:%d): %w", l.Address, cfg.File, l.Line, advise(err))
	}
	return ln, nil
}

func certs(t *routing.TLS) (*tlsterm.Certs, error) {
	if len(t.SelfSigned) > 0 {
		return tlsterm.SelfSigned(t.SelfSigned)
	}
	pairs := make([]tlsterm.KeyPair, len(t.Certificates))
	for i, c := range t.Certificates {
		pairs[i] = tlsterm.KeyPair{Cert: c.Cert, Key: c.Key}
	}
	return tlsterm.LoadCerts(pairs)
}

// newACME makes the one of a listener. HTTP-01 is tried when there is a listener that can answer.
func (p *proxy) newACME(cfg *routing.Config, c *routing.ACME) (*tlsterm.ACME, error) {
	plain := false
	for _, l := range cfg.Listeners {
		plain = plain || l.TLS == nil
	}
	a, err := tlsterm.NewACME(tlsterm.ACMEConfig{
		Hosts: c.Hosts, Email: c.Email, Directory: c.Directory, Cache: c.Cache, CA: c.CA, HTTP: plain, Log: p.log,
	})
	if err == nil {
		p.acme = append(p.acme, a)
	}
	return a, err
}

// challenge answers HTTP-01 for all listeners, and is nil when none needs it.
func (p *proxy) challenge() func(host, path string) ([]byte, bool) {
	if len(p.acme) == 0 {
		return nil
	}
	return func(host, path string) ([]byte, bool) {
		for _, a := range p.acme {
			if body, ok := a.Challenge(host, path); ok {
				return body, true
			}
		}
		return nil, false
	}
}

// dialer makes what connects to all backends of a table. What is wrong with the files of their TLS shows
// here, at the start.
func (p *proxy) dialer(table *routing.Table) (*dial.Dialer, error) {
	c := dial.Config{Resolver: p.resolver, TLS: make(map[*routing.Backend]*tls.Config)}
	for _, b := range table.Backends() {
		if b.TLS == nil {
			continue
		}
		cfg, err := clientConfig(b.TLS)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", b.URL, err)
		}
		c.TLS[b] = cfg
	}
	return dial.New(c), nil
}

// clientConfig is what a backend is dialled with over TLS.
func clientConfig(t *routing.BackendTLS) (*tls.Config, error) {
	c := tlsterm.ClientConfig{
		ServerName: t.ServerName, CA: t.CA, Cert: t.Cert, Key: t.Key, InsecureSkipVerify: t.InsecureSkipVerify,
	}
	return c.TLS()
}

// reload takes over, on SIGHUP, what listeners read from files: certificates, ticket keys, client CAs.
// The rest of the configuration is read at the start only.
func (p *proxy) reload() {
	r := p.watcher.Reload()
	p.log.Info("reloaded", "signal", "hangup", "what", "certificates, ticket keys and client CAs",
		"changed", r.Changed, "kept", r.Kept)
}
