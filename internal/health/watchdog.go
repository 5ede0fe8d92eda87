package health

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Passive says what failures of requests make of a backend. The zero value is a good one.
type Passive struct {
	// Failures is how many in a row, within Window, take a backend out. Zero means 3, negative that
	// none does.
	Failures int

	// Window is how old the first of them may be when the last comes. Zero means 10 seconds.
	Window time.Duration

	// Pause is how long a backend is out the first time; when it fails again before anything has
	// succeeded, twice as long as before, up to MaxPause. Zero means 5 seconds and a minute, or what the
	// other says where that would not fit.
	Pause, MaxPause time.Duration

	// EarlyDeath is how old a link must have become so that its end without a Close is no failure. Zero
	// means a second, negative that no such end is one.
	EarlyDeath time.Duration

	// Probed says that the backend is probed, too: when a pause is over, no request tries it, but the
	// next probe.
	Probed bool
}

func (p *Passive) fillDefaults() {
	fill(&p.Failures, 3)
	fill(&p.Window, 10*time.Second)
	if p.MaxPause > 0 {
		fill(&p.Pause, min(5*time.Second, p.MaxPause))
	}
	fill(&p.Pause, 5*time.Second)
	fill(&p.MaxPause, max(time.Minute, p.Pause))
	fill(&p.EarlyDeath, time.Second)
}

// Failure is what a backend did to a request.
type Failure uint8

const (
	// FailedDial is a backend that could not be connected to, TLS included.
	FailedDial Failure = iota

	// BadAnswer is an answer that is malformed or breaks off in its head, such as a 101 that does not fit
	// its handshake. A good answer that refuses is no failure.
	BadAnswer

	// TimedOut is a backend that took too long to connect or to begin its answer.
	TimedOut

	// diedEarly is a link that the backend ended without a Close when it had hardly begun. Ended finds
	// that out.
	diedEarly
)

func (f Failure) String() string {
	return [...]string{"failed dial", "bad answer", "timeout", "early death of a link"}[f]
}

// Watchdog takes a backend out whose requests fail, and lets one try it after a pause:
//
//	in → out          Failures in a row within Window
//	out → half open   Pause is over, which whoever asks next finds out
//	half open → in    the one request that is let through succeeds, or a probe where there are some
//	half open → out   it fails: a pause twice as long
//
// What becomes of requests is told it with the times that a request is held to: whatever began before
// the backend went out says nothing about it after that. All methods may be called from anywhere. While
// nothing fails, each is one atomic load.
type Watchdog struct {
	// Fixed at creation.
	cfg     Passive
	changed func(up bool, reason, by string, now time.Time)

	// state is changed with mu held, and read without.
	state atomic.Uint32

	mu       sync.Mutex  // guards what follows; held while changed is called
	failures []failure   // the row, those of Window only, oldest first
	opened   []time.Time // links, since something failed, that may still die early
	out      time.Time   // when the backend went out the last time
	until    time.Time   // when the pause is over
	pause    time.Duration
	trial    time.Time // when the request that tries it was let through, zero for none
}

// States of a Watchdog. One that is out and whose pause is over is half open.
const (
	clean   uint32 = iota // in, and nothing that a success would have to take away
	suspect               // in
	out
)

type failure struct {
	kind Failure
	at   time.Time
}

// maxOpened bounds the links that are waited for to become old enough. More of them say nothing that
// these do not.
const maxOpened = 64

// trialTimeout is how long half open waits for what becomes of the one request. It is for one whose end
// nobody told: no request takes as long to begin its answer.
const trialTimeout = 2 * time.Minute

// NewWatchdog makes one whose backend is in. changed is called when it goes out and when it is in
// again, with the reason in one line, by being who found out: traffic or probe. It must neither block nor
// call the Watchdog.
func NewWatchdog(cfg Passive, changed func(up bool, reason, by string, now time.Time)) *Watchdog {
	cfg.fillDefaults()
	return &Watchdog{cfg: cfg, changed: changed}
}

// Usable reports whether a request that begins now could go to the backend. It may be asked for several
// of which one is then picked: only Admit lets a request through.
func (w *Watchdog) Usable(now time.Time) bool {
	if w.state.Load() != out {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle(now)
	return w.state.Load() != out || w.halfOpen(now)
}

// Admit lets a request through that begins now, or reports false. The caller then owes one of Failed,
// Succeeded, Opened and Abandoned.
func (w *Watchdog) Admit(now time.Time) bool {
	if w.state.Load() != out {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle(now)
	if w.state.Load() != out {
		return true
	}
	if !w.halfOpen(now) {
		return false
	}
	w.trial = now
	return true
}

// Abandoned tells of a request, let through at the time begun, that nothing can be learnt from: its
// client left, or it was sent elsewhere.
func (w *Watchdog) Abandoned(begun time.Time) {
	if w.state.Load() != out {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trial.Equal(begun) {
		w.trial = time.Time{}
	}
}

// Failed tells of a request, let through at the time begun, that the backend has now failed.
func (w *Watchdog) Failed(begun, now time.Time, kind Failure) {
	if w.cfg.Failures < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(begun, now, kind)
}

// Succeeded tells of a plain request that was answered.
func (w *Watchdog) Succeeded(now time.Time) {
	if w.state.Load() == clean {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.succeed(now)
}

// Opened tells of a link that was opened now, by a good 101. It is a success when it has become old
// enough, see Passive.EarlyDeath. The caller owes an Ended with the same time.
func (w *Watchdog) Opened(now time.Time) {
	if w.state.Load() == clean {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.EarlyDeath < 0 {
		w.succeed(now)
		return
	}
	w.settle(now)
	// That the backend answers ends a row of requests that it did not answer, not one of links that die.
	w.failures = slices.DeleteFunc(w.failures, func(f failure) bool { return f.kind != diedEarly })
	if len(w.opened) < maxOpened && w.state.Load() != clean {
		w.opened = append(w.opened, now)
	}
}

// Ended tells of a link opened at the time opened that is over now. died says that the backend ended
// it, and without a Close.
func (w *Watchdog) Ended(opened, now time.Time, died bool) {
	if w.cfg.EarlyDeath < 0 || w.cfg.Failures < 0 {
		return
	}
	early := now.Sub(opened) < w.cfg.EarlyDeath
	if !(early && died) && w.state.Load() == clean {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.opened, opened.Equal)
	if i >= 0 && early {
		w.opened = slices.Delete(w.opened, i, i+1)
	}
	switch {
	case early && died:
		w.fail(opened, now, diedEarly)
	case early && i >= 0 && len(w.opened) == 0 && w.state.Load() == out:
		// The trial, ended by its client or with a Close: nothing more will be learnt from it.
		w.succeed(now)
	default:
		w.settle(now)
	}
}

// ProbeSucceeded tells of a probe, which tries the backend as a request does, but says less: the next
// pause is as long as if there had been none.
func (w *Watchdog) ProbeSucceeded(now time.Time) {
	if w.state.Load() != out {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Load() == out && !now.Before(w.until) {
		w.enter(suspect, fmt.Sprintf("probe succeeded after a pause of %v", w.pause), "probe", now)
	}
}

// halfOpen reports whether a request may try the backend. It is out, and w.mu is held.
func (w *Watchdog) halfOpen(now time.Time) bool {
	return !w.cfg.Probed && !now.Before(w.until) && (w.trial.IsZero() || now.Sub(w.trial) >= trialTimeout)
}

// fail adds a failure to the row. w.mu is held.
func (w *Watchdog) fail(begun, now time.Time, kind Failure) {
	w.settle(now)
	isOut := w.state.Load() == out
	switch {
	case !begun.After(w.out), isOut && now.Before(w.until):
		// It began before, or was sent to a backend known to be out, for want of a better one.
	case isOut:
		w.trial = time.Time{}
		w.leave(now)
	default:
		w.failures = slices.DeleteFunc(w.failures, func(f failure) bool { return now.Sub(f.at) > w.cfg.Window })
		w.failures = append(w.failures, failure{kind, now})
		if n := len(w.failures); n < w.cfg.Failures {
			w.state.Store(suspect)
			return
		}
		reason := w.row()
		w.leave(now)
		w.state.Store(out)
		w.changed(false, reason, "traffic", now)
	}
}

// leave begins a pause. w.mu is held.
func (w *Watchdog) leave(now time.Time) {
	if w.pause *= 2; w.pause == 0 {
		w.pause = w.cfg.Pause
	}
	w.pause = min(w.pause, w.cfg.MaxPause)
	w.out, w.until = now, now.Add(w.pause)
	w.failures, w.opened = w.failures[:0], w.opened[:0]
}

// row is the reason for going out.
func (w *Watchdog) row() string {
	n := len(w.failures)
	last := w.failures[n-1]
	other := func(f failure) bool { return f.kind != last.kind }
	switch {
	case n == 1:
		return last.kind.String()
	case slices.ContainsFunc(w.failures, other):
		return fmt.Sprintf("%d failures in a row, the last a %v", n, last.kind)
	}
	return fmt.Sprintf("%v, %d times in a row", last.kind, n)
}

// succeed takes everything away that is held against the backend, unless it is out for a pause that is
// not over: what ends well then began before. w.mu is held.
func (w *Watchdog) succeed(now time.Time) {
	if w.state.Load() == out && now.Before(w.until) {
		return
	}
	reason := fmt.Sprintf("request succeeded after a pause of %v", w.pause)
	w.pause = 0
	w.enter(clean, reason, "traffic", now)
}

// enter is in again, or in as before. w.mu is held.
func (w *Watchdog) enter(state uint32, reason, by string, now time.Time) {
	w.failures, w.opened, w.trial = w.failures[:0], w.opened[:0], time.Time{}
	if w.state.Swap(state) == out {
		w.changed(true, reason, by, now)
	}
}

// settle makes a success of a link that has become old enough. No timer waits for that: who wants to
// know asks. w.mu is held.
func (w *Watchdog) settle(now time.Time) {
	old := func(t time.Time) bool { return now.Sub(t) >= w.cfg.EarlyDeath }
	if w.cfg.EarlyDeath >= 0 && slices.ContainsFunc(w.opened, old) {
		w.succeed(now)
	}
}

// standing is the length of the row of failures, and the end of the pause, zero for none.
func (w *Watchdog) standing() (failures int, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Load() == out {
		until = w.until
	}
	return len(w.failures), until
}
