package discover

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Name is what can be followed.
type Name struct {
	// Host is a host name, or a literal address, which is its only endpoint. With SRV it is the whole
	// name that has the records: _http._tcp.app.default.svc.cluster.local, or app.service.consul.
	Host string

	// Port is that of all endpoints. SRV records have their own, and Port says nothing.
	Port uint16

	SRV bool
}

// String is for messages.
func (n Name) String() string {
	if n.SRV {
		return "srv+" + n.Host
	}
	return net.JoinHostPort(n.Host, strconv.Itoa(int(n.Port)))
}

// normal gives one form for what means the same. A trailing dot does mean something: no search list.
func (n Name) normal() Name {
	n.Host = strings.ToLower(n.Host)
	if n.SRV {
		n.Port = 0
	}
	return n
}

// Endpoint is one server of a name.
type Endpoint struct {
	// Addr tells it from the others of the name.
	Addr netip.AddrPort

	// Host is the name it came from, in lower case and without trailing dot, for logs and for TLS: the
	// one that is followed, or an SRV record's target. Of a target nobody but DNS says that it belongs
	// to the service (RFC 6125 §6.2.1).
	Host string

	// Weight is the SRV record's, at least 1: zero is for the least share, not for none. Each address
	// of a target has the whole. It is 1 without SRV.
	Weight int

	// Backup is to be used when the others cannot: its SRV record does not have the lowest priority.
	Backup bool
}

// inOrder sorts endpoints so that the same ones are equal, those first that are used first, and leaves
// out what is there twice.
func inOrder(endpoints []Endpoint) []Endpoint {
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		return cmp.Or(compareBool(a.Backup, b.Backup), a.Addr.Compare(b.Addr), cmp.Compare(b.Weight, a.Weight),
			strings.Compare(a.Host, b.Host))
	})
	seen := make(map[netip.AddrPort]bool, len(endpoints))
	return slices.DeleteFunc(endpoints, func(e Endpoint) bool {
		twice := seen[e.Addr]
		seen[e.Addr] = true
		return twice
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
