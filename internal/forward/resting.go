package forward

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"wsproxy/internal/sock"
)

// resting are the answers that go on without a goroutine, or have and are carried by one now.
type resting struct {
	mu     sync.Mutex // guards what follows
	all    map[*exchange]struct{}
	sweep  *time.Timer   // runs while there are some
	empty  chan struct{} // closed when there are none any more; nil while nobody waits for that
	closed bool
}

// restSweep is how late an answer may be ended whose pause is too long.
const restSweep = time.Second

// add reports false when no more may rest.
func (r *resting) add(x *exchange) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if r.all == nil {
		r.all = make(map[*exchange]struct{})
		r.sweep = time.AfterFunc(restSweep, r.expire)
	} else if len(r.all) == 0 {
		r.sweep.Reset(restSweep)
	}
	r.all[x] = struct{}{}
	return true
}

func (r *resting) remove(x *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, x)
	if len(r.all) == 0 {
		r.sweep.Stop()
		if r.empty != nil {
			close(r.empty)
			r.empty = nil
		}
	}
}

// expire ends the answers that pause for too long.
func (r *resting) expire() {
	now := time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	for x := range r.all {
		if until := x.until.Load(); until != 0 && until <= now {
			x.wake(os.ErrDeadlineExceeded)
		}
	}
	if len(r.all) > 0 && !r.closed {
		r.sweep.Reset(restSweep)
	}
}

// none is closed when there are none any more.
func (r *resting) none() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if r.empty == nil {
		r.empty = make(chan struct{})
	}
	return r.empty
}

// close cuts them off, waits until they have ended, and lets no more be added.
func (r *resting) close() {
	r.mu.Lock()
	r.closed = true
	for x := range r.all {
		x.cutOff()
	}
	r.mu.Unlock()
	<-r.none()
}

// cutOff cuts the answer off, unless it has come to its end.
func (x *exchange) cutOff() {
	x.mu.Lock()
	over := x.over
	x.mu.Unlock()
	if !over {
		sock.Cut(x.client.NetConn())
		x.giveUp(net.ErrClosed)
	}
}

// Resting is how many answers go on without a goroutine, or have done so.
func (t *Transport) Resting() int {
	t.resting.mu.Lock()
	defer t.resting.mu.Unlock()
	return len(t.resting.all)
}

// Wait waits until no answer rests, or returns ctx's error. The requests that Forward has not come back from
// are not waited for.
func (t *Transport) Wait(ctx context.Context) error {
	none := t.resting.none()
	select {
	case <-none:
		return nil
	default:
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
