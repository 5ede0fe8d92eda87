//go:build linux

package splice

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// newWheel is a wheel that begins now, and a clock to turn it with.
func newWheel() (w *wheel, begin time.Time) {
	w, begin = new(wheel), time.Now()
	w.init(begin)
	return w, begin
}

func TestTimersEndInTheFirstTickThatIsNotTooEarly(t *testing.T) {
	for _, slept := range []time.Duration{0, 1, tickLength - 1, tickLength, time.Hour + 37} {
		for _, wait := range []time.Duration{1, tickLength - 1, tickLength, tickLength + 1, time.Minute, 3 * time.Hour} {
			w, begin := newWheel()
			l := looped{vigil: new(vigil)}
			ended := false
			end := func(*looped) { ended = true }
			w.set(begin.Add(slept)) // no timer has made it wake up before
			w.advance(end)
			w.add(&l.vigil.timer, &l, wait)
			due := slept + wait
			w.set(begin.Add(due - 1))
			if w.advance(end); ended {
				t.Errorf("after %v: a timer of %v ended too early", slept, wait)
			}
			w.set(begin.Add((due + tickLength - 1).Truncate(tickLength)))
			if w.advance(end); !ended {
				t.Errorf("after %v: a timer of %v did not end in its tick", slept, wait)
			}
			if next := w.next(); !next.IsZero() {
				t.Errorf("after %v: an empty wheel is to be woken at %v", slept, next.Sub(begin))
			}
		}
	}
}

func TestLongestTimersDoNotEndAtOnce(t *testing.T) {
	w, begin := newWheel()
	l := looped{vigil: new(vigil)}
	w.set(begin.Add(time.Hour))
	w.add(&l.vigil.timer, &l, forever-1)
	w.advance(func(*looped) { t.Error("a timer of 292 years has ended") })
}

// A wheel does what a list of times does, whatever ends timers sets and removes, and never sleeps
// past one.
func TestWheelIsAListOfTimes(t *testing.T) {
	rng := newRand(t)
	w, begin := newWheel()
	links := make([]looped, 60)
	for i := range links {
		links[i].vigil = new(vigil)
	}
	due := make(map[*looped]time.Duration)
	var now time.Duration
	add := func(l *looped) {
		w.remove(&l.vigil.timer)
		wait := 1 + time.Duration(rng.Int64N(1<<rng.IntN(40))) // up to twenty turns of the wheel
		w.add(&l.vigil.timer, l, wait)
		due[l] = now + wait
	}
	remove := func(l *looped) {
		w.remove(&l.vigil.timer)
		delete(due, l)
	}
	anything := func(rng *rand.Rand) {
		l := &links[rng.IntN(len(links))]
		if rng.IntN(3) == 0 {
			remove(l)
		} else {
			add(l)
		}
	}
	ended := func(l *looped) {
		if at, ok := due[l]; !ok || at > now {
			t.Errorf("at %v a timer ended that was set for %v (%v)", now, at, ok)
		}
		delete(due, l)
		for range rng.IntN(3) {
			anything(rng)
		}
	}
	for range 20_000 {
		for range rng.IntN(4) {
			anything(rng)
		}
		before := now
		switch rng.IntN(8) {
		case 0:
			now += time.Duration(rng.Int64N(int64(3 * tickLength * 512))) // several turns late
		case 1, 2:
			now += time.Duration(rng.Int64N(int64(tickLength)))
		default:
			if next := w.next(); !next.IsZero() {
				now = max(now, next.Sub(begin))
			}
		}
		w.set(begin.Add(now))
		w.advance(ended)
		for l, at := range due {
			if at <= now.Truncate(tickLength) {
				t.Fatalf("from %v to %v: a timer for %v has not ended", before, now, at)
			}
			if l.vigil.timer.next == nil {
				t.Fatalf("a timer for %v is in no ring", at)
			}
		}
		if w.count != len(due) {
			t.Fatalf("count = %d, want %d", w.count, len(due))
		}
		if len(due) > 0 {
			first := slices.Min(slices.Collect(maps.Values(due)))
			if next := w.next().Sub(begin); next > first+tickLength || next <= now {
				t.Fatalf("at %v: to be woken at %v, the first timer is for %v", now, next, first)
			}
		}
	}
}
