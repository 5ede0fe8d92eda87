package main

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceItIsQuiet(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name                     string
		allocated, objects, free uint64 // after 100 MiB had been allocated by the last look
		trimmed                  uint64
		quiet, frees             bool
	}{
		{"still at work", 101 * mib, 60 * mib, 60 * mib, 0, false, false},
		{"after a burst", 100 * mib, 60 * mib, 0, 0, true, true},
		{"after a burst that was collected", 100 * mib, 30 * mib, 30 * mib, 0, true, true},
		{"nothing since the last time", 100 * mib, 60 * mib, 60 * mib, 100 * mib, true, false},
		{"little since the last time", 100 * mib, 60 * mib, 0, 98 * mib, true, false},
		{"a quarter since the last time", 100 * mib, 60 * mib, 0, 84 * mib, true, true},
		{"a small heap", 100 * mib, 1 * mib, mib / 2, 0, true, false},
	}
	for _, tt := range tests {
		freed := false
		m := newTrimmer()
		m.allocated, m.trimmed, m.free = 100*mib, tt.trimmed, func() { freed = true }
		m.quiet = trimLooks - 1
		if quiet := m.look(tt.allocated, tt.objects, tt.free); quiet != tt.quiet || freed != tt.frees {
			t.Errorf("%s: quiet %v, freed %v; want %v, %v", tt.name, quiet, freed, tt.quiet, tt.frees)
		}
	}
}

func TestOneQuietLookIsNotEnough(t *testing.T) {
	m, freed := newTrimmer(), 0
	m.free = func() { freed++ }
	const burst = 100 << 20
	for _, allocated := range []uint64{burst, burst, burst, 2 * burst, 2 * burst, 2 * burst} {
		if m.look(allocated, burst, burst) || freed > 0 {
			t.Fatalf("memory was given back in a pause of %d looks", trimLooks-1)
		}
	}
	if !m.look(2*burst, burst, burst) || freed != 1 {
		t.Errorf("freed %d times after %d quiet looks, want once", freed, trimLooks)
	}
}

func TestTrimmerSleepsUntilThereIsSomethingToDo(t *testing.T) {
	ballast := make([]byte, 4*trimLeast)
	defer runtime.KeepAlive(ballast)
	synctest.Test(t, func(t *testing.T) {
		m, stop, looked := newTrimmer(), make(chan struct{}), time.Time{}
		m.free = func() { looked = time.Now() }
		var running sync.WaitGroup
		running.Go(func() { m.run(stop) })
		for range 2 {
			began := time.Now()
			m.trimmed = 0 // the ballast has been allocated since
			m.busy()
			m.busy()
			// The bubble's clock moves on when everything in it waits: for the trimmer's ticks, not longer.
			time.Sleep(time.Hour)
			if m.awake.Load() {
				t.Error("an hour later it still looks")
			}
			if looked.Before(began) || looked.Sub(began) > time.Minute {
				t.Errorf("memory was given back at %v, want soon after %v", looked, began)
			}
		}
		close(stop)
		running.Wait()
	})
}
