package routing

import "net/netip"

// Networks are ranges of IP addresses. None contains nothing.
type Networks []netip.Prefix

// Contains reports whether an address is in one of them. IPv4 may be mapped into IPv6, a zone makes no
// difference.
func (n Networks) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, network := range n {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
