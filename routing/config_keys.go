package routing

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// The keys of proxy.yaml, mapping by mapping. What each means and its default stand beside the field
// it fills, and in the proxy.yaml at the top; a description for editors stands in schema_text.go.
var (
	topKeys = schema[Config]{
		list("listeners", `- address: ":8080"`, listenerKeys,
			func(c *Config) *[]Listener { return &c.Listeners }, (*decoder).listener),
		list("routes", `- backends: ["http://10.0.0.7:9000"]`, routeKeys,
			func(c *Config) *[]RouteConfig { return &c.Routes }, (*decoder).route),
		{key: "include", decode: (*decoder).include},
		list("trusted_proxies", `[10.0.0.0/8, 192.0.2.1, "::1"]`, nil,
			func(c *Config) *[]netip.Prefix { return (*[]netip.Prefix)(&c.TrustedProxies) }, (*decoder).trustedProxy),
		choice("forwarded", onOff, func(c *Config) *bool { return &c.Forwarded }),
		section("timeouts", timeoutKeys, func(c *Config) *Timeouts { return &c.Timeouts }),
		section("limits", limitKeys, func(c *Config) *Limits { return &c.Limits }).by((*decoder).limits),
		section("drain", drainKeys, func(c *Config) *Drain { return &c.Drain }),
		controlField,
		duration("grace_period", func(c *Config) *time.Duration { return &c.GracePeriod }),
		choice("engine", engines, func(c *Config) *string { return &c.Engine }),
		count("loops", 256, "auto", func(c *Config) *int { return &c.Loops }),
		section("log", logKeys, func(c *Config) *Log { return &c.Log }),
	}

	listenerKeys = schema[Listener]{
		{key: "address", decode: (*decoder).address},
		{key: "tls", below: tlsKeys, decode: (*decoder).tls},
		{key: "redirect", decode: func(d *decoder, v value, into *Listener) {
			into.HTTPSPort = parsed(d, v, redirectWant, parseRedirect)
		}},
		choice("proxy_protocol", onOff, func(l *Listener) *bool { return &l.ProxyProtocol }),
		listenerAllow, listenerDeny,
	}

	tlsKeys = schema[TLS]{
		list("certificates", "- {cert: chain.pem, key: key.pem}", certificateKeys,
			func(t *TLS) *[]CertificateFiles { return &t.Certificates }, (*decoder).certificate),
		list("self_signed", "[localhost]", nil,
			func(t *TLS) *[]string { return &t.SelfSigned }, (*decoder).selfSigned),
		{key: "acme", below: acmeKeys, decode: (*decoder).acme},
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
			backendKeys,
			func(r *RouteConfig) *[]BackendConfig { return &r.Backends }, (*decoder).backend),
		choice("balance", balances, func(r *RouteConfig) *Balance { return &r.Balance }),
		section("hash", hashKeys, func(r *RouteConfig) *HashKey { return &r.HashKey }).by((*decoder).hash),
		durationOrOff("slow_start", 0, func(r *RouteConfig) *time.Duration { return &r.SlowStart }),
		stickyField,
		count("max_links", maxBackendLinks, "unlimited", func(r *RouteConfig) *int { return &r.MaxLinks }),
		section("queue", queueKeys, func(r *RouteConfig) *Queue { return &r.Queue }),
		{key: "host_header", decode: func(d *decoder, v value, into *RouteConfig) {
			into.HostHeader = parsed(d, v, hostHeaderWant, parseHostHeader)
		}},
		choice("proxy_protocol", proxyProtocols, func(r *RouteConfig) *int { return &r.ProxyProtocol }),
		choice("http", offIsTrue, func(r *RouteConfig) *bool { return &r.NoHTTP }),
		{key: "path_prefix", decode: func(d *decoder, v value, into *RouteConfig) {
			into.Prefix = parsed(d, v, prefixWant, parsePathPrefix)
		}},
		headers("request_headers", func(r *RouteConfig) *HeaderRules { return &r.RequestHeaders }),
		headers("response_headers", func(r *RouteConfig) *HeaderRules { return &r.ResponseHeaders }),
		duration("dial_timeout", func(r *RouteConfig) *time.Duration { return &r.DialTimeout }),
		duration("handshake_timeout", func(r *RouteConfig) *time.Duration { return &r.HandshakeTimeout }),
		duration("response_timeout", func(r *RouteConfig) *time.Duration { return &r.ResponseTimeout }),
		durationOrOff("read_timeout", -1, func(r *RouteConfig) *time.Duration { return &r.ReadTimeout }),
		section("pool", poolKeys, func(r *RouteConfig) *Pool { return &r.Pool }),
		{key: "tls", below: backendTLSKeys,
			decode: func(d *decoder, v value, into *RouteConfig) { into.tls = d.backendTLS(v) }},
		section("websocket", webSocketKeys, func(r *RouteConfig) *WebSocket { return &r.WebSocket }),
		{key: "origins", decode: (*decoder).origins},
		choice("missing_origin", missingOrigins, func(r *RouteConfig) *bool { return &r.Origins.RefuseMissing }),
		routeAllow, routeDeny,
		section("limits", routeLimitKeys, func(r *RouteConfig) *LinkLimits { return &r.Limits }).by((*decoder).routeLimits),
		list("source_addresses", "[10.0.0.2, 10.0.0.3]", nil,
			func(r *RouteConfig) *[]netip.Addr { return &r.SourceAddresses }, (*decoder).source),
		healthField, passiveField,
		countOr("retries", maxRetries, "off", -1, func(r *RouteConfig) *int { return &r.Retries }),
		choice("on_backend_down", onDowns, func(r *RouteConfig) *OnDown { return &r.OnDown }),
		section("rebalance", rebalanceKeys, func(r *RouteConfig) *Rebalance { return &r.Rebalance }),
	}

	backendKeys = schema[backendEntry]{
		{key: "url", decode: func(d *decoder, v value, into *backendEntry) {
			b := parsed(d, v, backendWant, ParseBackend)
			into.URL, into.Addr, into.SRV, into.Builtin, into.TLS = b.URL, b.Addr, b.SRV, b.Builtin, b.TLS
		}},
		scalar("weight", numberShape(1, maxWeight, "", ""), func(e *backendEntry) *int { return &e.Weight },
			func(n int) string { return strconv.Itoa(max(n, 1)) }).by((*decoder).weight),
		choice("backup", onOff, func(e *backendEntry) *bool { return &e.Backup }),
		choice("drain", onOff, func(e *backendEntry) *bool { return &e.Drain }),
		zeroUnsaid(countOr("max_links", maxBackendLinks, "unlimited", -1, func(e *backendEntry) *int { return &e.MaxLinks })),
		{key: "tls", below: backendTLSKeys,
			decode: func(d *decoder, v value, into *backendEntry) { into.tls = d.backendTLS(v) }},
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
	include, including := found["include"]
	if !including {
		d.need(v, found, "routes", `write e.g. routes: [{backends: ["http://10.0.0.7:9000"]}]`)
	}
	d.includeAll(into)
	if including && len(into.Routes) == 0 && len(d.faults) == 0 {
		d.faultUse(include, "names no file with routes, and there are none here; at least one route is needed")
	}
	if _, ok := found["trusted_proxies"]; !ok {
		for _, on := range d.proxied {
			d.faultUse(on, "is on, but the file has no trusted_proxies, whose headers are believed; "+
				"write e.g. trusted_proxies: [10.0.0.7] at the top")
		}
	}
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
	d.warnAccess(found, &l.Access)
	if l.ProxyProtocol {
		d.proxied = append(d.proxied, found["proxy_protocol"])
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
	r := RouteConfig{File: d.file, Line: v.line}
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
	d.checkPlace(found, &r)
	d.checkBalance(v, found, &r)
	// A route whose host and path are right is held against the others whatever else is wrong with it.
	if !slices.ContainsFunc(d.faults[faults:], func(f Fault) bool { return !besideThePlace(f.Key, v.key) }) {
		name := RouteName(r.Host, cmp.Or(r.Path, "/*"))
		d.once(&d.routes, name, v, "the route "+quote(name))
	}
	return r, true
}

// besideThePlace reports whether a fault's key in a route leaves its host and path beyond doubt; an
// unknown key may be meant for one of them.
func besideThePlace(key, route string) bool {
	rest, ok := strings.CutPrefix(key, route+".")
	if i := strings.IndexAny(rest, ".["); i >= 0 {
		rest = rest[:i]
	}
	return ok && rest != "host" && rest != "path" && slices.Contains(routeKeys.names(), rest)
}

// once notes a fault when the same name was there before: name identifies, what is for the message.
func (d *decoder) once(seen *map[string]value, name string, v value, what string) {
	if name == "" {
		return
	}
	if first, ok := (*seen)[name]; ok {
		of := ""
		if first.file != d.file {
			of = " of " + first.file
		}
		d.faultUse(v, "%s is there already, as %s in line %d%s", what, strings.TrimSuffix(first.key, ".address"), first.line, of)
		return
	}
	if *seen == nil {
		*seen = make(map[string]value)
	}
	v.file = d.file
	(*seen)[name] = v
}
