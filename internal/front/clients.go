package front

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// clients remembers of each client how many links it has and when it has made its handshakes, by itself for
// all routes together and for each route that asks for it.
//
//	linked → idle → forgotten    linked: it has a link, or one being opened, and they are counted
//	       ↖     ↙               idle: its handshakes are still counted
//
// The idle ones are forgotten when they may again make as many handshakes as somebody new, and the one that
// has been idle the longest when there are more than limits.clients: for it, that is all forgotten too soon.
// The linked ones are as many as links at most, which are bounded themselves. So the table is, and nobody
// is refused because of it. An entry takes 200 bytes at most.
//
// What a client may do is for each handshake to say: between two of them, a reload may have changed it.
type clients struct {
	mu          sync.Mutex // guards what follows, and the clients
	idleMost    int
	table       map[clientKey]*client
	first, last *client // of the idle ones, the longest idle first
	idle        int
}

// clientKey tells clients apart. Whoever has an IPv6 address has 2^64 of them (RFC 6177): the first 64 bits
// stand for all.
type clientKey struct {
	scope uint32
	kind  uint8 // 4 or 6, 0 where the address is not known
	addr  [8]byte
}

func keyOf(scope uint32, addr netip.Addr) clientKey {
	k := clientKey{scope: scope}
	switch addr = addr.Unmap(); {
	case addr.Is4():
		b := addr.As4()
		k.kind = 4
		copy(k.addr[:], b[:])
	case addr.Is6():
		b := addr.As16()
		k.kind = 6
		copy(k.addr[:], b[:])
	}
	return k
}

// client is one of them.
type client struct {
	key        clientKey
	links      int
	handshakes *rate.Limiter // nil without a rate
	prev, next *client       // of the idle ones
	resting    bool          // it is one of those
}

// bound says how many idle ones are remembered at most. The zero clients remembers none.
func (t *clients) bound(idleMost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.table == nil {
		t.table = make(map[clientKey]*client)
	}
	for t.idleMost = idleMost; t.idle > t.idleMost; {
		t.dropLocked(t.first)
	}
}

// take counts a handshake of a client, and the link that it may become unless it is refused. What it gives
// is owed to give, nil for nothing.
func (t *clients) take(s *scope, addr netip.Addr, now time.Time) (*client, error) {
	if s.perClient <= 0 && s.rate <= 0 {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(now, 2) // more than come
	c := t.findLocked(s, addr, now)
	switch {
	case c.handshakes != nil && !c.handshakes.AllowN(now, 1):
		lacks := 1 - c.handshakes.TokensAt(now)
		t.restLocked(c)
		return nil, &waitError{s.errClientRate, time.Duration(lacks / float64(s.rate) * float64(time.Second))}
	case s.perClient <= 0:
		t.restLocked(c)
		return nil, nil
	case c.links >= s.perClient:
		return nil, s.errClientLinks
	}
	t.wakeLocked(c)
	c.links++
	return c, nil
}

// give takes back one that take has given.
func (t *clients) give(c *client) {
	if c == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.links--; c.links > 0 {
		return
	}
	if c.handshakes == nil {
		delete(t.table, c.key)
		return
	}
	t.restLocked(c)
}

// count is how many clients there are, those that are idle and nothing is held against left out.
func (t *clients) count(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(now, math.MaxInt)
	return len(t.table)
}

// findLocked gives a client, whose handshakes have the rate of s.
func (t *clients) findLocked(s *scope, addr netip.Addr, now time.Time) *client {
	key := keyOf(s.id, addr)
	c := t.table[key]
	if c == nil {
		c = &client{key: key}
		t.table[key] = c
	}
	switch {
	case s.rate <= 0:
		t.wakeLocked(c) // without a rate there is nothing to be idle for
		c.handshakes = nil
	case c.handshakes == nil:
		c.handshakes = rate.NewLimiter(s.rate, s.burst)
	case c.handshakes.Limit() != s.rate || c.handshakes.Burst() != s.burst:
		c.handshakes.SetLimitAt(now, s.rate)
		c.handshakes.SetBurstAt(now, s.burst)
	}
	return c
}

// restLocked makes a client the one that became idle last, if it has no links, and forgets the first where
// that makes one too many.
func (t *clients) restLocked(c *client) {
	if c.links > 0 {
		return
	}
	t.wakeLocked(c)
	c.prev, c.next, c.resting = t.last, nil, true
	if t.last != nil {
		t.last.next = c
	} else {
		t.first = c
	}
	t.last = c
	if t.idle++; t.idle > t.idleMost {
		t.dropLocked(t.first)
	}
}

func (t *clients) wakeLocked(c *client) {
	if !c.resting {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		t.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		t.last = c.prev
	}
	c.prev, c.next, c.resting = nil, nil, false
	t.idle--
}

func (t *clients) dropLocked(c *client) {
	t.wakeLocked(c)
	delete(t.table, c.key)
}

// forgetLocked forgets some of the longest idle, as long as they have all their handshakes again.
func (t *clients) forgetLocked(now time.Time, most int) {
	for c := t.first; c != nil && most > 0 && c.handshakes.TokensAt(now) >= float64(c.handshakes.Burst()); c = t.first {
		t.dropLocked(c)
		most--
	}
}
