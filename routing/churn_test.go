package routing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestQueueChurn: with fewer slots than there are who want one, nobody is forgotten, nothing is given
// out twice, and all is back in the end.
func TestQueueChurn(t *testing.T) {
	const workers, rounds, maxLinks = 32, 400, 2
	rc := func(path string) RouteConfig {
		return RouteConfig{Path: path, Backends: abc(1, 2, 3), Balance: LeastConnections, MaxLinks: maxLinks,
			Queue: Queue{Size: workers, Timeout: time.Minute}}
	}
	table, err := NewTable(&Config{Routes: []RouteConfig{rc("/a"), rc("/b")}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	routes, backends := table.Routes(), table.Backends()
	var got, cancelled atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(i)))
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(4) == 0 {
					time.AfterFunc(time.Duration(random.IntN(200))*time.Microsecond, cancel)
				}
				ask := &Ask{}
				if random.IntN(4) == 0 {
					ask.Tried = backends[:1+random.IntN(2)]
				}
				b, err := routes[i%2].Acquire(ctx, ask)
				switch {
				case err == nil:
					if n := b.Links(); n < 1 || n > maxLinks {
						t.Errorf("%s has %d links, want 1 to %d", b.URL, n, maxLinks)
					}
					got.Add(1)
					b.Release()
				case errors.Is(err, context.Canceled):
					cancelled.Add(1)
				default:
					t.Errorf("Acquire = %v; no slot is held for long", err)
				}
				cancel()
			}
		})
	}
	stop := make(chan struct{})
	flapping := make(chan struct{})
	go func() {
		defer close(flapping)
		for i := 0; ; i++ {
			select {
			case <-stop:
				backends[0].SetHealthy(true, time.Now())
				return
			default:
				backends[0].SetHealthy(i%2 == 0, time.Now())
				runtime.Gosched()
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-flapping
	if n := got.Load() + cancelled.Load(); n != workers*rounds {
		t.Errorf("%d got a slot or gave up, want %d", n, workers*rounds)
	}
	for _, b := range backends {
		if b.Links() != 0 {
			t.Errorf("%s has %d links in the end", b.URL, b.Links())
		}
	}
	checkUnwatched(t, routes...)
}

// TestLinksSurviveReloads opens and closes links at random on whatever table there is, while tables
// come whose routes, weights and backends differ: what is counted is what is open.
func TestLinksSurviveReloads(t *testing.T) {
	const links, reloads = 10_000, 20
	random := rand.New(rand.NewPCG(7, 8))
	backends := abc(1, 1, 1, 1, 1, 1)
	open := make(map[string][]*Backend) // by address
	total := 0
	var table *Table
	for step := range links {
		if step%(links/reloads) == 0 {
			cfg := &Config{}
			for i := range 3 {
				rc := RouteConfig{Path: fmt.Sprintf("/%d", i), Balance: allBalances[random.IntN(3)], Sticky: &StickyConfig{}}
				for _, j := range random.Perm(len(backends))[:2+random.IntN(4)] {
					bc := backends[j]
					bc.Weight = 1 + random.IntN(10)
					rc.Backends = append(rc.Backends, bc)
				}
				cfg.Routes = append(cfg.Routes, rc)
			}
			next, err := NewTable(cfg, nil, table)
			if err != nil {
				t.Fatal(err)
			}
			table = next
		}
		if total > 0 && random.IntN(2) == 0 {
			for addr, of := range open { // any
				if n := len(of); n > 0 {
					of[n-1].Release()
					open[addr] = of[:n-1]
					total--
					break
				}
			}
			continue
		}
		b, err := table.Routes()[random.IntN(3)].Acquire(t.Context(), &Ask{})
		if err != nil {
			t.Fatal(err)
		}
		open[b.Addr] = append(open[b.Addr], b)
		total++
		if got := b.Links(); got != int64(len(open[b.Addr])) {
			t.Fatalf("step %d: %s has %d links, want %d", step, b.Addr, got, len(open[b.Addr]))
		}
	}
	for _, b := range table.Backends() {
		if got := b.Links(); got != int64(len(open[b.Addr])) {
			t.Errorf("%s has %d links in the end, want %d", b.Addr, got, len(open[b.Addr]))
		}
	}
	for _, of := range open {
		for _, b := range of {
			b.Release()
		}
	}
	for at, b := range table.places {
		if b.Links() != 0 {
			t.Errorf("%s has %d links when all are closed", at.addr, b.Links())
		}
	}
}

// TestLinksSurviveAnswers is TestLinksSurviveReloads with names, whose answers change between the reloads:
// what is counted is what is open, and nobody is remembered for nothing.
func TestLinksSurviveAnswers(t *testing.T) {
	const steps, reloads = 10_000, 20
	random := rand.New(rand.NewPCG(9, 10))
	backends := named(t, "http://a.test:9000", "http://b.test:9000", "srv+http://_ws._tcp.c.test", "https://a.test:9000", "http://10.0.0.1:9000")
	var open []*Backend
	count := make(map[*Backend]int64)
	var table *Table
	for step := range steps {
		if step%(steps/reloads) == 0 {
			cfg := &Config{}
			for i := range 3 {
				rc := RouteConfig{Path: fmt.Sprintf("/%d", i), Balance: allBalances[random.IntN(3)], HostHeader: HostHeader{Backend: i == 2}}
				for _, j := range random.Perm(len(backends))[:1+random.IntN(4)] {
					bc := backends[j]
					bc.Weight = 1 + random.IntN(10)
					rc.Backends = append(rc.Backends, bc)
				}
				cfg.Routes = append(cfg.Routes, rc)
			}
			next, err := NewTable(cfg, nil, table)
			if err != nil {
				t.Fatal(err)
			}
			table = next
		}
		if names := table.Names(); step%10 == 0 && len(names) > 0 {
			table.Resolve(names[random.IntN(len(names))], answers(random.Perm(10)[:random.IntN(5)]...), time.Now())
		}
		if len(open) > 0 && random.IntN(2) == 0 {
			i := random.IntN(len(open))
			b := open[i]
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
			b.Release()
			count[b]--
			continue
		}
		b, err := table.Routes()[random.IntN(3)].Acquire(t.Context(), &Ask{})
		if errors.Is(err, ErrNoBackend) {
			continue // a name without an address
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, b)
		if count[b]++; b.Links() != count[b] {
			t.Fatalf("step %d: %s has %d links, want %d", step, b.Addr, b.Links(), count[b])
		}
	}
	// Whoever has links is found again by its place, and is there once.
	known := make(map[*Backend]bool)
	for _, b := range table.places {
		known[b] = true
	}
	for b, n := range count {
		if b.Links() != n {
			t.Errorf("%s has %d links, want %d", b.Addr, b.Links(), n)
		}
		if n > 0 && !known[b] {
			t.Errorf("%s has %d links, and the table does not know it", b.Addr, n)
		}
	}
	for _, b := range open {
		b.Release()
		count[b]--
	}
	for b, n := range count {
		if n != 0 || b.Links() != 0 {
			t.Errorf("%s has %d links when all are closed, %d counted", b.Addr, b.Links(), n)
		}
	}
	next, err := NewTable(&Config{Routes: []RouteConfig{{Backends: abc(1)}}}, nil, table)
	if err == nil {
		next, err = NewTable(&Config{Routes: []RouteConfig{{Backends: abc(1)}}}, nil, next)
	}
	if err != nil || len(next.places) != 1 || len(next.resolved) != 0 {
		t.Errorf("in the end %d backends are remembered, want 1 (%v)", len(next.places), err)
	}
}
