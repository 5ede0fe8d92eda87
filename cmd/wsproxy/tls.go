package main

import (
	"crypto/tls"
	"fmt"
	"net/netip"

	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// clientAuths are tlsterm's, as proxy.yaml names them.
var clientAuths = map[string]tlsterm.ClientAuth{
	"off": tlsterm.NoClientCert, "request": tlsterm.RequestClientCert, "require": tlsterm.RequireClientCert,
}

// listen opens one listener, which has a name among them, on the socket of the one whose place it takes
// unless that is nil. Its errors say what the user can do.
func (p *proxy) listen(cfg *routing.Config, l routing.Listener, name string, was *tlsterm.Listener) (*tlsterm.Listener, error) {
	c := tlsterm.Config{
		HandshakeTimeout: cfg.Timeouts.TLSHandshake, Budget: p.budget, HTTPSPort: l.HTTPSPort,
		KeepTLS: cfg.Engine == "goroutines", Home: p.engine.Home(), Log: p.log,
		// There are no requests before there is a front.
		Admits: func(client netip.Addr) bool { return p.front.Admits(name, client) },
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
			c.ACME, err = p.acme.get(acmeConfig(cfg, t.ACME, p.log))
		} else {
			c.Certs, err = certs(t)
		}
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
	}
	var ln *tlsterm.Listener
	var err error
	if was != nil {
		ln, err = was.Succeed(c)
	} else {
		ln, err = tlsterm.Listen(l.Address, c)
	}
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

// backendTLS makes what is shaken hands with for all backends of a configuration. What is wrong with the
// files of their TLS shows here.
func backendTLS(cfg *routing.Config) (map[routing.BackendTLS]*tls.Config, error) {
	configs := make(map[routing.BackendTLS]*tls.Config)
	for _, r := range cfg.Routes {
		for _, b := range r.Backends {
			if b.TLS == nil || configs[*b.TLS] != nil {
				continue
			}
			c, err := clientConfig(b.TLS)
			if err != nil {
				return nil, fmt.Errorf("backend %s: %w", b.URL, err)
			}
			configs[*b.TLS] = c
		}
	}
	return configs, nil
}

// clientConfig is what a backend is dialled with over TLS.
func clientConfig(t *routing.BackendTLS) (*tls.Config, error) {
	c := tlsterm.ClientConfig{
		ServerName: t.ServerName, CA: t.CA, Cert: t.Cert, Key: t.Key, InsecureSkipVerify: t.InsecureSkipVerify,
	}
	return c.TLS()
}
