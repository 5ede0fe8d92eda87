package routing

import (
	"fmt"
	"net/netip"
)

// Access says which addresses are served. The zero value serves all.
type Access struct {
	// Allow are those that are served, everybody if there are none. Deny are those that are not, whatever
	// Allow says.
	Allow, Deny Networks
}

// Admits reports whether an address is served. One that is not known, the zero Addr, is in no network.
func (a *Access) Admits(addr netip.Addr) bool {
	return !a.Deny.Contains(addr) && (len(a.Allow) == 0 || a.Allow.Contains(addr))
}

// Everybody reports whether all addresses are served, also ones that are not known.
func (a *Access) Everybody() bool { return len(a.Allow)+len(a.Deny) == 0 }

var (
	listenerAllow, listenerDeny = accessKeys(func(l *Listener) *Access { return &l.Access })
	routeAllow, routeDeny       = accessKeys(func(r *RouteConfig) *Access { return &r.Access })
)

// accessKeys are the keys of an Access among those of what it is about.
func accessKeys[T any](at func(*T) *Access) (allow, deny field[T]) {
	const example = "[10.0.0.0/8, 192.0.2.1]"
	network := func(d *decoder, v value) (netip.Prefix, bool) {
		p := parsed(d, v, networkWant, parseNetwork)
		return p, p.IsValid()
	}
	allow = list("allow", example, nil, func(t *T) *[]netip.Prefix { return (*[]netip.Prefix)(&at(t).Allow) }, network)
	deny = list("deny", example, nil, func(t *T) *[]netip.Prefix { return (*[]netip.Prefix)(&at(t).Deny) }, network)
	return allow, deny
}

// warnAccess warns of what deny, at v, leaves of allow: it wins, where other programs go by the order.
func (d *decoder) warnAccess(found map[string]value, a *Access) {
	if len(d.faults) > 0 {
		return // warnings are for a config without, and the networks may not be those that stand there
	}
	item := func(key string, i int, problem string) {
		v := found[key]
		d.warning(used(v.node.Content[i], fmt.Sprintf("%s[%d]", v.key, i)), problem)
	}
	for i, denied := range a.Deny {
		if denied.Bits() == 0 {
			item("deny", i, quote(denied.String())+" is every address of its kind, and deny wins; "+
				"to serve some alone, write them in allow and leave deny out")
		}
	}
	for i, allowed := range a.Allow {
		for _, denied := range a.Deny {
			if denied.Bits() <= allowed.Bits() && denied.Contains(allowed.Addr()) {
				item("allow", i, fmt.Sprintf("nobody in %s is served: deny has %s, and wins", quote(allowed.String()), quote(denied.String())))
				break
			}
		}
	}
}
