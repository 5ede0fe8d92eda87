package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// question is a request that check --explain is asked about. Nothing of it is sent.
type question struct {
	URL     string
	Method  string   // empty means GET
	Headers []string // "Name: value"
	From    string   // the address that connects, empty for one that nobody trusts

	parsed  *url.URL
	path    string // as a client sends it
	target  string // with its query
	host    string // the Host header
	secure  bool
	upgrade bool // asks for a WebSocket
	peer    netip.Addr
	fields  []byte // Headers as a block
}

// explanation is what becomes of a request, in the order in which it happens. It is printed as JSON, too.
type explanation struct {
	URL       string         `json:"url"`
	Method    string         `json:"method"`
	Kind      string         `json:"kind"` // "websocket" or "http"
	Listeners []listenerInfo `json:"listeners"`
	Client    *clientInfo    `json:"client,omitempty"`
	Route     *routeInfo     `json:"route,omitempty"`
	Why       string         `json:"why,omitempty"`
	Refused   string         `json:"refused,omitempty"` // with which status, although there is a route
	Sent      *sentInfo      `json:"sent,omitempty"`
	Limits    []settingInfo  `json:"limits,omitempty"` // of the configuration as a whole
	Near      []nearInfo     `json:"near,omitempty"`   // routes that are not it, where there is none
	Notes     []string       `json:"notes,omitempty"`
}

type clientInfo struct {
	Connects string `json:"connects"`
	Trusted  bool   `json:"trusted"` // whoever connects is
	Address  string `json:"address"` // the client's, by the word of a trusted proxy, or by who connects
}

type nearInfo struct {
	Route string `json:"route"`
	At    string `json:"at"`
	Why   string `json:"why"`
}

// sentInfo is what a backend gets, and what the client gets of its answer.
type sentInfo struct {
	Target          string       `json:"target"`
	Hosts           []string     `json:"hosts"` // by backend
	RequestHeaders  []headerInfo `json:"request_headers,omitempty"`
	ResponseHeaders []headerInfo `json:"response_headers,omitempty"`
	Always          []string     `json:"always"` // headers that wsproxy writes itself
}

type headerInfo struct {
	What  string `json:"what"` // remove, set or add
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// parse fills in the fields behind what the user wrote. Its errors say what is wrong with that.
func (q *question) parse() error {
	u, err := url.Parse(q.URL)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL; write e.g. https://chat.example.com/ws", q.URL)
	case !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%q is not a URL with http, https, ws or wss and a host; write e.g. https://chat.example.com/ws", q.URL)
	}
	q.parsed, q.secure, q.upgrade = u, u.Scheme == "https" || u.Scheme == "wss", u.Scheme == "ws" || u.Scheme == "wss"
	q.host = u.Host
	q.target = u.RequestURI()
	q.path, _, _ = strings.Cut(q.target, "?")
	if q.Method == "" {
		q.Method = "GET"
	}
	if strings.ContainsFunc(q.Method, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return fmt.Errorf("%q is not a method", q.Method)
	}
	for _, h := range q.Headers {
		name, value, ok := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n") {
			return fmt.Errorf("%q is not a header; write 'Name: value'", h)
		}
		switch {
		case strings.EqualFold(name, "Host"):
			q.host = value
		case strings.EqualFold(name, "Upgrade") && strings.EqualFold(value, "websocket"):
			q.upgrade = true
		}
		q.fields = append(q.fields, name+": "+value+"\r\n"...)
	}
	if q.From != "" {
		if q.peer, err = netip.ParseAddr(q.From); err != nil {
			return fmt.Errorf("%q is not an IP address; write e.g. 192.0.2.7", q.From)
		}
	}
	return nil
}

// port is that of the URL, which may leave it out.
func (q *question) port() string {
	if port := q.parsed.Port(); port != "" {
		return port
	}
	if q.secure {
		return "443"
	}
	return "80"
}

// answer says what becomes of the request under a configuration. q has been parsed.
func (q *question) answer(cfg *routing.Config) (*explanation, error) {
	builtins := make(map[string]string)
	for _, r := range cfg.Routes {
		for _, b := range r.Backends {
			if b.Builtin != "" {
				builtins[b.Builtin] = b.URL
			}
		}
	}
	table, err := routing.NewTable(cfg, builtins, nil)
	if err != nil {
		return nil, err
	}
	e := &explanation{URL: q.URL, Method: q.Method, Kind: "http", Listeners: []listenerInfo{}}
	if q.upgrade {
		e.Kind = "websocket"
	}
	scheme := "http"
	if q.secure {
		scheme = "https"
	}
	client, trusted := q.peer, cfg.TrustedProxies.Contains(q.peer)
	if q.peer.IsValid() {
		client = head.ClientAddr(q.fields, q.peer, cfg.TrustedProxies.Contains, cfg.Forwarded)
		if proto := head.ForwardedProto(q.fields); trusted && proto != "" {
			scheme = proto
		}
		e.Client = &clientInfo{Connects: q.peer.String(), Trusted: trusted, Address: client.String()}
	}
	q.meetListeners(cfg, e, client)
	i := slices.Index(table.Routes(), table.Match([]byte(q.host), []byte(q.path)))
	if i < 0 {
		q.lookAround(cfg, e)
		return e, nil
	}
	rc, route := &cfg.Routes[i], table.Routes()[i]
	fit := rc.Fit(q.host, q.path)
	info := newRouteInfo(cfg, rc, true)
	info.Settings = slices.DeleteFunc(info.Settings, func(s settingInfo) bool {
		return strings.HasPrefix(s.Key, "websocket.") && !q.upgrade || strings.HasPrefix(s.Key, "pool.") && q.upgrade
	})
	e.Route, e.Why = &info, fit.HostWhy+", "+fit.PathWhy
	if !client.IsValid() {
		e.someClients("the route", &rc.Access, client)
	}
	switch left := q.refusedBy(rc, client, trusted, scheme); {
	case q.Method == "CONNECT" || q.Method == "TRACE":
		e.Refused = q.Method + " is refused with 405"
	case q.upgrade && q.Method != "GET":
		e.Refused = "a WebSocket handshake that is not GET is refused with 405"
	case left != "":
		e.Refused = left
	case !q.upgrade && rc.NoHTTP:
		e.Refused = "the route has http: off; what is no WebSocket is refused with 426"
	}
	vars := routing.Vars{ClientIP: client, Host: []byte(q.host), Method: []byte(q.Method), Path: []byte(q.path),
		Query: []byte(q.parsed.RawQuery), Scheme: scheme, Route: route.Name, Backend: "${backend}"}
	if port, err := strconv.ParseUint(q.port(), 10, 16); err == nil {
		vars.ServerPort = uint16(port)
	}
	e.Sent = &sentInfo{
		Target:          string(route.Rewrite(nil, []byte(q.target))),
		RequestHeaders:  headerChanges(rc.RequestHeaders, &vars),
		ResponseHeaders: headerChanges(rc.ResponseHeaders, &vars),
		Always:          []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"},
	}
	if route.StripsPrefix() != "" {
		e.Sent.Always = append(e.Sent.Always, "X-Forwarded-Prefix")
	}
	if cfg.Forwarded {
		e.Sent.Always = append(e.Sent.Always, "Forwarded")
	}
	for _, b := range rc.Backends {
		e.Sent.Hosts = append(e.Sent.Hosts, hostSent(rc.HostHeader, b, q.host))
	}
	for _, s := range settingInfos(cfg.Settings(), true) {
		if strings.Contains(s.Key, ".") && !strings.HasPrefix(s.Key, "log.") {
			e.Limits = append(e.Limits, s)
		}
	}
	return e, nil
}

// meetListeners finds the listeners that a client of the URL can come to.
func (q *question) meetListeners(cfg *routing.Config, e *explanation, client netip.Addr) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		host, port, _ := net.SplitHostPort(l.Address)
		ip, err := netip.ParseAddr(q.parsed.Hostname())
		at, bound := netip.ParseAddr(host)
		if port != q.port() || (l.TLS != nil) != q.secure || err == nil && bound == nil && !at.IsUnspecified() && at != ip {
			continue
		}
		info := newListenerInfo(l)
		e.Listeners = append(e.Listeners, info)
		e.someClients(l.Address, &l.Access, client)
		switch {
		case l.HTTPSPort > 0 && q.upgrade:
			e.Notes = append(e.Notes, l.Address+" refuses WebSockets with 403, since it sends everything to https; the rest is for https")
		case l.HTTPSPort > 0:
			e.Notes = append(e.Notes, l.Address+" sends everything to https; the rest is for https")
		case l.TLS != nil && !covers(l.TLS, q.parsed.Hostname()):
			e.Notes = append(e.Notes, l.Address+" has no certificate for "+q.parsed.Hostname())
		}
	}
	if len(e.Listeners) == 0 {
		kind := "without tls"
		if q.secure {
			kind = "with tls"
		}
		e.Notes = append(e.Notes, fmt.Sprintf("no listener %s is on port %s; this is for one that the request comes to in another way", kind, q.port()))
	}
}

// covers reports whether a listener has a certificate that says it is for a host.
func covers(t *routing.TLS, host string) bool {
	var names []string
	names = append(names, t.SelfSigned...)
	if t.ACME != nil {
		names = append(names, t.ACME.Hosts...)
	}
	for _, c := range t.Certificates {
		names = append(names, c.Names...)
	}
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.EqualFold(name, host) || strings.EqualFold(name, "*."+parent)
	})
}

// lookAround names routes that almost match, those for the host first.
func (q *question) lookAround(cfg *routing.Config, e *explanation) {
	const most = 8
	routes := cfg.MostSpecificFirst()
	if dotted := path.Clean(unescaped(q.path)); !(&routing.RouteConfig{}).Fit("", q.path).Path && strings.HasPrefix(q.path, "/") {
		e.Notes = append(e.Notes, "a path with a . or .. segment, however it is written, has no route; clients resolve these before they send a path")
		for _, r := range routes {
			if f := r.Fit(q.host, dotted); f.Host && f.Path {
				e.Near = append(e.Near, nearInfo{r.Name(), place(cfg, r), "is for the path without such segments, " + dotted})
				return
			}
		}
	}
	for _, wanted := range []func(routing.Fit) bool{
		func(f routing.Fit) bool { return f.Host && !f.Path },
		func(f routing.Fit) bool { return !f.Host && f.Path },
		func(f routing.Fit) bool { return !f.Host && !f.Path },
	} {
		for _, r := range routes {
			f := r.Fit(q.host, q.path)
			if len(e.Near) == most {
				e.Notes = append(e.Notes, fmt.Sprintf("there are %d routes in all", len(routes)))
				return
			}
			if !wanted(f) {
				continue
			}
			why := f.PathWhy
			if !f.Host {
				why = f.HostWhy
				if !f.Path && why != f.PathWhy {
					why += ", and " + f.PathWhy
				}
			}
			e.Near = append(e.Near, nearInfo{r.Name(), place(cfg, r), why})
		}
	}
}

func unescaped(path string) string {
	if text, err := url.PathUnescape(path); err == nil {
		return strings.ReplaceAll(text, `\`, "/")
	}
	return path
}

// hostSent is the Host that a backend gets.
func hostSent(h routing.HostHeader, b routing.BackendConfig, clients string) string {
	port := ":80"
	if b.TLS != nil {
		port = ":443"
	}
	switch {
	case h.Literal != "":
		return h.Literal
	case h.Backend && b.Builtin != "":
		return "its own address"
	case h.Backend && b.SRV:
		return "as its SRV record says"
	case h.Backend:
		return strings.TrimSuffix(b.Addr, port)
	}
	return clients
}

// headerChanges are the rules, with what their values come to. What may be a secret is not shown.
func headerChanges(rules routing.HeaderRules, vars *routing.Vars) []headerInfo {
	var changes []headerInfo
	for _, name := range rules.Remove {
		changes = append(changes, headerInfo{What: "remove", Name: name})
	}
	values := func(what string, rules []routing.HeaderRule) {
		for _, r := range rules {
			value := string(r.Value.Append(nil, vars))
			if !vars.ClientIP.IsValid() && strings.Contains(r.Value.String(), "${client_") {
				value = r.Value.String() // --from would tell
			}
			if r.Value.Hidden() || secretName(r.Name) {
				value = "(not shown)"
			}
			changes = append(changes, headerInfo{what, r.Name, value})
		}
	}
	values("set", rules.Set)
	values("add", rules.Add)
	return changes
}

// secretName reports whether a header of this name is likely to hold a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "cookie", "key", "token", "secret", "password", "credential", "signature"},
		func(word string) bool { return strings.Contains(name, word) })
}
