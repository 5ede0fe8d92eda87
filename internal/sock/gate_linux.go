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
//
// Its timer is left running when a wait is over: the next deadline is later in most cases, and the call
// that waits for it then finds at the timer's signal how long there is still to wait.
type waiter struct {
	ready chan struct{}
	timer *time.Timer
	due   atomic.Int64 // when the timer signals, on the clock of this file; 0 if it does not run
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan struct{}, 1)}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.due.Store(0)
		w.signal()
	})
	w.timer.Stop()
	return w
}}

func (w *waiter) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// by has the waiter signalled at a deadline, or before.
func (w *waiter) by(deadline int64, left time.Duration) {
	if due := w.due.Load(); due == 0 || due > deadline {
		w.due.Store(deadline) // first: the timer may be quick
		w.timer.Reset(left)
	}
}

var epoch = time.Now()

// clock is the time as gates have it, never 0.
func clock(t time.Time) int64 { return max(1, int64(t.Sub(epoch))) }

func (g *gate) wake() {
	if w := g.waiter.Load(); w != nil {
		w.signal()
	}
}

// expired reports whether a deadline has passed, and how long there is until it otherwise; a negative time
// stands for none.
func expired(deadline int64) (bool, time.Duration) {
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
		deadline := g.deadline.Load()
		passed, left := expired(deadline)
		if passed {
			return os.ErrDeadlineExceeded
		}
		if left >= 0 {
			w.by(deadline, left)
		}
		<-w.ready
	}
}
