package routing

import (
	"bytes"
	"math"
	"math/bits"
)

// HashKey says what of a request picks its backend with Hash: exactly one of its fields is set. A
// request that has no such thing, or an empty one, goes by the client's address.
type HashKey struct {
	// ClientIP is the client's address, of IPv6 all of it.
	ClientIP bool

	// Header, Cookie and Query are the names of what counts; of several of a name it is the first, and
	// as it is written: nothing is decoded.
	Header, Cookie, Query string

	// Path is the path as the client sent it, without the query.
	Path bool
}

// of is the hash of what counts of a request.
func (h *HashKey) of(ask *Ask) uint64 {
	var value []byte
	switch {
	case h.Header != "" && ask.Header != nil:
		value = ask.Header(h.Header)
	case h.Cookie != "" && ask.Cookie != nil:
		value = ask.Cookie(h.Cookie)
	case h.Query != "":
		value = queryValue(ask.Query, h.Query)
	case h.Path:
		value = ask.Path
	}
	if len(value) > 0 {
		return hashText(value)
	}
	addr := ask.Client.Unmap().WithZone("").As16()
	return hashText(addr[:])
}

// queryValue is the first value of a name in a query, as it is written.
func queryValue(query []byte, name string) []byte {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if key, value, ok := bytes.Cut(pair, []byte("=")); ok && string(key) == name {
			return value
		}
	}
	return nil
}

// rendezvous gives the same member for the same key for as long as it can be used, and spreads keys by
// weight. A member that comes takes its share from all others and moves nothing else, one that goes
// leaves its share to all others; so does a change of weight.
//
// Each member has for each key a random time of arrival, exponentially distributed at the rate of its
// weight, and the first one has it (rendezvous hashing: Thaler and Ravishankar 1998; with weights:
// Resch 2015). Every process and machine must come to the same, so the hash and the logarithm are our
// own.
func (g *group) rendezvous(v *view, key uint64) *candidate {
	var best *candidate
	var most uint64
	var first float64
	for i := range g.members {
		m := &g.members[i]
		if !v.usable(m) {
			continue
		}
		h := mix(key ^ m.seed)
		if g.equal { // the order is that of the hashes, turned round
			if best == nil || h > most {
				best, most = m, h
			}
			continue
		}
		u, weight := fraction(h), float64(m.weight)
		// -ln u is more than 1-u, which spares most logarithms.
		if best != nil && 1-u > float64(first*weight) {
			continue
		}
		if t := minusLog(u) / weight; best == nil || t < first {
			best, first = m, t
		}
	}
	return best
}

// hashText is FNV-1a with 64 bits, then mixed: its upper bits alone know little of the last bytes. It
// must never change: while a cluster is updated, both releases have to agree.
func hashText[T string | []byte](text T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h)
}

// mix is a bijection in which each bit depends on all (Pelle Evensen's rrmxmx).
func mix(x uint64) uint64 {
	x ^= bits.RotateLeft64(x, -49) ^ bits.RotateLeft64(x, -24)
	x *= 0x9fb21c651e98df25
	x ^= x >> 28
	x *= 0x9fb21c651e98df25
	return x ^ x>>28
}

// fraction is h as a part of 2^64, exactly: the middle of one of 2^52 equal parts, so neither 0 nor 1.
func fraction(h uint64) float64 {
	return (float64(h>>12) + 0.5) / (1 << 52)
}

// minusLog is -ln u for u from 0 to 1.
//
// math.Log would do, but may give another last digit on another machine: it has assembly for some, and
// compilers may fuse a multiplication with an addition. The conversions prevent that (Go specification,
// "Floating-point operators"); the rest is exact, or rounded alike everywhere by IEEE 754.
func minusLog(u float64) float64 {
	f, exponent := math.Frexp(u)
	if f < math.Sqrt2/2 {
		f, exponent = f*2, exponent-1
	}
	// ln f = 2 artanh s = 2 (s + s³/3 + s⁵/5 + ...) with s = (f-1) / (f+1), |s| < 0.172; what is left
	// out is less than 1e-16 of it.
	s := (f - 1) / (f + 1)
	square := float64(s * s)
	sum := 0.0
	for _, c := range [...]float64{1. / 19, 1. / 17, 1. / 15, 1. / 13, 1. / 11, 1. / 9, 1. / 7, 1. / 5, 1. / 3, 1} {
		sum = float64(sum*square) + c
	}
	return -(float64(float64(exponent)*math.Ln2) + float64(2*float64(s*sum)))
}
