package head

import (
	"bytes"
	"iter"
	"net/netip"
	"strconv"
)

// Origin is where a request came from, as a backend is told.
type Origin struct {
	// Peer is who connected: the client, or a proxy in front of us. The zero Addr is written as
	// unknown.
	Peer netip.Addr

	// Trusted says that Peer is a proxy whose word is taken: what it says in X-Forwarded-*, and in
	// Forwarded if we write that, is kept and extended. What anyone else says there is dropped.
	Trusted bool

	// Proto is http or https.
	Proto string

	// Host is the value of the client's Host field, which has been checked. Empty: it sent none.
	Host string

	// Port is the one that the client connected to. Zero: unknown, and left out.
	Port uint16

	// Prefix is what was taken off the path. Empty: nothing was, and it is left out.
	Prefix string

	// Forwarded writes Forwarded (RFC 7239) besides.
	Forwarded bool
}

// maxList is the most bytes of a list that a trusted proxy began and we go on with. Of a longer one
// the elements at the left are left out: they are the least believable.
const maxList = 4 << 10

// append appends the fields that tell of the origin. fields is the client's block.
func (o *Origin) append(dst, fields []byte) []byte {
	var c claims
	if o.Trusted {
		c = claimsOf(fields)
	}
	var buf [64]byte

	dst = append(dst, "X-Forwarded-For: "...)
	own := o.appendPeer(buf[:0])
	if o.Trusted {
		dst = appendList(dst, forwardedForElements(fields), own)
	} else {
		dst = append(dst, own...)
	}
	dst = append(dst, crlf...)

	dst = appendClaim(dst, "X-Forwarded-Proto", c.proto, protoOf(c.proto) != "", o.Proto)
	dst = appendClaim(dst, "X-Forwarded-Host", c.host, isHost(c.host), o.Host)
	switch {
	case isPort(c.port):
		dst = AppendField(dst, "X-Forwarded-Port", c.port)
	case o.Port != 0:
		dst = AppendField(dst, "X-Forwarded-Port", strconv.AppendUint(buf[:0], uint64(o.Port), 10))
	}
	if before := c.pathPrefix(); len(before)+len(o.Prefix) > 0 {
		dst = append(dst, "X-Forwarded-Prefix: "...)
		dst = append(dst, before...)
		dst = append(dst, o.Prefix...)
		dst = append(dst, crlf...)
	}
	if !o.Forwarded {
		return dst
	}
	dst = append(dst, "Forwarded: "...)
	if o.Trusted {
		dst = appendList(dst, forwardedElements(fields), o.appendForwarded(nil))
	} else {
		dst = o.appendForwarded(dst)
	}
	return append(dst, crlf...)
}

func (o *Origin) appendPeer(dst []byte) []byte {
	if !o.Peer.IsValid() {
		return append(dst, "unknown"...)
	}
	return plainAddr(o.Peer).AppendTo(dst)
}

// appendClaim appends a field with what a trusted proxy says when that is good, else with ours unless
// that is empty.
func appendClaim(dst []byte, name string, claim []byte, good bool, ours string) []byte {
	switch {
	case good:
		return AppendField(dst, name, claim)
	case ours != "":
		return AppendField(dst, name, ours)
	}
	return dst
}

// appendList appends a list of elements and at its end own, without the elements that would make it
// longer than maxList.
func appendList(dst []byte, elements iter.Seq[[]byte], own []byte) []byte {
	size := len(own)
	for e := range elements {
		size += len(e) + len(", ")
	}
	for e := range elements {
		if size > maxList {
			size -= len(e) + len(", ")
			continue
		}
		dst = append(dst, e...)
		dst = append(dst, ", "...)
	}
	return append(dst, own...)
}

// claims are what the fields of a request say of its origin. They are parts of the block.
type claims struct{ proto, host, port, prefix []byte }

// claimsOf takes the first field of each name that says anything. The proxy nearest to the client
// stands first, in a list as well.
func claimsOf(fields []byte) (c claims) {
	for f := range Fields(fields) {
		var claim *[]byte
		switch kindOf(f.Name) {
		case kindForwardedProto:
			claim = &c.proto
		case kindForwardedHost:
			claim = &c.host
		case kindForwardedPort:
			claim = &c.port
		case kindForwardedPrefix:
			if len(c.prefix) == 0 {
				c.prefix = f.Value // a comma may be part of a path
			}
		}
		if claim == nil || len(*claim) > 0 {
			continue
		}
		for e := range plainElements(f.Value) {
			*claim = e
			break
		}
	}
	return c
}

// pathPrefix is the prefix if it is good, ready to have ours behind it. One that begins with two
// slashes would make a host of a path.
func (c *claims) pathPrefix() []byte {
	if !bytes.HasPrefix(c.prefix, []byte("/")) || bytes.HasPrefix(c.prefix, []byte("//")) || plain(c.prefix, '!') < len(c.prefix) {
		return nil
	}
	return bytes.TrimRight(c.prefix, "/")
}

// ForwardedProto is the scheme, http or https, that the client used by the word of a trusted proxy,
// X-Forwarded-Proto. It is empty when there is no such word, or none that makes sense. fields is the
// client's block, which Check has passed.
func ForwardedProto(fields []byte) string {
	c := claimsOf(fields)
	return protoOf(c.proto)
}

func protoOf(claim []byte) string {
	switch {
	case EqualFold(claim, "http"), EqualFold(claim, "ws"):
		return "http"
	case EqualFold(claim, "https"), EqualFold(claim, "wss"):
		return "https"
	}
	return ""
}

func isPort(claim []byte) bool {
	port := 0
	for _, c := range claim {
		if c < '0' || c > '9' || len(claim) > len("65535") {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return 1 <= port && port <= 65535
}

// isHost reports whether a claim has only characters of a host and a port (RFC 3986 §3.2.2).
func isHost(claim []byte) bool {
	for _, c := range claim {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case bytes.IndexByte(hostPunctuation, c) >= 0:
		default:
			return false
		}
	}
	return len(claim) > 0
}

var hostPunctuation = []byte("-._~%!$&'()*+;=:[]")
