package sock

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// gate is where a call waits for its direction.
type gate struct {
	deadline atomic.Int64 // on the clock of this file; 0 for none
	waiter   atomic.Pointer[waiter]
}

// waiter is what a waiting call holds. A signal that comes late meets the next who has it, who looks
// and waits on.
type waiter struct {
	ready chan struct{}
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

var epoch = time.Now()

// clock is the time as gates have it, never 0.
func clock(t time.Time) int64 { return max(1, int64(t.Sub(epoch))) }

func (g *gate) wake() {
	if w := g.waiter.Load(); w != nil {
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}

// expired reports whether the deadline has passed, and how long there is until it otherwise; a
// negative time stands for none.
func (g *gate) expired() (bool, time.Duration) {
	deadline := g.deadline.Load()
	if deadline == 0 {
		return false, -1
	}
	left := deadline - int64(time.Since(epoch))
	return left <= 0, time.Duration(left)
}

// await waits until one of bits has happened, the deadline has passed or the Conn is closed.
func (c *Conn) await(g *gate, bits uint32) error {
	w := waiters.Get().(*waiter)
	defer waiters.Put(w)
	g.waiter.Store(w)
	defer g.waiter.Store(nil)
	for {
		switch seen := c.events.Load(); {
		case seen&shut != 0:
			return net.ErrClosed
		case seen&bits != 0:
			return nil
		}
		passed, left := g.expired()
		if passed {
			return os.ErrDeadlineExceeded
		}
		if left < 0 {
			<-w.ready
			continue
		}
		w.timer.Reset(left)
		select {
		case <-w.ready:
		case <-w.timer.C:
		}
		w.timer.Stop()
	}
}
