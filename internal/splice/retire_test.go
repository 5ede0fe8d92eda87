package splice

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/frame"
)

// named is an Owner that can be told from others.
type named struct {
	Owner
	name string
}

// joinNamed makes a link with such an owner.
func (s setup) joinNamed(t *testing.T, e *Engine, name string) *rig {
	t.Helper()
	r, spec := s.pairs(t, e, Spec{})
	spec.Owner = &named{spec.Owner, name}
	r.splice(spec)
	return r
}

func called(name string) func(Owner) bool {
	return func(o Owner) bool { return o.(*named).name == name }
}

// expectRestart reads the Close of a Retire at both ends, and lets the link end.
func (r *rig) expectRestart() {
	r.t.Helper()
	expectClose(r.t, r.client, frame.Restart, false)
	expectClose(r.t, r.backend, frame.Restart, true)
	if res := r.over(); res.Cause != Retired {
		r.t.Errorf("cause = %v, want %v", res.Cause, Retired)
	}
}

func TestRetireClosesThoseThatAreMeant(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		gone := []*rig{s.joinNamed(t, e, "gone"), s.joinNamed(t, e, "gone")}
		stays := s.joinNamed(t, e, "stays")
		if n := e.Retire(Retirement{Which: called("nobody"), Code: frame.Restart}); n != 0 {
			t.Errorf("%d links closed, want none", n)
		}
		if n := e.Retire(Retirement{Which: called("gone"), Code: frame.Restart, Reason: "gone"}); n != 2 {
			t.Errorf("%d links closed, want 2", n)
		}
		for _, r := range gone {
			r.expectRestart()
		}
		hello := wire(fin|text, fromClient, []byte("hello"))
		send(t, stays.client, hello)
		expect(t, stays.backend, hello)
		if res := stays.over(); res.Cause == Retired {
			t.Errorf("cause of the link that stays = %v", res.Cause)
		}
	})
}

// A frame on its way is finished first.
func TestRetireWaitsForFrameEnd(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		r := s.joinNamed(t, e, "gone")
		long := wire(fin|binaryData, fromClient, make([]byte, 10_000))
		send(t, r.client, long[:5000])
		expect(t, r.backend, long[:5000])
		e.Retire(Retirement{Which: called("gone"), Code: frame.Restart})
		expectClose(t, r.client, frame.Restart, false)
		send(t, r.client, long[5000:])
		expect(t, r.backend, long[5000:])
		expectClose(t, r.backend, frame.Restart, true)
		r.over()
	})
}

func TestRetireClosesNoMoreThanAsked(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		var rigs []*rig
		for range 5 {
			rigs = append(rigs, s.joinNamed(t, e, "any"))
		}
		if n := e.Retire(Retirement{Which: called("any"), Most: 2, Code: frame.Restart}); n != 2 {
			t.Errorf("%d links closed, want 2", n)
		}
		closing := func() (n int) {
			e.Links(func(l Live) {
				if l.Cause == Retired {
					n++
				}
			})
			return n
		}
		eventually(t, "two links are closing", func() bool { return closing() == 2 })
		for _, r := range rigs {
			r.over()
		}
	})
}

// The links that are meant are closed one by one, within the window.
func TestRetireKeepsToItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 10 * time.Second
		e := &Engine{quit: make(chan struct{})}
		var at []time.Duration
		began := time.Now()
		var closers []func()
		for range 100 {
			closers = append(closers, func() { at = append(at, time.Since(began)) })
		}
		e.retiring.Add(1)
		e.pace(closers, window)
		for i, when := range at {
			share := window / time.Duration(len(closers))
			if when < share*time.Duration(i) || when > share*time.Duration(i+1)+time.Millisecond {
				t.Errorf("link %d was closed after %v, want it in its share of the window", i, when)
			}
		}
		if len(at) != len(closers) {
			t.Errorf("%d links were closed, want %d", len(at), len(closers))
		}
	})
}

func TestStopEndsRetiring(t *testing.T) {
	s := setup{}
	e := s.newEngine(t, forGood)
	r := s.joinNamed(t, e, "gone")
	other := s.joinNamed(t, e, "gone")
	e.Retire(Retirement{Which: called("gone"), Code: frame.Restart, Window: 24 * time.Hour})
	r.over()
	other.over()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if cut := e.Stop(ctx); cut != 0 {
		t.Errorf("%d links cut off, want none", cut)
	}
	if n := e.Retire(Retirement{Which: called("gone"), Code: frame.Restart}); n != 0 {
		t.Errorf("%d links closed after Stop", n)
	}
}
