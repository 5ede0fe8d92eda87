package splice

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"wsproxy/internal/frame"
)

// errBuried is why nothing more is read from an end that was given up.
var errBuried = errors.New("given up")

// moment is a time as a link has it: since the link was made.
type moment time.Duration

// never is a moment that does not come.
const never = moment(math.MaxInt64)

// after is the moment d after m, never if d is not more than zero.
func (m moment) after(d time.Duration) moment {
	if d <= 0 || moment(d) > never-m {
		return never
	}
	return m + moment(d)
}

// watch is what a link has to remember under a policy that needs a clock. It reads none: the driver
// tells it the time, at most once for all that one wake-up brings.
type watch struct {
	// Fixed at creation.
	policy       *Policy
	end          moment // of MaxAge
	closeTimeout time.Duration

	// Owned by the driver.
	begun  bool // patrol has been called
	now    moment
	active moment        // when bytes of the ends' own last passed, either way
	full   [2]moment     // by pipe: when its sender has all its tokens again
	stalls [2]stall      // by pipe
	beats  [2]*heartbeat // by pipe: the Pings that its sender answers, nil for none
	kept   [2]kept       // by pipe
	stayed bool          // something has been kept since patrol was called
	ending bool          // the link is not open any more
	leave  moment        // when the link is cut off after it has been asked to close; zero before
}

// stall is what is known of a receiver that has not taken all it was sent.
type stall struct {
	on       bool
	since    moment
	progress uint64 // at since
}

// flow is what a driver knows of the bytes of one pipe.
type flow struct {
	waits    bool   // for its receiver, and reads nothing meanwhile
	progress uint64 // grows with all that the receiver takes
}

// order is what a driver is to do beyond sending what is due.
type order uint8

const (
	goOn       order = iota
	cutOff           // both ends
	buryClient       // as one that has broken: it gets nothing any more, the other end is told
	buryBackend
)

func newWatch(p *Policy, closeTimeout time.Duration) *watch {
	return &watch{policy: p, end: moment(0).after(jitter(p.MaxAge)), closeTimeout: closeTimeout}
}

// jitter is d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

// tick tells the link the time, before anything else that happens then.
func (l *link) tick(clock time.Time) {
	l.now = instantOf(clock)
	if l.watch != nil {
		l.watch.now = moment(l.now - l.opened)
	}
}

// overlooks reports whether a driver is to call patrol now rather than when it was told to: at the
// link's begin, when a sender has to wait, and when a receiver that patrol does not know of stops
// taking what it is sent.
func (w *watch) overlooks(backendWaits, clientWaits bool) bool {
	return !w.begun || w.stayed || w.policy.StallTimeout > 0 &&
		(backendWaits && !w.stalls[0].on || clientWaits && !w.stalls[1].on)
}

// patrol sees to what the policy wants of an open link at this time. The pipes may be due
// afterwards. It returns what else is to be done and when to call it again; never is one answer.
// Calling it early does no harm, so that a driver needs one coarse timer a link, and what happens
// on a link need not touch it.
func (l *link) patrol(toBackend, toClient flow) (order, moment) {
	w, p := l.watch, l.watch.policy
	w.begun, w.stayed = true, false
	switch {
	case w.leave != 0:
		if w.now >= w.leave {
			return cutOff, never // it stands in mid-frame, where nothing can be said
		}
	case w.now >= w.end:
		l.ask(&tooOld, MaxAge)
	case w.now >= w.active.after(p.IdleTimeout):
		l.ask(&tooIdle, IdleTimeout)
	}
	next := w.leave
	if w.leave == 0 {
		next = min(w.end, w.active.after(p.IdleTimeout))
	}
	for _, end := range [2]struct {
		from, to *pipe
		blocked  bool
		cause    Cause
	}{
		{&l.toBackend, &l.toClient, toBackend.waits, ClientSilent},
		{&l.toClient, &l.toBackend, toClient.waits, BackendSilent},
	} {
		if h := end.to.pings(); h != nil {
			due, dead := h.beat(p, w.now, end.blocked || end.from.waiting())
			if dead {
				return l.bury(end.from, end.cause), never
			}
			next = min(next, due)
		}
	}
	for _, waiting := range [2]*pipe{&l.toBackend, &l.toClient} {
		if waiting.waiting() {
			next = min(next, max(w.now, w.token(waiting)))
		}
	}
	if p.StallTimeout <= 0 {
		return goOn, next
	}
	for i, f := range [2]flow{toBackend, toClient} {
		s := &w.stalls[i]
		if !f.waits {
			s.on = false
			continue
		}
		if !s.on || s.progress != f.progress {
			*s = stall{on: true, since: w.now, progress: f.progress}
		}
		up := s.since.after(p.StallTimeout)
		if w.now < up {
			next = min(next, up)
			continue
		}
		if i == 0 {
			return l.bury(&l.toClient, BackendStalled), never
		}
		return l.bury(&l.toBackend, ClientStalled), never
	}
	return goOn, next
}

var (
	tooOld  = farewell{frame.GoingAway, "maximum age reached"}
	tooIdle = farewell{frame.GoingAway, "idle"}
)

// ask asks both ends to close, for a time.
func (l *link) ask(bye *farewell, cause Cause) {
	l.close(bye, cause)
	l.watch.leave = l.watch.now.after(l.watch.closeTimeout)
}

// bury gives up the end that p reads from; the other one is told as soon as it can be.
func (l *link) bury(p *pipe, cause Cause) order {
	if l.cause == StillOpen {
		l.cause = cause
	}
	p.leave(goneFrom(p))
	if p.toBackend {
		return buryClient
	}
	return buryBackend
}

// index is the pipe's place in the arrays of a watch.
func (p *pipe) index() int {
	if p.toBackend {
		return 0
	}
	return 1
}
