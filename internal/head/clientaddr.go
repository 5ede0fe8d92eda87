package head

import (
	"bytes"
	"iter"
	"net/netip"
)

// maxProxies is how many elements of a list are looked at, from its end.
const maxProxies = 64

// ClientAddr is who the client is. Peer connected; unless it is trusted it is the client. A trusted
// proxy says in X-Forwarded-For who connected to it, and so on from the end of the list to its
// beginning: the first address that is not trusted is the client's. Where an element is no address,
// the one reached by then is as far as anybody's word is good for, and if all are trusted that is the
// first. Without X-Forwarded-For, the for parameters of Forwarded (RFC 7239) are taken for it if
// forwarded is set.
//
// An address may have a port, which does not count, nor does a zone; an IPv4 address in IPv6 is
// itself, for trusted as well. fields is the client's block, which Check has passed.
func ClientAddr(fields []byte, peer netip.Addr, trusted func(netip.Addr) bool, forwarded bool) netip.Addr {
	client := plainAddr(peer)
	if !client.IsValid() || !trusted(client) {
		return client
	}
	var last lastElements
	last.take(forwardedForElements(fields))
	if last.n > 0 || !forwarded {
		last.walk(&client, trusted, parseNode)
		return client
	}
	last.take(forwardedElements(fields))
	last.walk(&client, trusted, func(element []byte) (netip.Addr, bool) { return parseNode(forNode(element)) })
	return client
}

// lastElements are the last of a list, which can only be read from its beginning.
type lastElements struct {
	ring [maxProxies][]byte
	n    int // of the list
}

func (l *lastElements) take(elements iter.Seq[[]byte]) {
	for e := range elements {
		l.ring[l.n%len(l.ring)] = e
		l.n++
	}
}

// walk goes from the last to the first and takes each for the client, until one is not trusted.
func (l *lastElements) walk(client *netip.Addr, trusted func(netip.Addr) bool, parse func([]byte) (netip.Addr, bool)) {
	for i := l.n - 1; i >= max(0, l.n-len(l.ring)); i-- {
		addr, ok := parse(l.ring[i%len(l.ring)])
		if !ok {
			return
		}
		if *client = addr; !trusted(addr) {
			return
		}
	}
}

// parseNode reads an address, with a port or without: 192.0.2.1, 192.0.2.1:80, 2001:db8::1,
// [2001:db8::1], [2001:db8::1]:80.
func parseNode(node []byte) (addr netip.Addr, ok bool) {
	const longest = 64 // one with a zone and a port
	if len(node) > longest {
		return addr, false
	}
	text, port := node, []byte(nil)
	if inside, found := bytes.CutPrefix(node, []byte("[")); found {
		text, port, found = bytes.Cut(inside, []byte("]"))
		if !found || bytes.IndexByte(text, ':') < 0 {
			return addr, false
		}
	} else if i := bytes.IndexByte(node, ':'); i >= 0 && i == bytes.LastIndexByte(node, ':') {
		text, port = node[:i], node[i:]
	}
	if len(port) > 0 && (port[0] != ':' || !isPort(port[1:])) {
		return addr, false
	}
	addr, err := netip.ParseAddr(string(text))
	return plainAddr(addr), err == nil
}

// plainAddr is an address as it is compared and passed on.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
