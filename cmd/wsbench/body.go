package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// A body of an HTTP workload is foretellable from its tag: the tag as text, then printable bytes of a fixed pattern,
// from a place that depends on the tag, round and round. The backend makes what the load asks for, and both check
// what comes, at the price of a comparison.
const (
	tagSize = 32 // bytes of a tag as text
	// bodyPeriod is the pattern's length: a prime, so that a piece lost, repeated or swapped shows, whatever the size
	// of the buffer it was in.
	bodyPeriod = 65521
	// bodyPiece bounds what body.from returns.
	bodyPiece = 256 << 10
)

// tag names one request of a run.
type tag struct {
	run, link uint32
	seq       uint64
}

// appendTo appends the tag as text.
func (t tag) appendTo(dst []byte) []byte {
	var b [tagSize / 2]byte
	binary.BigEndian.PutUint32(b[0:], t.run)
	binary.BigEndian.PutUint32(b[4:], t.link)
	binary.BigEndian.PutUint64(b[8:], t.seq)
	return hex.AppendEncode(dst, b[:])
}

// parseTag reads a tag's text and tells whether it is one.
func parseTag(text []byte) (tag, bool) {
	var b [tagSize / 2]byte
	if len(text) != tagSize {
		return tag{}, false
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return tag{}, false
	}
	return tag{binary.BigEndian.Uint32(b[0:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])}, true
}

// body is an endless body; how much of it is sent is the user's business.
type body struct {
	head   [tagSize]byte
	offset int // in the pattern, of what follows the head
}

func newBody(t tag) body {
	b := body{offset: int(scatter(t.link, t.seq) % bodyPeriod)}
	t.appendTo(b.head[:0])
	return b
}

// from returns the bytes from pos on: at least one, at most bodyPiece. They must not be changed.
func (b *body) from(pos int64) []byte {
	if pos < tagSize {
		return b.head[pos:]
	}
	at := (int64(b.offset) + pos - tagSize) % bodyPeriod
	return pattern[at : at+bodyPiece]
}

// agrees returns how many bytes of p are as they should be from pos on; less than len(p) tells where it goes wrong.
func (b *body) agrees(p []byte, pos int64) int {
	n := 0
	for n < len(p) {
		want := b.from(pos + int64(n))
		want = want[:min(len(want), len(p)-n)]
		if !bytes.Equal(p[n:n+len(want)], want) {
			for i := 0; p[n] == want[i]; i++ {
				n++
			}
			return n
		}
		n += len(want)
	}
	return n
}

// pattern is one period, and as much of the following ones that a piece from any place is in one.
var pattern = func() []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	rng := rand.New(rand.NewPCG(1, 0x77736265_6e6368)) // "wsbench"
	p := make([]byte, bodyPeriod+bodyPiece)
	for i := range bodyPeriod {
		p[i] = alphabet[rng.IntN(len(alphabet))]
	}
	for i := bodyPeriod; i < len(p); i++ {
		p[i] = p[i-bodyPeriod]
	}
	return p
}()
