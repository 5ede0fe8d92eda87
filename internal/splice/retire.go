package splice

import (
	"math/rand/v2"
	"time"
)

// Retirement is which links are to be closed, and how, while the others stay.
type Retirement struct {
	// Which reports whether the link of an owner is meant; one that is ending already never is. It is called on the goroutines of loops and
	// must not block.
	Which func(Owner) bool

	// Most is how many links are closed at most, picked at random. Zero means all that are meant.
	Most int

	// Code and Reason are what both ends hear: one of package frame's codes, and a text for people.
	Code   uint16
	Reason string

	// Window spreads the closing evenly over a time, in random order, so that the clients do not come back
	// all at once. Zero closes them at once.
	Window time.Duration
}

// Retire closes links at their next frame boundaries, and returns how many, those that end by themselves
// meanwhile included. It does not wait for them. A link whose Splice has not returned may be
// left out.
func (e *Engine) Retire(r Retirement) int {
	bye := &farewell{r.Code, r.Reason}
	var closers []func()
	for _, d := range e.drivers() {
		closers = append(closers, d.retire(r.Which, bye)...)
	}
	rand.Shuffle(len(closers), func(i, j int) { closers[i], closers[j] = closers[j], closers[i] })
	if r.Most > 0 && len(closers) > r.Most {
		closers = closers[:r.Most]
	}
	if len(closers) == 0 {
		return 0
	}
	e.mu.Lock()
	stopped := e.stopped
	if !stopped {
		e.retiring.Add(1) // while Stop does not wait yet
	}
	e.mu.Unlock()
	if !stopped {
		go e.pace(closers, r.Window)
	}
	return len(closers)
}

// pace calls each, at a random moment of its share of the window, until the engine stops.
func (e *Engine) pace(closers []func(), window time.Duration) {
	defer e.retiring.Done()
	began := time.Now()
	share := window / time.Duration(len(closers))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, closer := range closers {
		if at := share*time.Duration(i) + rand.N(share+1); window > 0 && at > time.Since(began) {
			timer.Reset(at - time.Since(began))
			select {
			case <-timer.C:
			case <-e.quit:
				return
			}
		}
		closer()
	}
}
