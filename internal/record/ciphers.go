package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"
	"math"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	maxKey    = 32
	maxSecret = sha512.Size384
	nonceSize = 12 // of all AEADs here
)

// suite is an index into suites, 0 for none.
type suite uint8

// first12 is the first suite of TLS 1.2.
const first12 suite = 4

type suiteInfo struct {
	ids      [2]uint16 // for TLS 1.2 with an RSA and with an ECDSA certificate
	keySize  int
	hash     func() hash.Hash
	chacha   bool
	explicit bool   // the nonce's last eight bytes stand in the record
	limit    uint64 // how many records one key may seal
}

// suites are those that have an AEAD and forward secrecy.
var suites = [...]suiteInfo{
	1: {[2]uint16{tls.TLS_AES_128_GCM_SHA256}, 16, sha256.New, false, false, limitGCM},
	2: {[2]uint16{tls.TLS_AES_256_GCM_SHA384}, 32, sha512.New384, false, false, limitGCM},
	3: {[2]uint16{tls.TLS_CHACHA20_POLY1305_SHA256}, 32, sha256.New, true, false, limitChaCha},
	4: {[2]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		16, sha256.New, false, true, limit12},
	5: {[2]uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
		32, sha512.New384, false, true, limit12},
	6: {[2]uint16{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
		32, sha256.New, true, false, limit12},
}

const (
	// limitGCM is below the 2^24.5 records of RFC 8446 §5.5.
	limitGCM = 1 << 24

	// limitChaCha is far below where sequence numbers would wrap, the only limit there is.
	limitChaCha = 1 << 60

	// limit12 is where sequence numbers would wrap. TLS 1.2 has no other key to go on with.
	limit12 = math.MaxUint64
)

// expansion is by how much an AEAD's output is longer than its input, with the nonce that stands in
// the record.
func (i *suiteInfo) expansion() int {
	if i.explicit {
		return explicitSize + tagSize
	}
	return tagSize
}

// Knows reports whether the record layer knows a cipher suite, as crypto/tls numbers them.
func Knows(id uint16) bool { return suiteOf(id) != 0 }

func suiteOf(id uint16) suite {
	for i, known := range suites {
		if id != 0 && (id == known.ids[0] || id == known.ids[1]) {
			return suite(i)
		}
	}
	return 0
}

// Ciphers keeps the AEADs of the sessions that are busy, ready for use; a session itself has only the
// keys, and an AEAD of AES-GCM is a kilobyte. It is found by the key itself, so that one can never
// serve another session or another key, wherever sessions are copied to and whatever comes after
// them. It belongs to one goroutine.
type Ciphers struct {
	sets []cipherSet // a power of two of them

	// Here, where a call through cipher.AEAD does not make them escape.
	nonce [nonceSize]byte
	extra [13]byte // TLS 1.2's additional data
}

// cipherSet is where a key's AEAD may stand.
type cipherSet struct {
	ready  [4]ready
	recent uint8 // the last one used, which is not the next to go
	hand   uint8 // the next to go
}

type ready struct {
	key    [maxKey]byte
	chacha bool
	aead   cipher.AEAD // nil when there is none
}

// NewCiphers makes room for about n keys, of which a session has two. What is kept of a key takes
// 56 bytes, and when it is in use one kilobyte.
func NewCiphers(n int) *Ciphers {
	sets := 1
	for sets*len(cipherSet{}.ready) < n {
		sets *= 2
	}
	return &Ciphers{sets: make([]cipherSet, sets)}
}

// Forget drops what is kept of a session's keys.
func (c *Ciphers) Forget(s *Session) {
	for _, h := range [...]*half{&s.in, &s.out} {
		set := c.set(&h.key)
		for i := range set.ready {
			if set.ready[i].aead != nil && set.ready[i].key == h.key {
				set.ready[i] = ready{}
			}
		}
	}
}

// set is the one for a key. Keys are random in every byte.
func (c *Ciphers) set(key *[maxKey]byte) *cipherSet {
	return &c.sets[binary.LittleEndian.Uint32(key[:])&uint32(len(c.sets)-1)]
}

// aead gives the AEAD of a direction.
func (c *Ciphers) aead(s suite, h *half) cipher.AEAD {
	set := c.set(&h.key)
	for i := range set.ready {
		r := &set.ready[i]
		if r.aead != nil && r.key == h.key && r.chacha == suites[s].chacha {
			set.recent = uint8(i)
			return r.aead
		}
	}
	at := set.hand
	if at == set.recent {
		at++
	}
	at %= uint8(len(set.ready))
	set.ready[at] = ready{key: h.key, chacha: suites[s].chacha, aead: newAEAD(s, h)}
	set.recent, set.hand = at, (at+1)%uint8(len(set.ready))
	return set.ready[at].aead
}

func newAEAD(s suite, h *half) cipher.AEAD {
	var aead cipher.AEAD
	var err error
	if suites[s].chacha {
		aead, err = chacha20poly1305.New(h.key[:])
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(h.key[:suites[s].keySize]); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic(err) // the sizes of keys are right
	}
	return aead
}

// nonceOf is the nonce that goes with a direction's next record (RFC 8446 §5.3; RFC 7905 §2; for
// AES-GCM in TLS 1.2 RFC 5288 §3). It is valid until the next call.
func (c *Ciphers) nonceOf(s suite, h *half, explicit []byte) []byte {
	c.nonce = h.iv
	if suites[s].explicit {
		copy(c.nonce[nonceSize-explicitSize:], explicit)
		return c.nonce[:]
	}
	low := c.nonce[nonceSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^h.seq)
	return c.nonce[:]
}

// extraOf is the additional data of TLS 1.2 (RFC 5246 §6.2.3.3). It is valid until the next call.
func (c *Ciphers) extraOf(h *half, typ byte, size int) []byte {
	binary.BigEndian.PutUint64(c.extra[:], h.seq)
	c.extra[8] = typ
	binary.BigEndian.PutUint16(c.extra[9:], wireVersion)
	binary.BigEndian.PutUint16(c.extra[11:], uint16(size))
	return c.extra[:]
}
