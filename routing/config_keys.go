package routing

import (
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// The keys of proxy.yaml, mapping by mapping. What each means and its default stand beside the field
// it fills, and in the proxy.yaml at the top.
var (
	topKeys = schema[Config]{
		list("listeners", `- address: ":8080"`, listenerKeys.keys,
			func(c *Config) *[]Listener { return &c.Listeners }, (*decoder).listener),
		list("routes", `- backends: ["http://10.0.0.7:9000"]`, routeKeys.keys,
			func(c *Config) *[]RouteConfig { return &c.Routes }, (*decoder).route),
		section("timeouts", timeoutKeys, func(c *Config) *Timeouts { return &c.Timeouts }),
		section("limits", limitKeys, func(c *Config) *Limits { return &c.Limits }),
		duration("grace_period", func(c *Config) *time.Duration { return &c.GracePeriod }),
		choice("engine", engines, func(c *Config) *string { return &c.Engine }),
		count("loops", 256, "auto", func(c *Config) *int { return &c.Loops }),
		section("log", logKeys, func(c *Config) *Log { return &c.Log }),
	}

	listenerKeys = schema[Listener]{
		{key: "address", decode: (*decoder).address},
		{key: "tls", below: func(prefix string) []string { return tlsKeys.keys(prefix + ".") }, decode: (*decoder).tls},
		{key: "redirect", decode: func(d *decoder, v value, into *Listener) {
			into.HTTPSPort = parsed(d, v, redirectWant, parseRedirect)
		}},
	}

	tlsKeys = schema[TLS]{
		list("certificates", "- {cert: chain.pem, key: key.pem}", certificateKeys.keys,
			func(t *TLS) *[]CertificateFiles { return &t.Certificates }, (*decoder).certificate),
		list("self_signed", "[localhost]", nil,
			func(t *TLS) *[]string { return &t.SelfSigned }, (*decoder).selfSigned),
		{key: "acme", below: func(prefix string) []string { return acmeKeys.keys(prefix + ".") }, decode: (*decoder).acme},
		choice("min_version", tlsVersions, func(t *TLS) *uint16 { return &t.MinVersion }),
		list("curves", "[X25519MLKEM768, X25519, P-256]", nil,
			func(t *TLS) *[]tls.CurveID { return &t.Curves }, (*decoder).curve),
		{key: "alpn", decode: (*decoder).alpn},
		choice("client_auth", clientAuths, func(t *TLS) *string { return &t.ClientAuth }),
		{key: "client_ca", decode: func(d *decoder, v value, into *TLS) { into.ClientCA = d.authorities(v) }},
		choice("session_tickets", offIsTrue, func(t *TLS) *bool { return &t.NoTickets }),
		{key: "ticket_keys", decode: func(d *decoder, v value, into *TLS) { into.TicketKeys = d.ticketKeys(v) }},
	}

	acmeKeys = schema[ACME]{
		list("hosts", "[chat.example.com]", nil,
			func(a *ACME) *[]string { return &a.Hosts }, (*decoder).acmeHost),
		{key: "email", decode: func(d *decoder, v value, into *ACME) {
			into.Email = parsed(d, v, "write an address, e.g. ops@example.com", parseEmail)
		}},
		{key: "directory", decode: func(d *decoder, v value, into *ACME) {
			into.Directory = parsed(d, v, directoryWant, parseDirectory)
		}},
		{key: "cache", decode: func(d *decoder, v value, into *ACME) { into.Cache = d.path(v, cacheWant) }},
		{key: "ca", decode: func(d *decoder, v value, into *ACME) { into.CA = d.authorities(v) }},
	}

	certificateKeys = schema[CertificateFiles]{
		{key: "cert", decode: func(d *decoder, v value, into *CertificateFiles) { into.Cert = d.path(v, pemWant) }},
		{key: "key", decode: func(d *decoder, v value, into *CertificateFiles) { into.Key = d.path(v, pemWant) }},
	}

	routeKeys = schema[RouteConfig]{
		{key: "host", decode: func(d *decoder, v value, into *RouteConfig) {
			into.Host = parsed(d, v, `write a host name, "*.example.com", or "*" for any`, parseHost)
		}},
		{key: "path", decode: func(d *decoder, v value, into *RouteConfig) {
			into.Path = parsed(d, v, "write a path like /chat, or a prefix like /ws/*", parsePath)
		}},
		list("backends", "- http://10.0.0.7:9000",
			func(prefix string) []string { return backendKeys.keys(prefix) },
			func(r *RouteConfig) *[]BackendConfig { return &r.Backends }, (*decoder).backend),
		{key: "host_header", decode: func(d *decoder, v value, into *RouteConfig) {
			into.HostHeader = parsed(d, v, hostHeaderWant, parseHostHeader)
		}},
		duration("dial_timeout", func(r *RouteConfig) *time.Duration { return &r.DialTimeout }),
		duration("handshake_timeout", func(r *RouteConfig) *time.Duration { return &r.HandshakeTimeout }),
		duration("response_timeout", func(r *RouteConfig) *time.Duration { return &r.ResponseTimeout }),
		{key: "tls", below: func(prefix string) []string { return backendTLSKeys.keys(prefix + ".") },
			decode: func(d *decoder, v value, into *RouteConfig) { into.tls = d.backendTLS(v) }},
		section("websocket", webSocketKeys, func(r *RouteConfig) *WebSocket { return &r.WebSocket }),
	}

	backendKeys = schema[backendEntry]{
		{key: "url", decode: func(d *decoder, v value, into *backendEntry) {
			into.BackendConfig = parsed(d, v, backendWant, ParseBackend)
		}},
		{key: "tls", below: func(prefix string) []string { return backendTLSKeys.keys(prefix + ".") },
			decode: func(d *decoder, v value, into *backendEntry) { into.tls = d.backendTLS(v) }},
	}

	timeoutKeys = schema[Timeouts]{
		duration("tls_handshake", func(t *Timeouts) *time.Duration { return &t.TLSHandshake }),
		duration("request_header", func(t *Timeouts) *time.Duration { return &t.RequestHeader }),
		duration("keep_alive", func(t *Timeouts) *time.Duration { return &t.KeepAlive }),
	}

	limitKeys = schema[Limits]{
		size("header_size", 4<<10, 1<<20, "", func(l *Limits) *int64 { return &l.HeaderSize }),
		size("body_size", 1, 1<<40, "unlimited", func(l *Limits) *int64 { return &l.BodySize }),
		count("tls_handshakes", 65536, "auto", func(l *Limits) *int { return &l.TLSHandshakes }),
	}

	logKeys = schema[Log]{
		choice("level", logLevels, func(l *Log) *slog.Level { return &l.Level }),
		choice("format", logFormats, func(l *Log) *string { return &l.Format }),
	}
)

const (
	backendWant    = "write http://host:port, https://host:port or builtin:echo"
	hostHeaderWant = "write keep, backend, or a host to send"
)

// config decodes the whole file, and checks what no single key can.
func (d *decoder) config(v value, into *Config) {
	found := topKeys.mapping(d, v, "a mapping with listeners and routes is needed", into)
	if v.node.Kind != yaml.MappingNode {
		return
	}
	d.need(v, found, "listeners", `write e.g. listeners: [{address: ":8080"}]`)
	d.need(v, found, "routes", `write e.g. routes: [{backends: ["http://10.0.0.7:9000"]}]`)
}

// need notes a fault when v has no such key.
func (d *decoder) need(v value, found map[string]value, key, want string) {
	if _, ok := found[key]; !ok {
		d.faultUse(value{key: join(v.key, key), line: v.line, column: v.column}, "is missing; %s", want)
	}
}

func (d *decoder) listener(v value) (Listener, bool) {
	l := Listener{Line: v.line}
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, `%s; a mapping is needed, e.g. address: ":8080"`, standing(v.node))
		return l, false
	}
	found := listenerKeys.mapping(d, v, "", &l)
	d.need(v, found, "address", `write e.g. address: ":8080"`)
	if redirect, ok := found["redirect"]; ok && l.TLS != nil {
		d.faultUse(redirect, "is for a listener without tls; this one speaks https itself")
	}
	if l.Address != "" {
		d.once(&d.addresses, sameAddress(l.Address), found["address"], quote(l.Address))
	}
	return l, true
}

// address is the address of a listener.
func (d *decoder) address(v value, into *Listener) {
	const want = `write host:port, :port or [ip]:port, e.g. ":8080"`
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!int" {
		if port, err := parsePort(v.node.Value); err == nil {
			d.fault(v, `%s is a number; write ":%d"`, clip(v.node.Value), port)
			return
		}
	}
	into.Address = parsed(d, v, want, parseListenAddress)
}

// sameAddress gives one text for addresses that cannot be listened on together: without a host and
// with either family's zero address, all addresses are meant. It is empty for a port the system picks.
func sameAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return ""
	}
	if host == "0.0.0.0" || host == "::" {
		host = ""
	}
	return net.JoinHostPort(host, port)
}

func (d *decoder) route(v value) (RouteConfig, bool) {
	r := RouteConfig{Line: v.line}
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, `%s; a mapping is needed, e.g. backends: ["http://10.0.0.7:9000"]`, standing(v.node))
		return r, false
	}
	faults := len(d.faults)
	found := routeKeys.mapping(d, v, "", &r)
	d.need(v, found, "backends", `write e.g. backends: ["http://10.0.0.7:9000"]`)
	d.routeTLS(found["tls"], &r)
	d.warnUnverified(found["backends"], r.Backends)
	first := make(map[string]int)
	for i, b := range r.Backends {
		same := b.Addr + "|" + b.Builtin
		if b.TLS != nil {
			same += "|tls"
		}
		if j, ok := first[same]; ok && len(d.faults) == faults {
			item := found["backends"].node.Content[i]
			d.faultUse(used(item, v.key+".backends["+strconv.Itoa(i)+"]"),
				"%s is backends[%d] again; name each backend once", quote(b.URL), j)
		}
		first[same] = i
	}
	// A route whose host and path are right is held against the others whatever else is wrong with it.
	if !slices.ContainsFunc(d.faults[faults:], func(f Fault) bool { return !besideThePlace(f.Key, v.key) }) {
		path := r.Path
		if path == "" {
			path = "/*"
		}
		name := routeName(r.Host, path)
		d.once(&d.routes, name, v, "the route "+quote(name))
	}
	return r, true
}

// besideThePlace reports whether a fault's key in a route leaves its host and path beyond doubt; an
// unknown key may be meant for one of them.
func besideThePlace(key, route string) bool {
	rest, ok := strings.CutPrefix(key, route+".")
	return ok && (strings.HasPrefix(rest, "backends") || strings.HasPrefix(rest, "tls") || rest == "host_header" || strings.HasSuffix(rest, "_timeout"))
}

// once notes a fault when the same name was there before: name identifies, what is for the message.
func (d *decoder) once(seen *map[string]value, name string, v value, what string) {
	if name == "" {
		return
	}
	if first, ok := (*seen)[name]; ok {
		d.faultUse(v, "%s is there already, as %s in line %d", what, strings.TrimSuffix(first.key, ".address"), first.line)
		return
	}
	if *seen == nil {
		*seen = make(map[string]value)
	}
	(*seen)[name] = v
}
