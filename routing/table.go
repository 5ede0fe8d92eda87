package routing

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Route is where a matched request goes.
type Route struct {
	// Fixed at creation.

	// Name is host and path as matched, * for any host, for logs and metrics: "chat.example.com/ws/*", "*/*".
	Name string

	// Backends has at least one.
	Backends []*Backend

	// Those of RouteConfig.
	HostHeader                      HostHeader
	ProxyProtocol                   int
	NoHTTP                          bool
	RequestHeaders, ResponseHeaders HeaderRules

	// The timeouts of RouteConfig, more than zero; ReadTimeout is negative where there is none.
	DialTimeout, HandshakeTimeout, ResponseTimeout, ReadTimeout time.Duration

	// Pool is that of RouteConfig, its MaxIdle negative where no connection is kept.
	Pool Pool

	// WebSocket is that of RouteConfig.
	WebSocket WebSocket

	// Line is where the file has the route, zero for one built in Go.
	Line int

	// rewriting is for Rewrite.
	rewriting rewriting

	// Changed by Pick.
	turns atomic.Uint64
}

// Table gives the Route for a host and a path. It is immutable; a reload makes another.
type Table struct {
	routes   []*Route
	backends []*Backend

	exact    map[string]*paths // by host
	wildcard map[string]*paths // by the suffix, with its dot: ".example.com"
	any      *paths
}

// place is what tells one Backend from another.
type place struct {
	addr   string
	secure bool
	tls    BackendTLS
}

// paths are the routes of one host.
type paths struct {
	exact  map[string]*Route
	prefix map[string]*Route // by what stands before "/*": "/ws"; "" is every path

	// lengths are those of the keys of prefix, each once, longest first.
	lengths []int
}

// NewTable makes the table of cfg's routes. builtin gives for the name of a builtin backend ("echo")
// the host:port it listens on. cfg is not kept, its zero values are read as their defaults; a Config
// from Load is refused only for a builtin that is not in the map.
func NewTable(cfg *Config, builtin map[string]string) (*Table, error) {
	t := &Table{
		exact:    make(map[string]*paths),
		wildcard: make(map[string]*paths),
		any:      newPaths(),
	}
	byAddr := make(map[place]*Backend)
	for i, rc := range cfg.Routes {
		if err := t.add(rc, builtin, byAddr); err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
	}
	for _, p := range t.exact {
		p.seal()
	}
	for _, p := range t.wildcard {
		p.seal()
	}
	t.any.seal()
	return t, nil
}

func (t *Table) add(rc RouteConfig, builtin map[string]string, byAddr map[place]*Backend) error {
	rc.fillDefaults()
	host, err := parseHost(rc.Host)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	path, err := parsePath(rc.Path)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if err := rc.check(path); err != nil {
		return err
	}
	r := &Route{
		Name:             routeName(host, path),
		HostHeader:       rc.HostHeader,
		ProxyProtocol:    rc.ProxyProtocol,
		NoHTTP:           rc.NoHTTP,
		RequestHeaders:   rc.RequestHeaders,
		ResponseHeaders:  rc.ResponseHeaders,
		DialTimeout:      rc.DialTimeout,
		HandshakeTimeout: rc.HandshakeTimeout,
		ResponseTimeout:  rc.ResponseTimeout,
		ReadTimeout:      rc.ReadTimeout,
		Pool:             rc.Pool,
		WebSocket:        rc.WebSocket,
		Line:             rc.Line,
		rewriting:        rc.Prefix.rewriting(path),
	}
	for i, bc := range rc.Backends {
		addr := bc.Addr
		if bc.Builtin != "" {
			addr = builtin[bc.Builtin]
		}
		if addr == "" {
			return fmt.Errorf("backends[%d]: %s has no address", i, quote(bc.URL))
		}
		at := place{addr: addr}
		if bc.TLS != nil {
			at.secure, at.tls = true, *bc.TLS
		}
		b := byAddr[at]
		if b == nil {
			b = newBackend(bc.URL, addr, bc.TLS)
			byAddr[at] = b
			t.backends = append(t.backends, b)
		}
		r.Backends = append(r.Backends, b)
	}
	if !t.pathsOf(host).add(path, r) {
		return fmt.Errorf("%s is there already", r.Name)
	}
	t.routes = append(t.routes, r)
	return nil
}

func (t *Table) pathsOf(host string) *paths {
	if host == "" {
		return t.any
	}
	byHost, key := t.exact, host
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		byHost, key = t.wildcard, suffix
	}
	p := byHost[key]
	if p == nil {
		p = newPaths()
		byHost[key] = p
	}
	return p
}

// Routes are all routes, in the order of the config. The slice is the table's own.
func (t *Table) Routes() []*Route { return t.routes }

// Backends are all backends, each once, in the order of the config. The slice is the table's own.
func (t *Table) Backends() []*Backend { return t.backends }

// Match gives the most specific route for a request, or nil when there is none. It allocates nothing
// and keeps neither slice.
//
// host is as the Host header has it: a port, upper case, a trailing dot and the brackets of an IPv6
// address make no difference. An exact host goes before a wildcard, a longer wildcard before a
// shorter, any host comes last. A host whose routes do not have the path leaves it to the less
// specific ones, so that a route for any host serves every path that no other takes.
//
// path is the raw path of the request target, without the query. An exact path goes before a prefix,
// a longer prefix before a shorter. The prefix "/ws/*" matches /ws, /ws/ and everything below, since
// /ws is what a WebSocket client is most often given; it does not match /wsx.
//
// The path is compared byte by byte as it will be sent to the backend: nothing is decoded or joined,
// so the backend sees what was matched, and /%77s or //ws is not /ws. That leaves one way out of a
// prefix: a backend that resolves dot segments would make /admin of /ws/../admin. A path with a dot
// segment therefore has no route, however it is spelled: with %2e for the dot, with %2f, \ or %5c
// for the slash, or with a parameter (/..;a=b/). Clients resolve dot segments before they send a
// path (RFC 3986 §5.2.4), so none of them misses it.
func (t *Table) Match(host, path []byte) *Route {
	if len(path) == 0 || path[0] != '/' || hasDotSegment(path) {
		return nil
	}
	var buf [maxHostLength]byte
	name := normalHost(buf[:0], host)
	if len(name) > 0 {
		if p := t.exact[string(name)]; p != nil {
			if r := p.match(path); r != nil {
				return r
			}
		}
	}
	if len(t.wildcard) > 0 {
		for i := 1; i < len(name); i++ {
			if name[i] != '.' {
				continue
			}
			if p := t.wildcard[string(name[i:])]; p != nil {
				if r := p.match(path); r != nil {
					return r
				}
			}
		}
	}
	return t.any.match(path)
}

func newPaths() *paths {
	return &paths{exact: make(map[string]*Route), prefix: make(map[string]*Route)}
}

// add reports whether the path was free.
func (p *paths) add(path string, r *Route) bool {
	routes := p.exact
	if base, ok := strings.CutSuffix(path, "/*"); ok {
		routes, path = p.prefix, base
	}
	if routes[path] != nil {
		return false
	}
	routes[path] = r
	return true
}

func (p *paths) seal() {
	for base := range p.prefix {
		p.lengths = append(p.lengths, len(base))
	}
	slices.Sort(p.lengths)
	slices.Reverse(p.lengths)
	p.lengths = slices.Compact(p.lengths)
}

func (p *paths) match(path []byte) *Route {
	if r := p.exact[string(path)]; r != nil {
		return r
	}
	for _, n := range p.lengths {
		if n > len(path) || n < len(path) && path[n] != '/' {
			continue
		}
		if r := p.prefix[string(path[:n])]; r != nil {
			return r
		}
	}
	return nil
}

func routeName(host, path string) string {
	if host == "" {
		host = "*"
	}
	return host + path
}
