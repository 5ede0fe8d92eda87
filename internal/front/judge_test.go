package front_test

import (
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/health"
	"wsproxy/routing"
)

// witness is a Judge that counts what it hears, and has another one decide if there is one.
type witness struct {
	other routing.Judge // nil for none

	admitted, failed, succeeded, opened, ended, abandoned atomic.Int32
}

func (w *witness) Usable(now time.Time) bool { return w.other == nil || w.other.Usable(now) }

func (w *witness) Admit(now time.Time) bool {
	ok := w.other == nil || w.other.Admit(now)
	if ok {
		w.admitted.Add(1)
	}
	return ok
}

func (w *witness) Failed(begun, now time.Time, err error) {
	w.failed.Add(1)
	if w.other != nil {
		w.other.Failed(begun, now, err)
	}
}

func (w *witness) Succeeded(now time.Time) {
	w.succeeded.Add(1)
	if w.other != nil {
		w.other.Succeeded(now)
	}
}

func (w *witness) Opened(now time.Time) {
	w.opened.Add(1)
	if w.other != nil {
		w.other.Opened(now)
	}
}

func (w *witness) Ended(opened, now time.Time, died bool) {
	w.ended.Add(1)
	if w.other != nil {
		w.other.Ended(opened, now, died)
	}
}

func (w *witness) Abandoned(begun time.Time) {
	w.abandoned.Add(1)
	if w.other != nil {
		w.other.Abandoned(begun)
	}
}

// witnesses gives each backend of a proxy a witness, by its address. At the end of the test each must have
// heard exactly once what has become of whatever it had let through.
func witnesses(t *testing.T, p *fronttest.Proxy, others map[string]routing.Judge) map[string]*witness {
	t.Helper()
	all := make(map[string]*witness)
	for _, b := range p.Table.Backends() {
		w := &witness{other: others[b.Addr]}
		all[b.Addr] = w
		b.SetJudge(w)
	}
	t.Cleanup(func() {
		p.Stop()
		for addr, w := range all {
			admitted, opened, ended := w.admitted.Load(), w.opened.Load(), w.ended.Load()
			failed, succeeded, abandoned := w.failed.Load(), w.succeeded.Load(), w.abandoned.Load()
			if failed+succeeded+opened+abandoned != admitted || opened != ended {
				t.Errorf("backend %s: admitted %d; failed %d, succeeded %d, opened %d, abandoned %d; ended %d",
					addr, admitted, failed, succeeded, opened, abandoned, ended)
			}
		}
	})
	return all
}

// admitted is how many attempts there have been.
func admitted(all map[string]*witness) (n int) {
	for _, w := range all {
		n += int(w.admitted.Load())
	}
	return n
}

// stateJudge is what wsproxy makes of a State.
type stateJudge struct{ *health.State }

func (j stateJudge) Failed(begun, now time.Time, err error) {
	switch {
	case errors.Is(err, routing.ErrTimeout):
		j.State.Failed(begun, now, health.TimedOut)
	case errors.Is(err, routing.ErrDial), errors.Is(err, routing.ErrTLS):
		j.State.Failed(begun, now, health.FailedDial)
	case errors.Is(err, routing.ErrAnswer):
		j.State.Failed(begun, now, health.BadAnswer)
	default:
		j.Abandoned(begun)
	}
}

// valve is a Judge that lets nobody through while it is shut.
type valve struct {
	stateJudge
	shut atomic.Bool
}

func newValve() *valve {
	return &valve{stateJudge: stateJudge{health.NewState(health.StateConfig{Passive: health.Passive{Failures: -1}})}}
}

func (v *valve) Usable(time.Time) bool { return !v.shut.Load() }
func (v *valve) Admit(time.Time) bool  { return !v.shut.Load() }

// judged gives each backend of a proxy a State, with a witness before it.
func judged(t *testing.T, p *fronttest.Proxy, passive health.Passive) map[string]*witness {
	t.Helper()
	states := make(map[string]routing.Judge)
	for _, b := range p.Table.Backends() {
		states[b.Addr] = stateJudge{health.NewState(health.StateConfig{
			Name: b.Addr, Log: slog.New(p.Log), Passive: passive,
			Changed: func(up bool, _ string) { b.SetHealthy(up, time.Now()) },
		})}
	}
	return witnesses(t, p, states)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(fronttest.Hung); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", fronttest.Hung, what)
		}
	}
}
