package routing

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Backend is one server that requests go to. A Table has one for each address and way to speak to it,
// shared by all routes that name it, so that what is counted here counts for the server. It outlives
// the Table: the next one has the same Backend for the same address.
//
//	healthy → unhealthy → healthy    by SetHealthy; with slow_start it comes back slowly
//	not draining ↔ draining          by SetDraining, whatever its health
type Backend struct {
	// Fixed at creation.

	// URL is as written in the file (where several routes write it differently, the first of them), for logs.
	URL string

	// Addr is the host:port to dial.
	Addr string

	// Host is what a Host header for this backend says: Addr without the scheme's default port.
	Host string

	// TLS is how to speak to it, nil for without.
	TLS *BackendTLS

	// identity tells it from the other backends of a route, and is the same in every process.
	identity string

	// Read and changed from anywhere.
	links atomic.Int64
	state atomic.Uint32 // isUnhealthy, isDraining; zero is one that takes requests
	fresh atomic.Int64  // when its slow start began, see sinceEpoch; zero is long ago
	waits atomic.Int32  // the length of queues
	judge atomic.Pointer[Judge]

	mu     sync.Mutex
	queues []*queue // guarded by mu: those with somebody who waits for a slot here
}

const (
	isUnhealthy = 1 << iota
	isDraining
)

func newBackend(url, addr string, tls *BackendTLS) *Backend {
	scheme, port := "http://", ":80"
	if tls != nil {
		scheme, port = "https://", ":443"
	}
	b := &Backend{URL: url, Addr: addr, Host: strings.TrimSuffix(addr, port), TLS: tls, identity: scheme + addr}
	if strings.HasPrefix(url, "builtin:") {
		b.identity = url // its port is another in each process
	}
	return b
}

// Acquire takes a slot for a link that is about to be opened, however many are taken; Route.Acquire is
// the one that heeds max_links. The caller owes exactly one Release.
func (b *Backend) Acquire() {
	b.links.Add(1)
}

// TryAcquire is Acquire unless maxLinks slots are taken, and reports whether it took one. Zero means
// no limit. The limit is the caller's and not b's, since routes that share a backend may have
// different ones, and a table that is refused half-way must not have changed any.
func (b *Backend) TryAcquire(maxLinks int) bool {
	for {
		n := b.links.Load()
		if maxLinks > 0 && n >= int64(maxLinks) {
			return false
		}
		if b.links.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives back the slot of one Acquire, once its link is over or was never opened, and wakes who
// waits for it. A Release too many is not noticed and leaves the count wrong for good. It takes no
// lock unless somebody waits, and then a short one.
func (b *Backend) Release() {
	b.links.Add(-1)
	b.wake()
}

// Links is the number of slots taken: links open and being opened.
func (b *Backend) Links() int64 {
	return b.links.Load()
}

// SetHealthy says whether b is to get requests. now is when it was found out; where b was unhealthy
// before, its slow start begins there.
func (b *Backend) SetHealthy(ok bool, now time.Time) {
	if !ok {
		b.state.Or(isUnhealthy)
	} else if b.state.Load()&isUnhealthy != 0 {
		b.start(now) // before anyone can see that it is back
		b.state.And(^uint32(isUnhealthy))
	}
	b.wake() // who waits may have one now, or none any more
}

// Healthy is what SetHealthy said last, and true before.
func (b *Backend) Healthy() bool { return b.state.Load()&isUnhealthy == 0 }

// SetDraining says whether b is to be left alone: a backend that drains gets no new links or requests
// from any route.
func (b *Backend) SetDraining(on bool) {
	if on {
		b.state.Or(isDraining)
	} else {
		b.state.And(^uint32(isDraining))
	}
	b.wake()
}

// Draining is what SetDraining said last, and false before. The drain of a route's own configuration
// is none of it.
func (b *Backend) Draining() bool { return b.state.Load()&isDraining != 0 }

// start begins a slow start.
func (b *Backend) start(now time.Time) {
	b.fresh.Store(sinceEpoch(now))
}

// fullWeight is what warmth is of a backend that has been there for long.
const fullWeight = 1000

// warmth is how much of its weight b has at now, in thousandths, when its slow start takes so long: a
// tenth at first.
func (b *Backend) warmth(now int64, slowStart time.Duration) int64 {
	since := b.fresh.Load()
	passed := now - since
	if since == 0 || passed >= int64(slowStart) {
		return fullWeight
	}
	return fullWeight/10 + fullWeight*9/10*max(passed, 0)/int64(slowStart)
}

// epoch is when the monotonic clock of this process begins, as far as slow starts are concerned: they
// must not take longer when somebody sets the clock.
var epoch = time.Now()

// sinceEpoch is never zero.
func sinceEpoch(now time.Time) int64 {
	if passed := int64(now.Sub(epoch)); passed != 0 {
		return passed
	}
	return 1
}

// wake has one of each queue look again.
func (b *Backend) wake() {
	if b.waits.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		q.poke()
	}
}

// watch has wake poke q until as many calls of unwatch.
func (b *Backend) watch(q *queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues = append(b.queues, q)
	b.waits.Store(int32(len(b.queues)))
}

func (b *Backend) unwatch(q *queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queues, q); i >= 0 {
		b.queues = slices.Delete(b.queues, i, i+1)
		b.waits.Store(int32(len(b.queues)))
	}
}

// HostHeader says which Host a backend is sent. The zero value keeps the client's.
type HostHeader struct {
	// Backend sends the backend's own, as its URL has it.
	Backend bool

	// Literal, unless empty, is sent as it stands; Backend is false then.
	Literal string
}

// HostFor is the Host to send to b, or empty when the client's is to be kept.
func (h HostHeader) HostFor(b *Backend) string {
	if h.Backend {
		return b.Host
	}
	return h.Literal
}
