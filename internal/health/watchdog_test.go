package health

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watch is a Watchdog with its own time, and what it has told.
type watch struct {
	*Watchdog
	start, now time.Time
	told       []string
	seen       int
}

func newWatch(cfg Passive) *watch {
	start := time.Unix(1000, 0)
	w := &watch{start: start, now: start}
	w.Watchdog = NewWatchdog(cfg, func(up bool, reason, by string, now time.Time) {
		w.told = append(w.told, fmt.Sprintf("%v %s %s", up, by, reason))
	})
	return w
}

// at sets the clock.
func (w *watch) at(seconds float64) time.Time {
	w.now = w.start.Add(time.Duration(seconds * float64(time.Second)))
	return w.now
}

// fails makes a request that fails within the moment.
func (w *watch) fails(seconds float64, kind Failure) {
	now := w.at(seconds)
	w.Failed(now, now, kind)
}

// expect checks whether the backend is usable, and what has been told since the last time.
func (w *watch) expect(t *testing.T, usable bool, told ...string) {
	t.Helper()
	if got := w.Usable(w.now); got != usable {
		t.Errorf("Usable at %v = %v, want %v", w.now.Sub(w.start), got, usable)
	}
	if got := w.told[w.seen:]; len(got)+len(told) > 0 && !reflect.DeepEqual(got, told) {
		t.Errorf("told until %v: %q, want %q", w.now.Sub(w.start), got, told)
	}
	w.seen = len(w.told)
}

func TestFailuresInARowTakeABackendOut(t *testing.T) {
	w := newWatch(Passive{})
	w.fails(0, FailedDial)
	w.fails(1, FailedDial)
	w.expect(t, true)
	w.Succeeded(w.at(2))
	w.fails(3, FailedDial)
	w.fails(4, TimedOut)
	w.expect(t, true)
	// The window slides: of three failures only those of the last ten seconds count.
	w.fails(14, FailedDial)
	w.expect(t, true)
	w.fails(14.5, BadAnswer)
	w.expect(t, true)
	w.fails(15, BadAnswer)
	w.expect(t, false, "false traffic 3 failures in a row, the last a bad answer")
	if failures, until := w.standing(); failures != 0 || until != w.start.Add(20*time.Second) {
		t.Errorf("standing = %d, %v", failures, until)
	}

	w = newWatch(Passive{Failures: 1})
	w.fails(0, TimedOut)
	w.expect(t, false, "false traffic timeout")

	w = newWatch(Passive{Failures: -1})
	for range 100 {
		w.fails(0, FailedDial)
		w.Ended(w.now, w.now, true)
	}
	w.expect(t, true)
}

func TestPausesGrowUntilSomethingSucceeds(t *testing.T) {
	w := newWatch(Passive{Failures: 2, Pause: 5 * time.Second, MaxPause: 15 * time.Second})
	now := 0.0
	w.fails(now, FailedDial)
	w.fails(now, FailedDial)
	w.expect(t, false, "false traffic failed dial, 2 times in a row")
	for _, pause := range []float64{5, 10, 15, 15} {
		w.at(now + pause - 0.001)
		w.expect(t, false)
		now += pause
		if w.at(now); !w.Admit(w.now) {
			t.Fatalf("nothing is let through after %v", pause)
		}
		// One at a time.
		w.expect(t, false)
		if w.Admit(w.now) {
			t.Fatalf("two are let through after %v", pause)
		}
		w.fails(now, FailedDial)
		w.expect(t, false)
	}
	begun := w.at(now + 15)
	w.Admit(begun)
	w.Succeeded(w.at(now + 16))
	w.expect(t, true, "true traffic request succeeded after a pause of 15s")
	w.fails(now+17, FailedDial)
	w.fails(now+17, FailedDial)
	w.expect(t, false, "false traffic failed dial, 2 times in a row")
	if _, until := w.standing(); until.Sub(w.now) != 5*time.Second {
		t.Errorf("the pause after a success is %v, want 5s", until.Sub(w.now))
	}
}

func TestTrialThatIsAbandonedOrForgotten(t *testing.T) {
	w := newWatch(Passive{Failures: 1})
	w.fails(0, FailedDial)
	w.expect(t, false, "false traffic failed dial")
	begun := w.at(5)
	w.expect(t, true)
	w.Admit(begun)
	w.at(6)
	w.expect(t, false)
	w.Abandoned(w.start) // another's
	w.expect(t, false)
	w.Abandoned(begun)
	w.expect(t, true)
	w.Admit(w.now)
	w.at(6 + trialTimeout.Seconds() - 1)
	w.expect(t, false)
	w.at(6 + trialTimeout.Seconds())
	w.expect(t, true)
}

// TestStragglersSayNothing: what began before the backend went out, or was sent to it while it was out,
// neither makes its pause longer nor ends it.
func TestStragglersSayNothing(t *testing.T) {
	w := newWatch(Passive{Failures: 2})
	early := w.at(0)
	w.fails(1, FailedDial)
	w.fails(1, FailedDial)
	w.expect(t, false, "false traffic failed dial, 2 times in a row")
	for range 10 {
		w.Failed(early, w.at(2), TimedOut)
		w.fails(3, FailedDial)
		w.Succeeded(w.now)
		w.Ended(early, w.at(0.5), true)
	}
	w.at(3)
	w.expect(t, false)
	begun := w.at(6)
	w.Admit(begun)
	w.Failed(early, w.at(7), TimedOut)
	w.Ended(early, w.now, true)
	w.expect(t, false)
	w.Succeeded(w.now)
	w.expect(t, true, "true traffic request succeeded after a pause of 5s")
	for range 10 {
		w.Failed(early, w.now, TimedOut)
	}
	w.expect(t, true)
}

func TestEarlyDeathsOfLinks(t *testing.T) {
	link := func(w *watch, from, to float64, died bool) {
		opened := w.at(from)
		w.Opened(opened)
		w.Ended(opened, w.at(to), died)
	}
	t.Run("in a row", func(t *testing.T) {
		w := newWatch(Passive{})
		link(w, 0, 0.5, true)
		link(w, 1, 1.5, true)
		link(w, 2, 3, true) // old enough
		link(w, 4, 4.5, true)
		link(w, 5, 5.1, false) // with a Close, or by its client
		link(w, 6, 6.5, true)
		w.expect(t, true)
		link(w, 7, 7.5, true)
		w.expect(t, false, "false traffic early death of a link, 3 times in a row")
	})
	t.Run("a good 101 ends no row of them", func(t *testing.T) {
		w := newWatch(Passive{})
		w.fails(0, FailedDial) // that row it ends
		for i := range 3 {
			w.expect(t, true)
			link(w, float64(i), float64(i)+0.5, true)
		}
		w.expect(t, false, "false traffic early death of a link, 3 times in a row")
	})
	t.Run("a link that lives on ends it", func(t *testing.T) {
		w := newWatch(Passive{})
		link(w, 0, 0.5, true)
		w.Opened(w.at(1))
		link(w, 1.1, 1.5, true)
		link(w, 1.9, 2.1, true)
		w.expect(t, true)
		link(w, 3, 3.1, true)
		w.expect(t, true)
		link(w, 3.2, 3.3, true)
		w.expect(t, false, "false traffic early death of a link, 3 times in a row")
	})
	t.Run("the trial must live", func(t *testing.T) {
		w := newWatch(Passive{Failures: 1})
		link(w, 0, 0.5, true)
		w.expect(t, false, "false traffic early death of a link")
		w.Admit(w.at(6))
		link(w, 6.1, 6.2, true)
		w.at(16.1)
		w.expect(t, false) // the second pause is of 10s
		w.Admit(w.at(17))
		w.Opened(w.at(17.5))
		w.at(18.4)
		w.expect(t, false)
		w.at(18.5)
		w.expect(t, true, "true traffic request succeeded after a pause of 10s")
	})
	t.Run("the trial is left by its client", func(t *testing.T) {
		w := newWatch(Passive{Failures: 1})
		w.fails(0, FailedDial)
		w.Admit(w.at(5))
		link(w, 5.1, 5.2, false)
		w.expect(t, true, "false traffic failed dial", "true traffic request succeeded after a pause of 5s")
	})
	t.Run("off", func(t *testing.T) {
		w := newWatch(Passive{Failures: 2, EarlyDeath: -1})
		for i := range 5 {
			link(w, float64(i), float64(i), true)
		}
		w.fails(6, FailedDial)
		w.Opened(w.at(7))
		w.fails(8, FailedDial)
		w.expect(t, true)
	})
}

// TestProbeTriesInsteadOfARequest: with active checks no client has to.
func TestProbeTriesInsteadOfARequest(t *testing.T) {
	w := newWatch(Passive{Failures: 1, Probed: true})
	w.fails(0, FailedDial)
	w.ProbeSucceeded(w.at(4.9))
	w.expect(t, false, "false traffic failed dial")
	w.at(100)
	w.expect(t, false)
	if w.Admit(w.now) {
		t.Error("a request is let through")
	}
	w.ProbeSucceeded(w.now)
	w.expect(t, true, "true probe probe succeeded after a pause of 5s")
	// The probe may not see what is wrong.
	w.fails(101, BadAnswer)
	w.expect(t, false, "false traffic bad answer")
	if _, until := w.standing(); until.Sub(w.now) != 10*time.Second {
		t.Errorf("the next pause is %v, want 10s", until.Sub(w.now))
	}
}

// TestOneTrialWhoeverAsks: of many that ask at the same time, one is let through.
func TestOneTrialWhoeverAsks(t *testing.T) {
	w := newWatch(Passive{Failures: 1})
	w.fails(0, FailedDial)
	for range 20 {
		_, until := w.standing()
		var admitted atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if w.Usable(until) && w.Admit(until) {
					admitted.Add(1)
				}
			})
		}
		all.Wait()
		if n := admitted.Load(); n != 1 {
			t.Fatalf("%d are let through, want 1", n)
		}
		w.Failed(until, until, FailedDial)
	}
}

func TestGoodCaseCostsNothing(t *testing.T) {
	s := NewState(StateConfig{Log: noLog})
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		if !s.Usable(now) || !s.Admit(now) {
			t.Error("not usable")
		}
		s.Opened(now)
		s.Ended(now, now, false)
		s.Succeeded(now)
		s.Abandoned(now)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if w := s.Watchdog; !w.mu.TryLock() || !s.mu.TryLock() {
		t.Error("a lock is held")
	}
}

func BenchmarkUsable(b *testing.B) {
	s := NewState(StateConfig{Log: noLog})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if !s.Usable(now) {
			b.Fatal("not usable")
		}
	}
}
