package routing

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Name is what the backends of a URL are looked up by. The zero value is none: the URL has an address, is
// a builtin or names this machine.
type Name struct {
	// Host is a host with addresses, or the owner of SRV records.
	Host string

	// Port is that of the addresses, 0 for SRV records, which have ports of their own.
	Port uint16

	SRV bool
}

// Endpoint is one answer to a Name.
type Endpoint struct {
	Addr netip.AddrPort

	// Weight is that of an SRV record beside the others, 1 or more.
	Weight int

	// Backup is for when the others cannot be used.
	Backup bool
}

// name is that of a backend, zero for one that is what it is. localhost is dialled by its name, which tries
// both of its addresses: what listens there listens on either.
func (b *BackendConfig) name() Name {
	if b.Builtin != "" {
		return Name{}
	}
	if b.SRV {
		return Name{Host: b.Addr, SRV: true}
	}
	host, service, err := net.SplitHostPort(b.Addr)
	if err != nil || host == "localhost" {
		return Name{}
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if _, notAddr := netip.ParseAddr(host); err != nil || notAddr == nil {
		return Name{}
	}
	return Name{Host: host, Port: uint16(port)}
}

// Names are those that the table's routes have backends by, each once, in the order of the config.
func (t *Table) Names() []Name { return t.names }

// Resolve gives a name its backends, on every route that has it; those that were there and are not any more
// get nothing new. It may be called while the table is in use. Without a call, a name has the backends
// that it had in the previous table. Without any, it is a backend itself, which is looked up when it is dialled;
// one of SRV records has none. A name that is not the table's is left out.
func (t *Table) Resolve(n Name, endpoints []Endpoint, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.names, n) {
		return
	}
	_, known := t.resolved[n]
	t.resolved[n] = slices.Clone(endpoints)
	before := t.backends
	for _, r := range t.routes {
		if slices.ContainsFunc(r.specs, func(s spec) bool { return s.name == n }) {
			r.setBackends(t.membersLocked(r.specs, func(b *Backend) {
				if known || t.added[n] { // the first to come are no newcomers, unless the name is one
					b.start(now)
				}
			}))
		}
	}
	t.backendsLocked()
	t.forgetLocked(before)
}

// spec is a backend of a route as its config has it.
type spec struct {
	url    string
	addr   string // to dial, but for one of SRV records
	name   Name
	host   string // what a Host header says for one with a name
	tls    *BackendTLS
	member // but for the backend

	// sendsHost says that Host headers say host. Its servers are then no others' with another host, who
	// may mean another site on the same machine.
	sendsHost bool
}

// dials reports whether b is what the spec's name comes to before its first answer.
func (s *spec) dials(b *Backend) bool {
	if s.name == (Name{}) || s.name.SRV || b.Addr != s.addr || (s.tls == nil) != (b.TLS == nil) {
		return false
	}
	return s.tls == nil || *s.tls == *b.TLS
}

// host is what a Host header says for a backend with a name.
func (b *BackendConfig) host() string {
	if b.SRV {
		return serviceHost(b.Addr)
	}
	return newBackend(b.URL, b.Addr, b.TLS).Host
}

// backendLocked gives the backend of an address, and whether the table has not been using it.
func (t *Table) backendLocked(s *spec, addr string) (b *Backend, isNew bool) {
	at := place{addr: addr}
	answer := s.name != (Name{}) && addr != s.addr
	if answer && s.sendsHost {
		at.host = s.host
	}
	if s.tls != nil {
		at.secure, at.tls = true, *s.tls
	}
	if b = t.places[at]; b == nil {
		b = newBackend(s.url, addr, s.tls)
		if s.host != "" {
			b.Host = s.host
		}
		// Two that differ in these alone are not to share cookies and what is hashed.
		if answer && (at.host != "" || s.tls != nil) {
			b.identity += " " + at.host + " " + at.tls.ServerName
		}
		t.places[at] = b
	}
	return b, !slices.Contains(t.backends, b)
}

// backendsLocked notes the backends that the routes have by now.
func (t *Table) backendsLocked() {
	var all []*Backend
	seen := make(map[*Backend]bool)
	for _, r := range t.routes {
		for _, b := range r.Backends() {
			if !seen[b] {
				seen[b] = true
				all = append(all, b)
			}
		}
	}
	t.backends = all
}

// forgetLocked drops the backends that the table does not have any more and did not have before the last
// change either, but for those that may have links: should they come back, these count. Who has picked one of
// before may be about to open one.
func (t *Table) forgetLocked(before []*Backend) {
	kept := make(map[*Backend]bool)
	for _, b := range before {
		kept[b] = true
	}
	for _, b := range t.backends {
		kept[b] = true
	}
	maps.DeleteFunc(t.places, func(_ place, b *Backend) bool { return !kept[b] && b.Links() == 0 })
}

// membersLocked are the backends that specs come to by now. added is told of those that had not been there.
func (t *Table) membersLocked(specs []spec, added func(*Backend)) (members []member) {
	add := func(s *spec, addr string, weight int, backup bool) {
		m := s.member
		m.weight, m.backup = m.weight*weight, m.backup || backup
		var isNew bool
		if m.backend, isNew = t.backendLocked(s, addr); isNew {
			added(m.backend)
		}
		// Two names may lead to one server: the first counts.
		if !slices.ContainsFunc(members, func(other member) bool { return other.backend == m.backend }) {
			members = append(members, m)
		}
	}
	for i := range specs {
		s := &specs[i]
		endpoints, known := t.resolved[s.name]
		if s.name == (Name{}) || !known && !s.name.SRV {
			add(s, s.addr, 1, false)
			continue
		}
		for _, e := range endpoints {
			add(s, e.Addr.String(), max(e.Weight, 1), e.Backup)
		}
	}
	return members
}
