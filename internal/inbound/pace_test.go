package inbound

import (
	"testing"
	"time"
)

// step is a read: how long it waited, and what it brought.
type step struct {
	waited time.Duration
	n      int
}

func TestPace(t *testing.T) {
	now := time.Now()
	end := now.Add(time.Minute)
	tests := []struct {
		name    string
		rate    int64
		longest time.Duration
		until   time.Time
		patient bool
		steps   []step
		want    time.Duration // from now to the deadline of the next read, negative for none
	}{
		{"nothing bounds it", -1, -1, time.Time{}, false, []step{{time.Hour, 1}}, -1},
		{"the end of it all", -1, -1, end, false, []step{{time.Second, 1}}, time.Minute},
		{"the longest pause", -1, 7 * time.Second, time.Time{}, false, []step{{6 * time.Second, 1}}, 7 * time.Second},
		{"the longest pause is longer than what is left", -1, time.Hour, end, false, nil, time.Minute},

		{"the grace", 100, -1, time.Time{}, false, nil, grace},
		{"the grace is no longer than a pause", 100, time.Second, time.Time{}, false, nil, time.Second},
		{"waiting uses the grace up", 100, -1, time.Time{}, false, []step{{2 * time.Second, 0}}, grace - 2*time.Second},
		{"bytes buy time", 100, -1, time.Time{}, false, []step{{2 * time.Second, 150}}, grace - 500*time.Millisecond},
		{"at the rate there is always the grace", 100, -1, time.Time{}, false, []step{{time.Second, 100}, {3 * time.Second, 300}}, grace},
		{"below the rate it ends", 100, -1, time.Time{}, false,
			[]step{{4 * time.Second, 200}, {2 * time.Second, 0}, {time.Second, 0}}, 0},
		{"time that is bought is no more than a pause", 100, 10 * time.Second, time.Time{}, false, []step{{0, 1 << 20}}, 10 * time.Second},
		{"nor more than is left", 100, 10 * time.Minute, end, false, []step{{0, 1 << 20}}, time.Minute},
		{"and does not overflow", 1, -1, time.Time{}, false, []step{{0, 1 << 33}, {0, 1 << 33}}, 24 * time.Hour},
		{"a byte an hour, if the pauses are all that counts", -1, 2 * time.Hour, time.Time{}, false, []step{{time.Hour, 1}, {time.Hour, 1}}, 2 * time.Hour},

		{"a client that is let wait", 100, time.Minute, time.Time{}, true, nil, time.Minute},
		{"has the grace behind its first byte", 100, time.Minute, time.Time{}, true, []step{{50 * time.Second, 100}}, grace + time.Second},
		{"and no more", 100, time.Minute, time.Time{}, true, []step{{50 * time.Second, 100}, {3 * time.Second, 100}}, grace - time.Second},
		{"with no pause that is too long", 100, -1, time.Time{}, true, nil, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPace(tt.rate, tt.longest, tt.until)
			p.patient = tt.patient
			for _, s := range tt.steps {
				p.received(s.n, s.waited)
			}
			got := p.deadline(now)
			if tt.want < 0 {
				if !got.IsZero() {
					t.Errorf("deadline in %v, want none", got.Sub(now))
				}
				return
			}
			if got.Sub(now) != tt.want {
				t.Errorf("deadline in %v, want %v", got.Sub(now), tt.want)
			}
		})
	}
}

// A slow attack of a byte now and then ends soon, however large the timeouts are.
func TestPaceEndsTrickles(t *testing.T) {
	now := time.Now()
	p := newPace(240, time.Hour, time.Time{})
	waited := time.Duration(0)
	for p.deadline(now).Sub(now) >= 900*time.Millisecond {
		p.received(1, 900*time.Millisecond)
		waited += 900 * time.Millisecond
	}
	if waited > 2*grace {
		t.Errorf("a byte every 900 ms is borne for %v, want %v at most", waited, 2*grace)
	}
}

// Time that is used up does not come back as time without end.
func TestPaceEndsWhenItsTimeIsUsedUp(t *testing.T) {
	now := time.Now()
	for name, longest := range map[string]time.Duration{"with a longest pause": time.Second, "with any pause": -1} {
		p := newPace(100, longest, time.Time{})
		if p.deadline(now).IsZero() {
			t.Errorf("%s: the first read has no deadline", name)
		}
		p.received(1, grace+time.Second) // later than it was to be
		if at := p.deadline(now); at.IsZero() || at.After(now) {
			t.Errorf("%s: the deadline of a read when all time is used up = %v, want now", name, at)
		}
		p.received(1000, 0)
		if at := p.deadline(now); !at.After(now) {
			t.Errorf("%s: the deadline behind a thousand bytes = %v, want a later one", name, at)
		}
	}
}
