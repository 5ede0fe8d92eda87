package splice

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/sock"
)

// ways are how links end in the churn, and the causes that a Result may name for each. An end that
// breaks can be seen to have gone by a read or by a write, whatever else was under way.
var ways = []struct {
	name   string
	end    func(r *rig)
	causes []Cause
}{
	{"client closes", func(r *rig) {
		send(r.t, r.client, wireClose(fromClient, 1000, ""))
	}, []Cause{ClientClosed}},
	{"backend closes", func(r *rig) {
		send(r.t, r.backend, wireClose(fromBackend, 1000, ""))
		_ = r.backend.CloseWrite()
	}, []Cause{BackendClosed}},
	{"both close", func(r *rig) {
		send(r.t, r.client, wireClose(fromClient, 1000, ""))
		send(r.t, r.backend, wireClose(fromBackend, 1000, ""))
	}, []Cause{ClientClosed, BackendClosed}},
	{"client leaves", func(r *rig) { r.client.Close() }, []Cause{ClientGone}},
	{"backend leaves", func(r *rig) { r.backend.Close() }, []Cause{BackendGone}},
	{"both leave", func(r *rig) {
		r.client.Close()
		r.backend.Close()
	}, []Cause{ClientGone, BackendGone}},
	{"client half-closes", func(r *rig) { _ = r.client.CloseWrite() }, []Cause{ClientGone}},
	{"backend half-closes", func(r *rig) { _ = r.backend.CloseWrite() }, []Cause{BackendGone}},
	{"client resets", func(r *rig) { sock.Cut(r.client) }, []Cause{ClientReset}},
	{"backend resets", func(r *rig) { sock.Cut(r.backend) }, []Cause{BackendReset}},
	{"client leaves in mid-frame", func(r *rig) {
		send(r.t, r.client, wire(fin|text, fromClient, []byte("unfinished"))[:9])
		r.client.Close()
	}, []Cause{ClientGone}},
	{"backend resets in mid-frame", func(r *rig) {
		send(r.t, r.backend, wire(fin|text, fromBackend, []byte("unfinished"))[:5])
		sock.Cut(r.backend)
	}, []Cause{BackendReset}},
	{"client resets under its backend's flood", func(r *rig) {
		message := wire(fin|binaryData, fromBackend, make([]byte, 50_000))
		send(r.t, r.backend, message)
		sock.Cut(r.client)
		_, _ = r.backend.Write(message)
	}, []Cause{ClientReset, ClientGone}},
	{"client sends noise", func(r *rig) {
		send(r.t, r.client, []byte("GET / HTTP/1.1\r\n\r\n"))
	}, []Cause{ClientViolation}},
	{"backend sends noise", func(r *rig) {
		send(r.t, r.backend, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	}, []Cause{BackendViolation}},
}

func TestChurnLeavesNothingBehind(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		rng := newRand(t)
		s.open(t, forGood).over() // what the first link makes for good is made
		goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)

		const links, atOnce, left = 300, 40, 10
		e := s.newEngine(t, Config{FinTimeout: 20 * time.Millisecond, CloseTimeout: 50 * time.Millisecond})
		var all, live []*rig
		var reaps []func() // for the links that are ending, oldest first
		for len(all) < links || len(live) > left {
			switch act := rng.IntN(3); {
			case act == 0 && len(all) < links && len(live) < atOnce:
				r := s.join(t, e, Spec{})
				all, live = append(all, r), append(live, r)
			case act == 1 && len(live) > 0:
				live[rng.IntN(len(live))].exchange(rng)
			case act == 2 && len(live) > left:
				i, way := rng.IntN(len(live)), ways[rng.IntN(len(ways))]
				r := live[i]
				live = slices.Delete(live, i, i+1)
				way.end(r)
				reaps = append(reaps, func() {
					if res := r.result(); !slices.Contains(way.causes, res.Cause) {
						t.Errorf("%s: Cause = %q, want one of %q", way.name, res.Cause, way.causes)
					}
					r.client.Close()
					r.backend.Close()
				})
			}
			if len(reaps) > atOnce {
				reaps[0]()
				reaps = reaps[1:]
			}
		}
		for _, reap := range reaps {
			reap()
		}

		eventually(t, "only idle links are open", func() bool { return e.Stats().Open == left })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if got := e.Stop(ctx); got != left {
			t.Errorf("Stop cut off %d links, want %d", got, left)
		}
		for _, r := range all {
			if got := r.calls.Load(); got != 1 {
				t.Errorf("Ended called %d times for a link, want 1", got)
			}
			r.client.Close()
			r.backend.Close()
		}
		if got, want := e.Stats(), (Stats{Opened: links}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
		eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "as many descriptors as before", func() bool { return openDescriptors(t) <= descriptors })
	})
}

// exchange sends frames both ways at once and verifies them.
func (r *rig) exchange(rng *rand.Rand) {
	r.t.Helper()
	up, _ := randomStream(rng, fromClient, randomSizes(rng, rng.IntN(6), 70_000))
	down, _ := randomStream(rng, fromBackend, randomSizes(rng, rng.IntN(6), 70_000))
	var wg sync.WaitGroup
	wg.Go(func() { send(r.t, r.client, up) })
	wg.Go(func() { send(r.t, r.backend, down) })
	wg.Go(func() { expect(r.t, r.client, down) })
	wg.Go(func() { expect(r.t, r.backend, up) })
	wg.Wait()
}

// openDescriptors is how many this process has; 0 where the system does not tell.
func openDescriptors(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
