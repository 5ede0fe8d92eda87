package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Table gives the Route for a host and a path. It is immutable but for what names are resolved to; a reload
// makes another.
type Table struct {
	routes []*Route
	names  []Name
	added  map[Name]bool // those that the previous table did not have, if there was one

	exact    map[string]*paths // by host
	wildcard map[string]*paths // by the suffix, with its dot: ".example.com"
	any      *paths

	mu sync.Mutex // guards what follows

	// backends are those of the routes by now.
	backends []*Backend

	// places has all backends, and those that were there before and may still have links.
	places map[place]*Backend

	// resolved is what names have come to.
	resolved map[Name][]Endpoint
}

// place is what tells one Backend from another.
type place struct {
	addr   string
	host   string // what Host headers say, where that is not of the address
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
//
// previous is the table this one is to take the place of, nil for none. A backend of the same address
// that is spoken to in the same way is the same Backend, with its links, health and draining; a route
// of the same name goes on where the other is in its round robin, with those who wait for a slot there
// and with a sticky key that was drawn. previous itself is left as it is, and can stay in use.
func NewTable(cfg *Config, builtin map[string]string, previous *Table) (*Table, error) {
	b := tableBuilder{
		table: &Table{
			exact:    make(map[string]*paths),
			wildcard: make(map[string]*paths),
			any:      newPaths(),
			places:   make(map[place]*Backend),
			resolved: make(map[Name][]Endpoint),
			added:    make(map[Name]bool),
		},
		builtin:  builtin,
		now:      time.Now(),
		routes:   make(map[string]*Route),
		backends: make(map[*Backend]bool),
	}
	b.table.mu.Lock()
	defer b.table.mu.Unlock()
	if previous != nil {
		b.follow(previous)
	}
	for i, rc := range cfg.Routes {
		if err := b.add(rc); err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
	}
	t := b.table
	t.backendsLocked()
	b.forget()
	for _, p := range t.exact {
		p.seal()
	}
	for _, p := range t.wildcard {
		p.seal()
	}
	t.any.seal()
	return t, nil
}

// tableBuilder is a table in the making.
type tableBuilder struct {
	table   *Table
	builtin map[string]string
	now     time.Time

	// Those of the previous table: routes by name, and backends; without one, follows is false.
	follows  bool
	names    []Name
	routes   map[string]*Route
	backends map[*Backend]bool
	before   []*Backend // the same, in their order
}

// follow takes over what the previous table has. It is all put back by forget that is not wanted.
func (t *tableBuilder) follow(previous *Table) {
	previous.mu.Lock()
	defer previous.mu.Unlock()
	t.follows, t.names, t.before = true, previous.names, previous.backends
	for _, r := range previous.routes {
		t.routes[r.Name] = r
	}
	for _, b := range previous.backends {
		t.backends[b] = true
	}
	maps.Copy(t.table.places, previous.places)
	maps.Copy(t.table.resolved, previous.resolved)
}

// forget drops what this table does not need of the previous one: backends, and what names that are gone had
// come to.
func (t *tableBuilder) forget() {
	t.table.forgetLocked(t.before)
	maps.DeleteFunc(t.table.resolved, func(n Name, _ []Endpoint) bool { return !slices.Contains(t.table.names, n) })
}

func (t *tableBuilder) add(rc RouteConfig) error {
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
	specs, err := t.specs(&rc)
	if err != nil {
		return err
	}
	members := t.table.membersLocked(specs, func(b *Backend) {
		if t.follows && !t.backends[b] {
			b.start(t.now)
		}
	})
	name := RouteName(host, path)
	r := newRoute(name, path, &rc, members, t.routes[name])
	r.specs = specs
	if !t.table.pathsOf(host).add(path, r) {
		return fmt.Errorf("%s is there already", r.Name)
	}
	t.table.routes = append(t.table.routes, r)
	return nil
}

// specs are the backends of a route as its config has them.
func (t *tableBuilder) specs(rc *RouteConfig) ([]spec, error) {
	var specs []spec
	for i, bc := range rc.Backends {
		s := spec{
			url: bc.URL, addr: bc.Addr, name: bc.name(), tls: bc.TLS,
			member: member{weight: max(bc.Weight, 1), backup: bc.Backup, drain: bc.Drain, maxLinks: bc.MaxLinks},
		}
		if bc.Builtin != "" {
			s.addr = t.builtin[bc.Builtin]
		}
		if s.addr == "" {
			return nil, fmt.Errorf("backends[%d]: %s has no address", i, quote(bc.URL))
		}
		if s.name != (Name{}) {
			s.host, s.sendsHost = bc.host(), rc.HostHeader.Backend
			if !slices.Contains(t.table.names, s.name) {
				t.table.names = append(t.table.names, s.name)
				t.table.added[s.name] = t.follows && !slices.Contains(t.names, s.name)
			}
		}
		if s.maxLinks == 0 {
			s.maxLinks = rc.MaxLinks
		}
		specs = append(specs, s)
	}
	return specs, nil
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

// Backends are all backends by now, each once, in the order of the config. The slice does not change.
func (t *Table) Backends() []*Backend {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.backends
}

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

// RouteName is the name of a route by its host and path, as RouteConfig has them.
func RouteName(host, path string) string {
	if host == "" {
		host = "*"
	}
	return host + path
}
