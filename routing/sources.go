package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Sources gives the SourceAddresses of the route, the one whose turn it is first. The slice is the route's
// own; it is empty when the system is to choose. It may be called from any goroutine.
func (r *Route) Sources() []netip.Addr {
	n := len(r.sources) / 2
	if n == 0 {
		return nil
	}
	first := int((r.sourceTurns.Add(1) - 1) % uint64(n))
	return r.sources[first : first+n]
}

const sourceWant = `write an address of this machine, e.g. 10.0.0.2`

// parseSource reads an address that connections may come from.
func parseSource(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return ip, fmt.Errorf("%s is not an IP address; %s", quote(text), sourceWant)
	case ip.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%s has a zone; leave it out, as in %s", quote(text), quote(ip.WithZone("").String()))
	}
	ip = ip.Unmap()
	return ip, checkSource(ip)
}

func checkSource(ip netip.Addr) error {
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("%s is no address that a connection can come from; %s", quote(ip.String()), sourceWant)
	}
	return nil
}

// source is one of source_addresses.
func (d *decoder) source(v value) (netip.Addr, bool) {
	faults := len(d.faults)
	ip := parsed(d, v, sourceWant, parseSource)
	return ip, len(d.faults) == faults
}

// checkSources finds one that is there twice, and backends that none of them can reach.
func (d *decoder) checkSources(found map[string]value, r *RouteConfig) {
	at, ok := found["source_addresses"]
	if !ok || len(r.SourceAddresses) == 0 || len(at.node.Content) != len(r.SourceAddresses) {
		return // one has a fault of its own
	}
	for i, ip := range r.SourceAddresses {
		if j := slices.Index(r.SourceAddresses, ip); j < i {
			d.faultUse(used(at.node.Content[i], fmt.Sprintf("%s[%d]", at.key, i)),
				"%s is source_addresses[%d] again; name each address once", quote(ip.String()), j)
		}
	}
	for i, b := range r.Backends {
		to, err := netip.ParseAddrPort(b.Addr)
		if err != nil || slices.ContainsFunc(r.SourceAddresses, func(ip netip.Addr) bool { return ip.Is4() == to.Addr().Unmap().Is4() }) {
			continue
		}
		kind := "IPv6"
		if to.Addr().Unmap().Is4() {
			kind = "IPv4"
		}
		d.faultUse(at, "has no %s address, and %s, backends[%d], can be reached from no other; add one", kind, quote(b.URL), i)
	}
}

// checkSourceAddresses finds what Load lets nobody write.
func (r *RouteConfig) checkSourceAddresses() error {
	if slices.ContainsFunc(r.SourceAddresses, func(ip netip.Addr) bool { return checkSource(ip) != nil || ip.Is4In6() || ip.Zone() != "" }) {
		return errors.New("source_addresses: one is no address that a connection can come from")
	}
	return nil
}
