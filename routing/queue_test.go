package routing

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// queued is what Acquire has given to one who waited.
type queued struct {
	who     int
	backend *Backend
	err     error
	after   time.Duration
}

// wait calls Acquire in the background, and comes back when it waits or is done. For a synctest bubble.
func wait(r *Route, ctx context.Context, ask *Ask, who int, done chan<- queued) {
	begin := time.Now()
	go func() {
		b, err := r.Acquire(ctx, ask)
		done <- queued{who, b, err, time.Since(begin)}
	}()
	synctest.Wait()
}

// checkUnwatched: who waits no longer leaves nothing behind.
func checkUnwatched(t *testing.T, routes ...*Route) {
	t.Helper()
	for _, r := range routes {
		if n := r.Waiting(); n != 0 || r.queue.waiters.Len() != 0 || len(r.queue.watched) != 0 {
			t.Errorf("%s: %d still wait, with %d sets of backends watched", r.Name, n, len(r.queue.watched))
		}
		for _, b := range r.Backends() {
			if b.waits.Load() != 0 || len(b.queues) != 0 {
				t.Errorf("%s: %d queues still watch it", b.URL, len(b.queues))
			}
		}
	}
}

func TestAcquireHeedsLimits(t *testing.T) {
	for _, balance := range allBalances {
		rc := RouteConfig{Balance: balance, Backends: abc(1, 2, 3), MaxLinks: 2}
		rc.Backends[1].MaxLinks = 5
		rc.Backends[2].MaxLinks, rc.Backends[2].Backup = -1, true
		if balance == Hash {
			rc.HashKey.ClientIP = true
		}
		r := newTestRoute(t, rc)
		for range 20 {
			if _, err := r.Acquire(t.Context(), &Ask{}); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []int64{2, 5, 13} {
			if got := r.Backends()[i].Links(); got != want {
				t.Errorf("%s: backend %d has %d links, want %d", balance, i, got, want)
			}
		}
	}
}

func TestAcquireErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		queue  int
		before func(b []*Backend, ask *Ask)
		want   error
	}{
		{"all is well", 0, func([]*Backend, *Ask) {}, nil},
		{"all full", 0, func(b []*Backend, _ *Ask) { b[0].Acquire(); b[1].Acquire() }, ErrFull},
		{"full or unhealthy", 0, func(b []*Backend, _ *Ask) { b[0].Acquire(); b[1].SetHealthy(false, time.Now()) }, ErrFull},
		{"all unhealthy", 0, func(b []*Backend, _ *Ask) {
			b[0].SetHealthy(false, time.Now())
			b[1].SetHealthy(false, time.Now())
		}, ErrNoBackend},
		{"unhealthy or draining, with a queue", 1, func(b []*Backend, _ *Ask) {
			b[0].SetHealthy(false, time.Now())
			b[1].SetDraining(true)
		}, ErrNoBackend},
		{"all tried, with a queue", 1, func(b []*Backend, ask *Ask) { ask.Tried = b }, ErrNoBackend},
	} {
		r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), MaxLinks: 1, Queue: Queue{Size: tt.queue}})
		ask := &Ask{}
		tt.before(r.Backends(), ask)
		if b, err := r.Acquire(t.Context(), ask); !errors.Is(err, tt.want) || (b == nil) != (err != nil) {
			t.Errorf("%s: Acquire = %v, %v, want %v", tt.name, b, err, tt.want)
		}
		checkUnwatched(t, r)
	}
}

func TestQueueIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), MaxLinks: 1, Queue: Queue{Size: 5}})
		a, b := r.Backends()[0], r.Backends()[1]
		a.Acquire()
		b.Acquire()
		done := make(chan queued, 10)
		for i := range 5 {
			wait(r, t.Context(), &Ask{}, i, done)
		}
		if r.Waiting() != 5 || len(done) != 0 {
			t.Fatalf("%d wait, %d are done, want 5 and none", r.Waiting(), len(done))
		}
		if _, err := r.Acquire(t.Context(), &Ask{}); !errors.Is(err, ErrFull) {
			t.Errorf("Acquire with a full queue = %v, want ErrFull", err)
		}
		for i := range 5 {
			freed := []*Backend{a, b}[i%2]
			freed.Release()
			synctest.Wait()
			if got := <-done; got.who != i || got.backend != freed || got.err != nil {
				t.Errorf("slot %d, on %s, goes to %d with %v, %v", i, freed.URL, got.who, got.backend, got.err)
			}
			if len(done) != 0 {
				t.Fatalf("one slot for more than one")
			}
		}
		checkUnwatched(t, r)
	})
}

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1), MaxLinks: 1, Queue: Queue{Size: 5, Timeout: 2 * time.Second}})
		b := r.Backends()[0]
		b.Acquire()
		done := make(chan queued, 10)
		ctx, cancel := context.WithCancel(t.Context())
		wait(r, t.Context(), &Ask{}, 0, done)
		time.Sleep(time.Second)
		wait(r, ctx, &Ask{}, 1, done)
		wait(r, t.Context(), &Ask{}, 2, done)
		if got := <-done; got.who != 0 || !errors.Is(got.err, ErrQueueTimeout) || got.after != 2*time.Second {
			t.Errorf("first is %+v, want ErrQueueTimeout of the first after 2s", got)
		}
		cancel()
		if got := <-done; got.who != 1 || !errors.Is(got.err, context.Canceled) {
			t.Errorf("then %+v, want that of the context", got)
		}
		b.Release()
		if got := <-done; got.who != 2 || got.backend != b {
			t.Errorf("then %+v, want a slot for the last", got)
		}
		checkUnwatched(t, r)
		if b.Links() != 1 {
			t.Errorf("Links = %d, want 1", b.Links())
		}
	})
}

// TestQueueWakesOnChange: a slot is not all that one may wait for.
func TestQueueWakesOnChange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(b []*Backend)
		change func(r *Route, b []*Backend)
		want   string // the backend, empty for ErrNoBackend
	}{
		{"one becomes healthy", func(b []*Backend) { b[1].SetHealthy(false, time.Now()) },
			func(_ *Route, b []*Backend) { b[1].SetHealthy(true, time.Now()) }, "b"},
		{"one drains no more", func(b []*Backend) { b[1].SetDraining(true) },
			func(_ *Route, b []*Backend) { b[1].SetDraining(false) }, "b"},
		{"all become unhealthy", func(b []*Backend) { b[1].Acquire() }, func(_ *Route, b []*Backend) {
			b[0].SetHealthy(false, time.Now())
			b[1].SetHealthy(false, time.Now())
		}, ""},
		{"all drain", func(b []*Backend) { b[1].Acquire() }, func(_ *Route, b []*Backend) {
			b[0].SetDraining(true)
			b[1].SetDraining(true)
		}, ""},
		{"another backend", func(b []*Backend) { b[1].Acquire() }, func(r *Route, b []*Backend) {
			r.setBackends([]member{{backend: newBackend("c", "c:80", nil), weight: 1, maxLinks: 1}})
		}, "c"},
		{"a slot on another backend", func(b []*Backend) { b[1].Acquire() }, func(r *Route, b []*Backend) {
			c := newBackend("c", "c:80", nil)
			c.Acquire()
			r.setBackends([]member{{backend: c, weight: 1, maxLinks: 1}})
			synctest.Wait()
			c.Release()
		}, "c"},
		{"a larger limit", func(b []*Backend) { b[1].Acquire() }, func(r *Route, b []*Backend) {
			r.setBackends([]member{{backend: b[0], weight: 1, maxLinks: 2}})
		}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), MaxLinks: 1, Queue: Queue{Size: 1, Timeout: time.Hour}})
				backends := r.Backends()
				backends[0].Acquire()
				tt.before(backends)
				done := make(chan queued, 1)
				wait(r, t.Context(), &Ask{}, 0, done)
				if r.Waiting() != 1 {
					t.Fatalf("%d wait, want 1", r.Waiting())
				}
				tt.change(r, backends)
				got := <-done
				if got.after != 0 || tt.want == "" && !errors.Is(got.err, ErrNoBackend) ||
					tt.want != "" && (got.err != nil || got.backend.URL != tt.want) {
					t.Errorf("Acquire = %+v, want %q at once", got, tt.want)
				}
				checkUnwatched(t, r)
				for _, b := range backends {
					if len(b.queues) != 0 {
						t.Errorf("%s is still watched", b.URL)
					}
				}
			})
		})
	}
}

// TestQueueLetsOthersPass: who cannot use the slot that is free does not keep it from the next.
func TestQueueLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), MaxLinks: 1, Queue: Queue{Size: 5}})
		a, b := r.Backends()[0], r.Backends()[1]
		a.Acquire()
		b.Acquire()
		done := make(chan queued, 10)
		wait(r, t.Context(), &Ask{Tried: []*Backend{a}}, 0, done)
		wait(r, t.Context(), &Ask{}, 1, done)
		a.Release()
		if got := <-done; got.who != 1 || got.backend != a {
			t.Errorf("the slot of a goes to %+v, want the second", got)
		}
		b.Release()
		if got := <-done; got.who != 0 || got.backend != b {
			t.Errorf("the slot of b goes to %+v, want the first", got)
		}
		checkUnwatched(t, r)
	})
}

// TestQueueOutlivesAReload: who waited at the old table goes before who came to the new one.
func TestQueueOutlivesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := &Config{Routes: []RouteConfig{{Backends: abc(1), MaxLinks: 1, Queue: Queue{Size: 5}}}}
		first, err := NewTable(cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		second, err := NewTable(cfg, nil, first)
		if err != nil {
			t.Fatal(err)
		}
		b := first.Backends()[0]
		b.Acquire()
		done := make(chan queued, 10)
		wait(first.Routes()[0], t.Context(), &Ask{}, 0, done)
		wait(second.Routes()[0], t.Context(), &Ask{}, 1, done)
		wait(first.Routes()[0], t.Context(), &Ask{}, 2, done)
		for i := range 3 {
			b.Release()
			if got := <-done; got.who != i || got.backend != b {
				t.Errorf("slot %d goes to %+v", i, got)
			}
		}
		checkUnwatched(t, first.Routes()[0], second.Routes()[0])
	})
}

// TestNobodyPassesTheQueue: a slot that is free for a moment belongs to who waits.
func TestNobodyPassesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1), MaxLinks: 1, Queue: Queue{Size: 5}})
		b := r.Backends()[0]
		b.Acquire()
		done := make(chan queued, 1)
		wait(r, t.Context(), &Ask{}, 0, done)
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		b.Release()
		if got, err := r.Acquire(impatient, &Ask{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Acquire of a newcomer = %v, %v, want that of its context", got, err)
		}
		if got := <-done; got.backend != b {
			t.Errorf("who waited has %+v, want the slot", got)
		}
		checkUnwatched(t, r)
	})
}

// TestSlotFreedBeforeTheQueueWatches: who finds all full may come to the queue when they are no longer,
// and nobody will say so.
func TestSlotFreedBeforeTheQueueWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1), MaxLinks: 1, Queue: Queue{Size: 1}})
		b, err := r.queue.wait(t.Context(), &waiter{route: r, ask: &Ask{}, served: make(chan struct{})})
		if b != r.Backends()[0] || err != nil {
			t.Errorf("wait with a free slot = %v, %v", b, err)
		}
		checkUnwatched(t, r)
	})
}

// TestSlotForOneWhoLeaves: a slot given to somebody whose context has just ended goes to the next.
func TestSlotForOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRoute(t, RouteConfig{Backends: abc(1), MaxLinks: 1, Queue: Queue{Size: 5}})
		b := r.Backends()[0]
		for range 200 { // it depends on who is first
			b.Acquire()
			done := make(chan queued, 2)
			ctx, cancel := context.WithCancel(t.Context())
			wait(r, ctx, &Ask{}, 0, done)
			wait(r, t.Context(), &Ask{}, 1, done)
			b.Release()
			r.queue.serve()
			cancel()
			synctest.Wait()
			got := <-done
			if got.who == 0 && got.err == nil {
				b.Release()
				got = <-done
			} else if got.who == 0 {
				got = <-done
			}
			if got.who != 1 || got.backend != b {
				t.Fatalf("the second has %+v, want the slot", got)
			}
			b.Release()
			if b.Links() != 0 {
				t.Fatalf("Links = %d in the end, want 0", b.Links())
			}
		}
		checkUnwatched(t, r)
	})
}
