package routing

import (
	"fmt"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// BackendTLS says how a backend is spoken to over TLS. Who dials makes a configuration of it with
// tlsterm.ClientConfig, whose fields these are.
type BackendTLS struct {
	// ServerName is the name that the backend's certificate must be for. After Load it is never empty:
	// the host of the URL unless the file says another.
	ServerName string

	// CA is a PEM file of those who vouch for the backend. Empty means the system's.
	CA string

	// Cert and Key, both or neither, are what is shown to a backend that asks for a certificate.
	Cert, Key string

	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool
}

var backendTLSKeys = schema[BackendTLS]{
	{key: "ca", decode: func(d *decoder, v value, into *BackendTLS) { into.CA = d.authorities(v) }},
	{key: "server_name", decode: func(d *decoder, v value, into *BackendTLS) {
		into.ServerName = parsed(d, v, "write a host name or an IP address", parseServerName)
	}},
	{key: "cert", decode: func(d *decoder, v value, into *BackendTLS) { into.Cert = d.path(v, pemWant) }},
	{key: "key", decode: func(d *decoder, v value, into *BackendTLS) { into.Key = d.path(v, pemWant) }},
	choice("insecure_skip_verify", onOff, func(t *BackendTLS) *bool { return &t.InsecureSkipVerify }),
}

// backendTLS is the tls of a backend or of a route.
func (d *decoder) backendTLS(v value) *BackendTLS {
	t := new(BackendTLS)
	found := backendTLSKeys.mapping(d, v, "a mapping is needed, e.g. {ca: ca.pem}", t)
	if v.node.Kind != yaml.MappingNode {
		return t
	}
	cert, hasCert := found["cert"]
	key, hasKey := found["key"]
	switch {
	case hasCert && hasKey:
		if leaf := d.keyPair(cert, t.Cert, key, t.Key); leaf != nil {
			d.warn(cert, t.Cert, soonOver(leaf, time.Now()))
		}
	case hasCert:
		d.need(v, found, "key", "write the name of a PEM file with the private key of cert")
	case hasKey:
		d.need(v, found, "cert", "write the name of a PEM file with the certificate of key")
	}
	return t
}

// backendEntry is a backend in its long form.
type backendEntry struct {
	BackendConfig
	tls *BackendTLS
}

// backend is one backend of a route.
func (d *decoder) backend(v value) (BackendConfig, bool) {
	if v.node.Kind != yaml.MappingNode {
		return parsed(d, v, backendWant, ParseBackend), true
	}
	var e backendEntry
	found := backendKeys.mapping(d, v, "", &e)
	d.need(v, found, "url", backendWant)
	switch {
	case e.tls == nil || e.URL == "":
	case e.TLS == nil:
		d.faultUse(found["tls"], "is for backends of https:// and wss://; this one is %s", quote(e.URL))
	default:
		fill(&e.tls.ServerName, e.TLS.ServerName)
		e.TLS = e.tls
		if d.own == nil {
			d.own = make(map[*BackendTLS]bool)
		}
		d.own[e.tls] = true
	}
	return e.BackendConfig, true
}

// routeTLS gives the route's tls, which stands at v, to those of its backends that speak TLS and have
// none of their own.
func (d *decoder) routeTLS(v value, r *RouteConfig) {
	if r.tls == nil {
		return
	}
	used, unclear := false, len(r.Backends) == 0
	for i := range r.Backends {
		b := &r.Backends[i]
		unclear = unclear || b.URL == ""
		if b.TLS == nil || d.own[b.TLS] {
			continue
		}
		t := *r.tls
		fill(&t.ServerName, b.TLS.ServerName)
		b.TLS, used = &t, true
	}
	if !used && !unclear {
		d.faultUse(v, "is for backends of https:// and wss:// without a tls of their own; there is none")
	}
	r.tls = nil
}

// warnUnverified warns of each backend, of those that stand at v, that may be anybody.
func (d *decoder) warnUnverified(v value, backends []BackendConfig) {
	if len(d.faults) > 0 {
		return // warnings are for a config without, and the backends may not be those that stand there
	}
	for i, b := range backends {
		if b.TLS != nil && b.TLS.InsecureSkipVerify {
			d.warning(used(v.node.Content[i], fmt.Sprintf("%s[%d]", v.key, i)), fmt.Sprintf("the certificate of %s is not verified "+
				"(insecure_skip_verify): whoever is on the way to it can read and change all that passes", quote(b.URL)))
		}
	}
}

// parseServerName reads what a certificate may be for.
func parseServerName(text string) (string, error) {
	name, err := parseHost(text)
	if err != nil {
		return "", err
	}
	if name == "" || strings.HasPrefix(name, "*") {
		return "", fmt.Errorf("%s is not one name; write a host name or an IP address", quote(text))
	}
	return name, nil
}
