package health

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a connection whose other end is gone with it.
func pipe() net.Conn {
	ours, theirs := net.Pipe()
	theirs.Close()
	return ours
}

// TestJitterStaysWithinItsBounds: the time from probe to probe is the interval give or take the share,
// and takes many values.
func TestJitterStaysWithinItsBounds(t *testing.T) {
	const interval, probes = 10 * time.Second, 500
	for _, tt := range []struct {
		name        string
		jitter      float64
		least, most time.Duration
	}{
		{"default", 0, 9 * time.Second, 11 * time.Second},
		{"half", 0.5, 5 * time.Second, 15 * time.Second},
		{"none", -1, interval, interval},
	} {
		synctest.Test(t, func(t *testing.T) {
			times := make(chan time.Time, probes)
			p := New(Config{Log: noLog})
			start := time.Now()
			p.Add(Target{Dial: func(time.Duration) (net.Conn, error) {
				select {
				case times <- time.Now():
				default:
				}
				return pipe(), nil
			}}, Check{Interval: interval, Jitter: tt.jitter})
			last := <-times
			if last != start {
				t.Errorf("%s: the first probe comes after %v, want at once", tt.name, last.Sub(start))
			}
			var waits []time.Duration
			for range probes - 1 {
				next := <-times
				waits = append(waits, next.Sub(last))
				last = next
			}
			p.Close()
			least, most := slices.Min(waits), slices.Max(waits)
			if least < tt.least || most > tt.most {
				t.Errorf("%s: waits are %v to %v, want %v to %v", tt.name, least, most, tt.least, tt.most)
			}
			if width := tt.most - tt.least; most-least < width*9/10 {
				t.Errorf("%s: waits are only %v to %v", tt.name, least, most)
			}
		})
	}
}

// TestManyTargetsAreSpread: 10,000 targets added at once are each probed within an interval, never many
// in the same moment; a few are probed at once.
func TestManyTargetsAreSpread(t *testing.T) {
	for _, tt := range []struct {
		targets, together int
		within            time.Duration
	}{
		{10_000, 20, 5 * time.Second},
		{3, 1, 20 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			at := make(map[time.Duration]int)
			start := time.Now()
			p := New(Config{Log: noLog})
			for range tt.targets {
				p.Add(Target{Dial: func(time.Duration) (net.Conn, error) {
					mu.Lock()
					defer mu.Unlock()
					at[time.Since(start)]++
					return pipe(), nil
				}}, Check{Interval: 5 * time.Second, Jitter: -1})
			}
			time.Sleep(tt.within)
			synctest.Wait()
			p.Close()
			probes, most := 0, 0
			for after, n := range at {
				if probes += n; after < 5*time.Second {
					most = max(most, n)
				}
			}
			if probes < tt.targets || most > tt.together || at[0] == 0 {
				t.Errorf("%d targets: %d probes within %v, up to %d together, %d at once", tt.targets, probes, tt.within, most, at[0])
			}
		})
	}
}

// TestProbesRunningAreBounded: however many are due, no more than allowed run, and all have their turn.
func TestProbesRunningAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets, allowed = 50, 4
		var running, most atomic.Int64
		probed := make([]atomic.Int64, targets)
		p := New(Config{Log: noLog, MaxConcurrent: allowed})
		for i := range targets {
			p.Add(Target{Dial: func(timeout time.Duration) (net.Conn, error) {
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(timeout) // it hangs
				running.Add(-1)
				probed[i].Add(1)
				return nil, timeoutError{}
			}}, Check{Interval: time.Second, Timeout: 2 * time.Second})
		}
		time.Sleep(2 * 2 * time.Second * (targets/allowed + 1))
		p.Close()
		if most.Load() != allowed {
			t.Errorf("%d probes run at a time, want %d", most.Load(), allowed)
		}
		for i := range probed {
			if n := probed[i].Load(); n < 2 || n > 3 {
				t.Errorf("target %d has been probed %d times, want 2 or 3", i, n)
			}
		}
	})
}

// TestProbeIsNeverRunTwice: one that outlasts its interval is waited for.
func TestProbeIsNeverRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int64
		ends := make(chan time.Time, 100)
		p := New(Config{Log: noLog})
		p.Add(Target{
			Dial: func(timeout time.Duration) (net.Conn, error) {
				if running.Add(1) > 1 {
					t.Error("two probes of a target at a time")
				}
				time.Sleep(timeout)
				running.Add(-1)
				return nil, timeoutError{}
			},
			Probed: func(r Result) { ends <- r.At.Add(r.Took) },
		}, Check{Interval: time.Second, Timeout: 5 * time.Second})
		first := <-ends
		if second := <-ends; second.Sub(first) != 5*time.Second {
			t.Errorf("the second probe ends %v after the first, want 5s", second.Sub(first))
		}
		p.Close()
	})
}

// TestRemoveTellsNothingMore: neither a probe that runs nor a later one is told of.
func TestRemoveTellsNothingMore(t *testing.T) {
	leavesNothing(t)
	asked := make(chan struct{}, 1)
	b := serve(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = br.ReadByte()
		asked <- struct{}{}
		silence(c, br)
	})
	p := New(Config{Log: noLog})
	defer p.Close()
	remove := p.Add(b.target(func(r Result) { t.Errorf("told %+v", r) }), Check{Kind: HTTP, Timeout: hung})
	await(t, asked)
	remove()
	remove()
	other := make(chan Result, 1)
	waiting := p.Add(b.target(nil), Check{Interval: time.Hour})
	p.Add(serve(t, answer("HTTP/1.1 200 OK\r\n\r\n")).target(func(r Result) { other <- r }), Check{Kind: HTTP, Interval: time.Hour})
	waiting()
	if r := await(t, other); !r.OK() {
		t.Errorf("the other target says %+v", r)
	}
}

// TestCloseCutsProbesShort: backends that hang, in whatever state, do not hold Close up, and no
// connection stays.
func TestCloseCutsProbesShort(t *testing.T) {
	leavesNothing(t)
	const each = 8
	asked := make(chan struct{}, 4*each)
	gone := make(chan struct{}, 4*each)
	hang := func(c net.Conn, br *bufio.Reader) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, br)
		gone <- struct{}{}
	}
	p := New(Config{Log: noLog})
	for _, b := range []*backend{
		serve(t, func(c net.Conn, br *bufio.Reader) {
			_, _ = br.Peek(1)
			hang(c, br)
		}),
		serveTLS(t, func(c net.Conn, br *bufio.Reader) {
			_, _ = br.Peek(1)
			hang(c, br)
		}),
		serve(t, shake(nil, hang)),
		serve(t, func(c net.Conn, br *bufio.Reader) {
			answer("HTTP/1.1 200 OK\r\n\r\n")(c, br)
			hang(c, br)
		}),
	} {
		for i := range each {
			kind := HTTP
			if i%2 == 1 {
				kind = WebSocket
			}
			p.Add(b.target(nil), Check{Kind: kind, Timeout: time.Hour, Body: "ok"})
		}
	}
	// Of the third and the fourth backend those that get the answer to the other kind see it end at once.
	for range 4 * each {
		await(t, asked)
	}
	p.Close()
	for range 4 * each {
		await(t, gone)
	}
	if remove := p.Add(Target{Dial: func(time.Duration) (net.Conn, error) {
		t.Error("dialled after Close")
		return nil, io.EOF
	}}, Check{}); remove == nil {
		t.Error("Add after Close gives no remove")
	}
}

// TestChurnOfTargets adds and removes while probes run, of backends of every kind.
func TestChurnOfTargets(t *testing.T) {
	leavesNothing(t)
	backends := []*backend{
		serve(t, answer("HTTP/1.1 200 OK\r\n\r\n")), serve(t, silence), serve(t, shake(nil, pong("", 3))),
		serve(t, func(net.Conn, *bufio.Reader) {}),
	}
	p := New(Config{Log: noLog, MaxConcurrent: 16})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 50 {
				told := make(chan struct{}, 1)
				remove := p.Add(backends[(i+j)%len(backends)].target(func(Result) {
					select {
					case told <- struct{}{}:
					default:
					}
				}), Check{Kind: Kind(j % 3), Interval: time.Millisecond, Timeout: 5 * time.Millisecond})
				if j%2 == 0 {
					<-told
				}
				remove()
			}
		})
	}
	all.Wait()
	p.Close()
}
