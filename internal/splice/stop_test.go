package splice

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
)

func TestStopCutsOffWhatDoesNotAnswer(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.newEngine(t, forGood)
		polite, silent := s.join(t, e, Spec{}), []*rig{s.join(t, e, Spec{}), s.join(t, e, Spec{})}
		part := wire(fin|binaryData, fromClient, make([]byte, 1000))[:500]
		send(t, silent[1].client, part)
		expect(t, silent[1].backend, part)

		e.Drain()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		cut := make(chan int, 1)
		go func() { cut <- e.Stop(ctx) }()
		polite.expectGoingAway()
		polite.answer()
		silent[0].expectGoingAway()
		eventually(t, "two links are open", func() bool { return e.Stats().Open == 2 })
		cancel()
		if got := <-cut; got != 2 {
			t.Errorf("Stop cut off %d links, want 2", got)
		}
		for _, r := range silent {
			if got := r.calls.Load(); got != 1 {
				t.Errorf("Ended called %d times when Stop returned, want 1", got)
			}
			checkCause(t, r.result(), Drained)
		}
		for _, far := range []End{silent[0].client, silent[0].backend, silent[1].client, silent[1].backend} {
			if _, err := io.Copy(io.Discard, far); isTimeout(err) {
				t.Errorf("an end of a link that was cut off is open")
			}
		}
	})
}

func TestStopWithoutDrainCutsOffIdleLinks(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.newEngine(t, forGood)
		r := s.join(t, e, Spec{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if got := e.Stop(ctx); got != 1 {
			t.Errorf("Stop cut off %d links, want 1", got)
		}
		checkCause(t, r.result(), Drained)
	})
}

func TestStoppedEngineClosesWhatItIsGiven(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.newEngine(t, Config{})
		r, spec := s.pairs(t, e, Spec{})
		if got := e.Stop(context.Background()); got != 0 {
			t.Errorf("Stop without a link cut off %d, want 0", got)
		}
		if err := e.Splice(spec); !errors.Is(err, ErrStopped) {
			t.Errorf("Splice after Stop: %v, want %v", err, ErrStopped)
		}
		expectEnd(t, r.client)
		expectEnd(t, r.backend)
		if got := r.calls.Load(); got != 0 {
			t.Errorf("Ended called %d times, want 0", got)
		}
		if got, want := e.Stats(), (Stats{}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
	})
}

// Splice has counted a link, and before the driver has it, Stop cuts all links off.
func TestLinkOnItsWayIsCutOffWithTheOthers(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		for _, d := range e.drivers() {
			d.abort()
		}
		r := s.join(t, e, Spec{FromClient: wire(fin|text, fromClient, []byte("early"))})
		checkCause(t, r.result(), Drained)
		expectGone(t, r.client)
		expectGone(t, r.backend)
	})
}

func expectGone(t *testing.T, far End) {
	t.Helper()
	buf := make([]byte, 100)
	for {
		if _, err := far.Read(buf); isTimeout(err) {
			t.Error("an end of a link that was cut off is open")
			return
		} else if err != nil {
			return
		}
	}
}

// Links are made, ended and drained from several goroutines while the engine is stopped.
func TestStopAmidEverything(t *testing.T) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			s := setup{driver: d.driver}
			for range 10 {
				e := s.newEngine(t, forGood)
				const callers, each = 4, 10
				var wg sync.WaitGroup
				var done atomic.Int64
				for range callers {
					var rigs [each]*rig
					var specs [each]Spec
					for i := range each {
						rigs[i], specs[i] = s.pairs(t, e, Spec{})
					}
					wg.Go(func() {
						for i, spec := range specs {
							if err := e.Splice(spec); errors.Is(err, ErrStopped) {
								rigs[i].calls.Add(1) // it is not called
							}
							if i%2 == 0 {
								_, _ = rigs[i].client.Write(wireClose(fromClient, 1000, ""))
							}
							done.Add(1)
						}
					})
					defer func() {
						for _, r := range rigs {
							if got := r.calls.Load(); got != 1 {
								t.Errorf("Ended called %d times for a link, want 1", got)
							}
							r.client.Close()
							r.backend.Close()
						}
					}()
				}
				wg.Go(func() {
					for done.Load() < callers*each {
						e.Drain()
					}
				})
				ctx, cancel := context.WithCancel(context.Background())
				eventually(t, "some links have been made", func() bool { return done.Load() > 5 })
				cancel()
				e.Stop(ctx)
				if got := e.Stats().Open; got != 0 {
					t.Errorf("%d links are open behind Stop, want 0", got)
				}
				wg.Wait()
			}
		})
	}
}
