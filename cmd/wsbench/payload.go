package main

import (
	"encoding/binary"
	"math/rand/v2"
)

// A message is unique and foretellable: a head that names the run, the link and the message's number,
// then a slice of pseudo-random bytes whose place depends on both. The receiver needs nothing but
// link and number to check it byte for byte.
const (
	payloadHead = 16
	padOffsets  = 1 << 16
)

// messages makes and knows every message of one run. It is safe for concurrent use once made.
type messages struct {
	size  int // bytes of each message, at least payloadHead
	nonce uint32
	pad   []byte
}

func newMessages(size int, seed uint64) *messages {
	m := &messages{size: size, nonce: uint32(seed), pad: make([]byte, size+padOffsets)}
	rng := rand.New(rand.NewPCG(seed, 0x77736265_6e6368)) // "wsbench"
	at := 0
	for ; at+8 <= len(m.pad); at += 8 {
		binary.LittleEndian.PutUint64(m.pad[at:], rng.Uint64())
	}
	for ; at < len(m.pad); at++ {
		m.pad[at] = byte(rng.Uint32())
	}
	return m
}

// appendTo appends message seq of link id.
func (m *messages) appendTo(dst []byte, id uint32, seq uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.nonce)
	dst = binary.BigEndian.AppendUint32(dst, id)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, m.body(id, seq)...)
}

// body returns what stands behind the head of message seq of link id; it must not be changed.
func (m *messages) body(id uint32, seq uint64) []byte {
	off := int(scatter(id, seq) % padOffsets)
	return m.pad[off : off+m.size-payloadHead]
}

// scatter makes a number of link and message whose neighbours land far apart: the finaliser of MurmurHash3.
func scatter(id uint32, seq uint64) uint64 {
	x := uint64(id)<<32 ^ seq
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
