package routing

import (
	"errors"
	"testing"
	"time"
)

func TestKeepsAndWeight(t *testing.T) {
	backends := named(t, "http://app.test:9000", "http://10.0.0.1:9000", "http://10.0.0.2:9000", "http://10.0.0.3:9000", "https://app.test:9000")
	backends[1].Drain, backends[2].Backup, backends[3].Weight = true, true, 7
	table := reloaded(t, nil, RouteConfig{Backends: backends})
	r := table.Routes()[0]
	check := func(when string, b *Backend, keeps bool, weight int) {
		t.Helper()
		if r.Keeps(b) != keeps || r.Weight(b) != weight {
			t.Errorf("%s: Keeps(%s) = %v, Weight %d; want %v, %d", when, b.Addr, r.Keeps(b), r.Weight(b), keeps, weight)
		}
	}
	all := r.Backends()
	for i, tt := range []struct {
		keeps  bool
		weight int
	}{{true, 1}, {false, 0}, {true, 0}, {true, 7}, {true, 1}} {
		check("before an answer", all[i], tt.keeps, tt.weight)
	}
	table.Resolve(appName, answers(5, 6), time.Now())
	five := r.Backends()[0]
	check("an answer", five, true, 1)
	check("the name, once it has answers", all[0], true, 0)
	table.Resolve(appName, answers(6), time.Now())
	check("one that is gone", five, false, 0)
	check("another's", newBackend("x", "x:80", nil), false, 0)
	check("the same name with other TLS", newBackend("x", "app.test:9000", &BackendTLS{ServerName: "x"}), false, 0)
	r.Backends()[0].SetDraining(true)
	check("draining", r.Backends()[0], false, 1)
	backends[0].Drain = true
	r = reloaded(t, table, RouteConfig{Backends: backends}).Routes()[0]
	check("the name, drained", all[0], false, 0)
	check("its answer, drained", r.Backends()[0], false, 0)
}

// TestResolveWhileInUse is for the race detector, and for indexes that are out of date.
func TestResolveWhileInUse(t *testing.T) {
	table := reloaded(t, nil, RouteConfig{Backends: named(t, "http://app.test:9000", "http://10.0.0.1:9000"), Sticky: &StickyConfig{},
		SlowStart: time.Second, MaxLinks: 1, Queue: Queue{Size: 10, Timeout: time.Minute}})
	r := table.Routes()[0]
	stop := make(chan struct{})
	done := make(chan error)
	use := func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			b, err := r.Acquire(t.Context(), &Ask{})
			if err != nil {
				return err
			}
			if r.Pick(&Ask{}) == nil {
				return errors.New("Pick gives nothing")
			}
			for _, b := range table.Backends() {
				r.Keeps(b)
				r.Weight(b)
			}
			b.Release()
		}
	}
	for range 4 {
		go func() { done <- use() }()
	}
	for i := range 500 {
		table.Resolve(appName, answers(2, 3, 4, 5, 6)[:i%6], time.Now())
	}
	next := reloaded(t, table, RouteConfig{Backends: named(t, "http://app.test:9000")})
	table.Resolve(appName, answers(7), time.Now())
	next.Resolve(appName, answers(8), time.Now())
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for at, b := range table.places {
		if b.Links() != 0 {
			t.Errorf("%s has %d links in the end", at.addr, b.Links())
		}
	}
	checkUnwatched(t, r)
}
