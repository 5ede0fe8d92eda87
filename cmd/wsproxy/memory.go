package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// Opening links makes garbage, and the collector lets the heap grow to twice what is alive before it
// looks. Links then stay for hours and make none, so that the collector has no reason to look again,
// and the memory of an opening lasts as long as they do. The trimmer gives it back.
const (
	// While there are requests it looks that often, and for quiet not at all.
	trimEvery = 300 * time.Millisecond

	// What was allocated between two looks may be that much for the proxy to count as quiet, once that
	// has been so for some looks: connections that wait for a next request let go of their buffers then.
	trimQuiet = 256 << 10
	trimLooks = 3

	// Giving back is worth a collection when it is that much, and a part of the heap: a quarter.
	trimLeast = 2 << 20
)

// trimmer returns memory to the system when a time of many openings is over.
type trimmer struct {
	awake atomic.Bool
	wake  chan struct{}

	// Owned by run.
	samples   []metrics.Sample
	allocated uint64 // by the last look
	trimmed   uint64 // allocated then
	quiet     int    // looks in a row
	free      func()
}

// free returns what is not used. The first collection leaves what pools hold, the second takes that.
func free() {
	runtime.GC()
	debug.FreeOSMemory()
}

func newTrimmer() *trimmer {
	return &trimmer{wake: make(chan struct{}, 1), free: free, samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}}
}

// busy says that there is something to do which may leave garbage behind. It may be called from any
// goroutine.
func (t *trimmer) busy() {
	if !t.awake.Load() && !t.awake.Swap(true) {
		t.wake <- struct{}{}
	}
}

// run looks after memory until stop is closed.
func (t *trimmer) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-t.wake:
		}
		tick := time.NewTicker(trimEvery)
		for quiet := false; !quiet; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			metrics.Read(t.samples)
			quiet = t.look(t.samples[0].Value.Uint64(), t.samples[1].Value.Uint64(), t.samples[2].Value.Uint64()+t.samples[3].Value.Uint64())
		}
		tick.Stop()
		t.awake.Store(false)
	}
}

// look frees what is worth it once it is quiet, and reports whether it is. allocated is all that ever
// was; objects is what there is now, dead ones included, and free what lies in pages without any.
func (t *trimmer) look(allocated, objects, free uint64) (quiet bool) {
	since := allocated - t.allocated
	t.allocated = allocated
	if since > trimQuiet {
		t.quiet = 0
		return false
	}
	if t.quiet++; t.quiet < trimLooks {
		return false
	}
	t.quiet = 0
	// Of the objects those may be dead that have come since the last time, at most.
	fresh := allocated - t.trimmed
	if gain := free + min(objects, fresh); fresh >= trimLeast && gain >= max(trimLeast, objects/4) {
		t.free()
		t.trimmed = allocated
	}
	return true
}
