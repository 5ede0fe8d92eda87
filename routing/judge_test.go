package routing

import (
	"sync/atomic"
	"testing"
	"time"
)

// verdict is a Judge that says of a backend what it is told to.
type verdict struct {
	trusting
	usable atomic.Bool
}

func (v *verdict) Usable(time.Time) bool { return v.usable.Load() }

func TestPickAsksTheJudgeOfTheUnhealthy(t *testing.T) {
	usable, not := new(verdict), new(verdict)
	usable.usable.Store(true)
	for _, tt := range []struct {
		name              string
		healthy, draining bool
		judges            []Judge // one after the other
		want              bool
	}{
		{"healthy, no judge", true, false, nil, true},
		{"healthy, whatever the judge says", true, false, []Judge{not}, true},
		{"unhealthy, no judge", false, false, nil, false},
		{"unhealthy, not usable", false, false, []Judge{not}, false},
		{"unhealthy, usable", false, false, []Judge{usable}, true},
		{"unhealthy, another judge", false, false, []Judge{usable, not}, false},
		{"unhealthy, the judge is gone", false, false, []Judge{usable, nil}, false},
		{"draining, usable", true, true, []Judge{usable}, false},
		{"unhealthy and draining, usable", false, true, []Judge{usable}, false},
	} {
		for _, balance := range allBalances {
			rc := RouteConfig{Backends: abc(1), Balance: balance}
			if balance == Hash {
				rc.HashKey.ClientIP = true
			}
			r := newTestRoute(t, rc)
			b := r.Backends()[0]
			for _, j := range tt.judges {
				b.SetJudge(j)
			}
			b.SetHealthy(tt.healthy, time.Now())
			b.SetDraining(tt.draining)
			if got := r.Pick(&Ask{}); (got == b) != tt.want {
				t.Errorf("%s, %v: Pick = %v, want it picked: %v", tt.name, balance, got, tt.want)
			}
			got, err := r.Acquire(t.Context(), &Ask{})
			if (got == b) != tt.want || (err == ErrNoBackend) == tt.want {
				t.Errorf("%s, %v: Acquire = %v, %v, want it acquired: %v", tt.name, balance, got, err, tt.want)
			}
		}
	}
}

func TestJudgeIsNeverNil(t *testing.T) {
	b := newBackend("a", "a:80", nil)
	own := new(verdict)
	for _, tt := range []struct {
		name string
		set  func()
		want Judge
	}{
		{"at first", func() {}, trusting{}},
		{"one's own", func() { b.SetJudge(own) }, own},
		{"none", func() { b.SetJudge(nil) }, trusting{}},
	} {
		tt.set()
		if got := b.Judge(); got != tt.want {
			t.Errorf("%s: Judge = %v, want %v", tt.name, got, tt.want)
		}
	}
	if j, now := b.Judge(), time.Now(); !j.Usable(now) || !j.Admit(now) {
		t.Error("who has no judge is not trusted")
	}
}

func TestPickOfTheUnhealthyAllocatesNothing(t *testing.T) {
	r := newTestRoute(t, RouteConfig{Backends: abc(1, 1)})
	v := new(verdict)
	v.usable.Store(true)
	for _, b := range r.Backends() {
		b.SetJudge(v)
		b.SetHealthy(false, time.Now())
	}
	if n := testing.AllocsPerRun(100, func() { r.Pick(&Ask{}) }); n != 0 {
		t.Errorf("Pick allocates %v times, want 0", n)
	}
}
