package routing

import (
	linked "container/list"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// queue is those who wait for a slot on one of a route's backends, first come first served. Routes of
// one name share it over reloads, so that nobody's turn gets lost.
//
//	waiting → served    a slot came free, or there is no backend any more to wait for
//	waiting → gone      its time is over, or its context
//
// It has no goroutine. Who changes something that may help pokes the queue, which never blocks; one of
// those who wait then serves all of them, in their order. No poke is lost: one that finds the last
// still there is covered by it, as whoever takes that looks at everything.
type queue struct {
	// poked holds at most one poke.
	poked chan struct{}

	// length is that of waiters.
	length atomic.Int32

	mu      sync.Mutex
	waiters linked.List   // guarded by mu: of *waiter
	watched []*candidates // guarded by mu: those whose backends poke, all that the waiters have
}

// waiter is one who waits.
type waiter struct {
	route *Route
	ask   *Ask

	// served is closed once there is a result, which is one of the two.
	served  chan struct{}
	backend *Backend
	err     error
}

func newQueue() *queue {
	return &queue{poked: make(chan struct{}, 1)}
}

// Acquire picks a backend as Pick does and takes a slot on it, for which the caller owes a Release. The
// slots of a backend are all taken when there are as many links as max_links; where all that could be
// picked are so, and the route has a queue, it waits its turn.
//
// The errors are ErrNoBackend, ErrFull, ErrQueueTimeout, and that of ctx, which is looked at during a wait
// only.
func (r *Route) Acquire(ctx context.Context, ask *Ask) (*Backend, error) {
	// Nobody passes those who wait.
	if r.Queue.Size <= 0 || r.queue.length.Load() == 0 {
		if b := r.take(ask); b != nil {
			return b, nil
		}
		if !r.usableAtAll(ask) {
			return nil, ErrNoBackend
		}
		if r.Queue.Size <= 0 {
			return nil, ErrFull
		}
	}
	return r.queue.wait(ctx, &waiter{route: r, ask: ask, served: make(chan struct{})})
}

// take is Acquire without a wait, nil where that has an error.
func (r *Route) take(ask *Ask) *Backend {
	for {
		m := r.pick(ask, true)
		if m == nil {
			return nil
		}
		if m.backend.TryAcquire(m.maxLinks) {
			return m.backend
		}
		// Somebody was faster, which is progress, too.
	}
}

// Waiting is how many wait for a slot on one of the route's backends.
func (r *Route) Waiting() int { return int(r.queue.length.Load()) }

func (q *queue) wait(ctx context.Context, w *waiter) (*Backend, error) {
	place := q.join(w)
	if place == nil {
		return nil, ErrFull
	}
	timer := time.NewTimer(w.route.Queue.Timeout)
	defer timer.Stop()
	for {
		select {
		case <-w.served:
			return w.backend, w.err
		case <-q.poked:
			q.serve()
		case <-timer.C:
			if q.leave(place) {
				return nil, ErrQueueTimeout
			}
			return w.backend, w.err
		case <-ctx.Done():
			if !q.leave(place) && w.backend != nil {
				w.backend.Release()
			}
			return nil, ctx.Err()
		}
	}
}

// join gives the place of w in the queue, nil when there is none. What comes free from now on pokes
// the queue, what has come free since w looked is found here.
func (q *queue) join(w *waiter) *linked.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiters.Len() >= w.route.Queue.Size {
		return nil
	}
	place := q.waiters.PushBack(w)
	q.length.Add(1)
	if !slices.Contains(q.watched, w.route.candidates.Load()) {
		q.watchLocked()
	}
	q.serveLocked()
	return place
}

// leave reports whether the waiter at that place was still waiting.
func (q *queue) leave(place *linked.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-place.Value.(*waiter).served:
		return false
	default:
		q.removeLocked(place)
		return true
	}
}

// serve gives what there is to those who wait, in their order.
func (q *queue) serve() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.serveLocked()
}

func (q *queue) serveLocked() {
	var full *Route
	for place, next := q.waiters.Front(), (*linked.Element)(nil); place != nil; place = next {
		next = place.Next()
		w := place.Value.(*waiter)
		if w.route == full {
			continue
		}
		if w.backend = w.route.take(w.ask); w.backend == nil {
			if w.route.usableAtAll(w.ask) {
				// One that has tried some may have to let another pass, who can use those.
				if len(w.ask.Tried) == 0 {
					full = w.route
				}
				continue
			}
			w.err = ErrNoBackend
		}
		q.removeLocked(place)
		close(w.served)
	}
}

func (q *queue) removeLocked(place *linked.Element) {
	q.waiters.Remove(place)
	q.length.Add(-1)
	if q.waiters.Len() == 0 {
		q.watchLocked()
	}
}

// changed is for when a route has got other backends.
func (q *queue) changed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiters.Len() > 0 {
		q.watchLocked()
		q.serveLocked()
	}
}

// watchLocked has those backends poke that somebody waits for, and no others.
func (q *queue) watchLocked() {
	var needed []*candidates
	var last *Route
	for place := q.waiters.Front(); place != nil; place = place.Next() {
		if w := place.Value.(*waiter); w.route != last {
			last = w.route
			if c := w.route.candidates.Load(); !slices.Contains(needed, c) {
				needed = append(needed, c)
			}
		}
	}
	for _, c := range needed {
		if !slices.Contains(q.watched, c) {
			c.watch(q)
		}
	}
	for _, c := range q.watched {
		if !slices.Contains(needed, c) {
			c.unwatch(q)
		}
	}
	q.watched = needed
}

// poke has somebody serve, soon. It never blocks.
func (q *queue) poke() {
	select {
	case q.poked <- struct{}{}:
	default:
	}
}
