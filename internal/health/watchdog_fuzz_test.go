package health

import (
	"strings"
	"testing"
	"time"
)

// FuzzWatchdog: whatever happens, in whatever order, each change is told once, nobody is let through
// within a pause, and no pause is longer than it may be.
func FuzzWatchdog(f *testing.F) {
	f.Add("fffaoes", true)
	f.Add("ffftttttttafttttttttttto", false)
	f.Add("oeoeoetttttttatttttttttp", false)
	f.Fuzz(func(t *testing.T, events string, probed bool) {
		cfg := Passive{Probed: probed}
		now := time.Unix(1000, 0)
		up := true
		w := NewWatchdog(cfg, func(isUp bool, reason, _ string, at time.Time) {
			if isUp == up || reason == "" || strings.Contains(reason, "\n") || !at.Equal(now) {
				t.Fatalf("told %v %q while %v", isUp, reason, up)
			}
			up = isUp
		})
		begun, opened := now, now
		for _, event := range events {
			was, until := up, time.Time{}
			if !up {
				_, until = w.standing()
			}
			switch event {
			case 'a':
				if w.Admit(now) {
					if begun = now; !was && now.Before(until) {
						t.Fatalf("let through %v early", until.Sub(now))
					}
				}
			case 'f':
				w.Failed(begun, now, FailedDial)
			case 's':
				w.Succeeded(now)
			case 'o':
				opened = now
				w.Opened(opened)
			case 'e':
				w.Ended(opened, now, true)
			case 'E':
				w.Ended(opened, now, false)
			case 'x':
				w.Abandoned(begun)
			case 'p':
				w.ProbeSucceeded(now)
			default:
				now = now.Add(700 * time.Millisecond)
			}
			if w.Usable(now); len(w.opened) > maxOpened || len(w.failures) >= 3 || w.pause > time.Minute {
				t.Fatalf("%d links, %d failures, a pause of %v", len(w.opened), len(w.failures), w.pause)
			}
			if !was && up && now.Before(until) {
				t.Fatalf("in %v early", until.Sub(now))
			}
		}
	})
}
