package head

import "bytes"

// kind is what the proxy knows a field for, by its name.
type kind uint8

const (
	kindOther kind = iota
	kindHost
	kindContentLength
	kindExpect

	// Hop-by-hop.
	kindConnection
	kindUpgrade
	kindTrailer
	kindTransferEncoding
	kindHop // the rest of them

	// The proxy's to set.
	kindForwarded // of RFC 7239
	kindForwardedFor
	kindForwardedProto
	kindForwardedHost
	kindForwardedPort
	kindForwardedPrefix
	kindForwardedMore // X-Forwarded-*
	kindClientCert
	kindUnderscored // any of these, spelled with underscores
)

func (k kind) hopByHop() bool { return kindConnection <= k && k <= kindHop }

func (k kind) reserved() bool { return kindForwarded <= k }

// known are the names of kinds, by their length.
var known = func() (t [20][]knownName) {
	for _, n := range [...]knownName{
		{"Host", kindHost}, {"Content-Length", kindContentLength}, {"Expect", kindExpect},
		{"Connection", kindConnection}, {"Upgrade", kindUpgrade}, {"Trailer", kindTrailer}, {"Transfer-Encoding", kindTransferEncoding},
		{"Keep-Alive", kindHop}, {"Proxy-Connection", kindHop}, {"TE", kindHop}, {"Proxy-Authenticate", kindHop}, {"Proxy-Authorization", kindHop},
		{"Forwarded", kindForwarded}, {"X-Forwarded-For", kindForwardedFor}, {"X-Forwarded-Proto", kindForwardedProto},
		{"X-Forwarded-Host", kindForwardedHost}, {"X-Forwarded-Port", kindForwardedPort}, {"X-Forwarded-Prefix", kindForwardedPrefix},
		{"Client-Cert", kindClientCert}, {"X-Client-Cert", kindClientCert},
	} {
		t[len(n.name)] = append(t[len(n.name)], n)
	}
	return t
}()

type knownName struct {
	name string
	kind kind
}

func kindOf(name []byte) kind {
	if len(name) < len(known) {
		for _, n := range known[len(name)] {
			if EqualFold(name, n.name) {
				return n.kind
			}
		}
	}
	switch {
	case hasPrefix(name, "X-Forwarded-"):
		return kindForwardedMore
	case hasPrefix(name, "X-Client-Cert-"), hasPrefix(name, "Client-Cert-"):
		return kindClientCert
	case bytes.IndexByte(name, '_') >= 0:
		// CGI and its heirs read X_Forwarded_For as X-Forwarded-For.
		var buf [len(known) + 1]byte // what is longer is told by its beginning
		folded := buf[:copy(buf[:], name)]
		for i, c := range folded {
			if c == '_' {
				folded[i] = '-'
			}
		}
		if kindOf(folded).reserved() {
			return kindUnderscored
		}
	}
	return kindOther
}

// hasPrefix reports whether name is longer than prefix and begins with it, in any case.
func hasPrefix(name []byte, prefix string) bool {
	return len(name) > len(prefix) && EqualFold(name[:len(prefix)], prefix)
}

// HopByHop reports whether a field belongs to one connection and is never passed on (RFC 9110
// §7.6.1, and the two fields of proxy authentication that are meant for the next proxy only).
// Fields that Connection names are hop-by-hop as well; the caller knows which.
func HopByHop(name []byte) bool { return kindOf(name).hopByHop() }

// Reserved reports whether a field is the proxy's to set, here or in a trailer section: X-Forwarded-*
// and Forwarded, X-Client-Cert and X-Client-Cert-*, and Client-Cert and Client-Cert-* (RFC 9440).
func Reserved(name []byte) bool { return kindOf(name).reserved() }

// Names are the field names that the Connection fields of a block list.
type Names [][]byte

// ConnectionNames collects them; the block must have passed Check. The words that nearly every
// Connection field has are none of them: they are options, or fields that are hop-by-hop anyway.
func ConnectionNames(block []byte) Names {
	var names Names
	for f := range Fields(block) {
		if kindOf(f.Name) != kindConnection {
			continue
		}
		for e := range Elements(f.Value) {
			if !EqualFold(e, "close") && !EqualFold(e, "keep-alive") && !EqualFold(e, "upgrade") {
				names = append(names, e)
			}
		}
	}
	return names
}

// Has reports whether name is among them, in any case.
func (n Names) Has(name []byte) bool {
	for _, e := range n {
		if equalFold(e, name) {
			return true
		}
	}
	return false
}
