package splice

import (
	"crypto/rand"
	"slices"
	"sync/atomic"
	"time"

	"wsproxy/internal/frame"
)

// heartbeat is the proxy's own Pings to one end of a link, and the Pongs that answer them. All of
// them carry the same nonce, which nobody else knows: the Pong of a Ping long past is known as well.
type heartbeat struct {
	// Fixed at creation.
	nonce [frame.PingPayload]byte
	trips *roundTrips

	// Owned by the driver.
	wanted  bool   // a Ping is to be sent at the next frame boundary
	waiting bool   // one has been sent, and nothing has come since
	timed   bool   // its Pong is still to come
	sent    moment // when
	limit   moment // when the end is given up unless something comes
	heard   moment // when something last came, a Pong of ours included

	last time.Duration // the last round trip; zero before the first
}

func newHeartbeat(trips *roundTrips) *heartbeat {
	h := &heartbeat{trips: trips}
	_, _ = rand.Read(h.nonce[:]) // never fails
	return h
}

// beat sees to what is due now. blocked says that nothing is read from the end, so that its silence
// means nothing. It returns when to be called again, and whether the end is dead.
func (h *heartbeat) beat(p *Policy, now moment, blocked bool) (next moment, dead bool) {
	if h.waiting && h.heard > h.sent {
		h.waiting = false
	}
	if h.waiting {
		if blocked {
			h.limit = now.after(p.PongTimeout)
		}
		return h.limit, now >= h.limit
	}
	next = h.heard.after(p.PingInterval)
	if now >= next {
		h.wanted = true
		next = min(now.after(p.PingInterval), now.after(p.PongTimeout)) // it is to be sent at once
	}
	return next, false
}

// pinged notes that the wanted Ping is on its way.
func (h *heartbeat) pinged(p *Policy, now moment) {
	h.wanted, h.waiting, h.timed = false, true, true
	h.sent, h.limit = now, now.after(p.PongTimeout)
}

// ponged notes that a Pong of ours has come.
func (h *heartbeat) ponged(now moment) {
	h.heard, h.waiting = now, false
	if h.timed {
		h.timed = false
		h.last = time.Duration(now - h.sent)
		h.trips.add(h.last)
	}
}

// RoundTripBounds are the upper bounds of all but the last bucket of RoundTrips.
var RoundTripBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// RoundTrips is how long answers to Pings took: how many in each bucket, and all together.
type RoundTrips struct {
	Counts [len(RoundTripBounds) + 1]uint64
	Sum    time.Duration
}

// roundTrips is RoundTrips for many writers.
type roundTrips struct {
	counts [len(RoundTripBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (r *roundTrips) add(d time.Duration) {
	i, _ := slices.BinarySearch(RoundTripBounds[:], d)
	r.counts[i].Add(1)
	r.sum.Add(int64(d))
}

func (r *roundTrips) snapshot() (s RoundTrips) {
	for i := range r.counts {
		s.Counts[i] = r.counts[i].Load()
	}
	s.Sum = time.Duration(r.sum.Load())
	return s
}
