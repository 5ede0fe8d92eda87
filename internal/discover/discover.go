// Package discover follows the names of backends: it asks DNS where the servers of a name are, again
// each time the answer is past its time to live, and says when they have changed.
package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"wsproxy/internal/sock"
)

// Config says how a Discoverer asks.
type Config struct {
	// Resolver asks. Whoever made it closes it, after the Discoverer.
	Resolver *sock.Resolver

	// MinTTL and MaxTTL bound how long an answer is kept, beside what the Resolver makes of it: from a
	// second to an hour. Zero adds nothing to that.
	MinTTL, MaxTTL time.Duration

	// MaxQuestions is how many questions are asked at the same time. Zero means 16, half of what the
	// Resolver can ask: the rest is for those who dial.
	MaxQuestions int

	// MaxEndpoints is how many endpoints a name may have. Zero means 1000.
	MaxEndpoints int

	// Log gets a line when a name, that has endpoints or not, cannot be looked up (any more), and one
	// when it can (again). Nil means slog.Default().
	Log *slog.Logger
}

const (
	// A lookup that came to nothing is tried again after minRetry, then after twice as long each time.
	minRetry = time.Second
	maxRetry = 30 * time.Second
)

// Discoverer follows names. It may be used by many goroutines. A name at rest costs a timer.
type Discoverer struct {
	// Fixed at creation.
	cfg    Config
	now    func() time.Time
	after  func(time.Duration, func()) (stop func() bool)
	jitter func(most time.Duration) time.Duration
	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	slots  chan struct{} // one per question under way

	mu      sync.Mutex // guards the fields below and what followed and follower say
	names   map[Name]*followed
	closed  bool
	pending sync.WaitGroup // timers that are set, lookups, calls of changed
}

// followed is a name that somebody follows.
//
//	new → good ⇄ failing
//	new → empty → good
//
// new: no answer yet. good: endpoints, err nil. failing: endpoints of the last good answer, or those of
// them and the present one together, err says what is missing. empty: err only. Each lookup moves it,
// if at all; when nobody follows it any more, its ctx ends and it is forgotten.
type followed struct {
	// Fixed at creation.
	name   Name
	ctx    context.Context
	cancel context.CancelFunc

	// Owned by the lookup; there is one at a time.
	targets map[string]target // by host, those of the last SRV records
	cut     bool              // more endpoints than MaxEndpoints, which has been said

	// Guarded by Discoverer.mu.
	followers []*follower
	endpoints []Endpoint // never changed, only replaced
	answered  time.Time  // when they came
	err       error      // of the last lookup
	retry     time.Duration
	stopTimer func() bool // of the next lookup
	telling   bool        // somebody is calling followers
}

// follower is one call of Follow.
type follower struct {
	changed func([]Endpoint)

	// Guarded by Discoverer.mu.
	told    []Endpoint
	settled bool          // told of the first answer, or that there is none; or over
	first   chan struct{} // closed when settled
}

// New makes a Discoverer. Close ends it.
func New(cfg Config) *Discoverer {
	if cfg.MaxTTL <= 0 {
		cfg.MaxTTL = time.Hour
	}
	if cfg.MaxQuestions <= 0 {
		cfg.MaxQuestions = 16
	}
	if cfg.MaxEndpoints <= 0 {
		cfg.MaxEndpoints = 1000
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	d := &Discoverer{
		cfg:    cfg,
		now:    time.Now,
		after:  func(wait time.Duration, f func()) func() bool { return time.AfterFunc(wait, f).Stop },
		jitter: func(most time.Duration) time.Duration { return rand.N(most + 1) },
		slots:  make(chan struct{}, cfg.MaxQuestions),
		names:  make(map[Name]*followed),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Close ends the lookups under way, and waits for them and for calls of changed: it must not be called
// from one. Nothing is followed from then on.
func (d *Discoverer) Close() {
	d.mu.Lock()
	d.closed = true
	for _, n := range d.names {
		for _, f := range n.followers {
			f.settleLocked()
		}
		n.followers = nil
		d.forgetLocked(n)
	}
	d.mu.Unlock()
	d.cancel()
	d.pending.Wait()
}

// Follow looks a name up at once, and again by its time to live, until stop. changed is called from
// another goroutine with the first endpoints and whenever they are others, at most once at a time for
// a name, and never with none: what cannot be looked up keeps its endpoints. Their slice is shared and
// must not be changed; it stays valid.
//
// All who follow a name share its lookups and endpoints: in order to keep those, follow it anew before
// the old stop. stop does not wait; a call of changed that is under way may outlast it, and is the last.
func (d *Discoverer) Follow(name Name, changed func([]Endpoint)) (stop func()) {
	name = name.normal()
	f := &follower{changed: changed, first: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return func() {}
	}
	n := d.names[name]
	if n == nil {
		n = &followed{name: name}
		n.ctx, n.cancel = context.WithCancel(d.ctx)
		d.names[name] = n
		d.lookupLaterLocked(n, 0)
	} else {
		d.pending.Add(1)
		d.after(0, func() { defer d.pending.Done(); d.tell(n) })
	}
	n.followers = append(n.followers, f)
	return func() { d.unfollow(n, f) }
}

func (d *Discoverer) unfollow(n *followed, f *follower) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(n.followers, f)
	if i < 0 {
		return // stopped or closed before
	}
	n.followers = slices.Delete(n.followers, i, i+1)
	f.settleLocked()
	if len(n.followers) == 0 {
		d.forgetLocked(n)
	}
}

// forgetLocked ends what goes on for a name without followers.
func (d *Discoverer) forgetLocked(n *followed) {
	delete(d.names, n.name)
	n.cancel()
	if n.stopTimer() {
		d.pending.Done()
	}
}

// Wait returns when each of the names, which must be followed, has had its first answer or failure and
// its followers have been told, or when ctx ends. The error says for each name without endpoints why;
// it is looked up again for as long as it is followed.
func (d *Discoverer) Wait(ctx context.Context, names ...Name) error {
	var errs []error
	for _, name := range names {
		name = name.normal()
		for _, first := range d.firsts(name) {
			select {
			case <-first:
			case <-ctx.Done():
			}
		}
		errs = append(errs, d.missing(ctx, name))
	}
	return errors.Join(errs...)
}

func (d *Discoverer) firsts(name Name) (firsts []<-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.names[name]; n != nil {
		for _, f := range n.followers {
			firsts = append(firsts, f.first)
		}
	}
	return firsts
}

// missing is why a name has no endpoints, nil if it has.
func (d *Discoverer) missing(ctx context.Context, name Name) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	switch {
	case d.closed:
		return fmt.Errorf("follow %s: %w", name, net.ErrClosed)
	case n == nil:
		return fmt.Errorf("%s is not followed", name)
	case len(n.endpoints) > 0:
		return nil
	case n.err != nil:
		return n.err
	}
	return fmt.Errorf("lookup %s: no answer yet: %w", name, ctx.Err())
}

// Status is what is known of a name.
type Status struct {
	Name      Name
	Endpoints []Endpoint // those in use; shared, must not be changed
	Answered  time.Time  // when the last answer with any came, zero if there was none yet
	Age       time.Duration
	Err       error // of the last lookup; the endpoints are older then, all or some
}

// Snapshot gives the names that are followed, in order.
func (d *Discoverer) Snapshot() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Status, 0, len(d.names))
	for _, n := range d.names {
		s := Status{Name: n.name, Endpoints: n.endpoints, Answered: n.answered, Err: n.err}
		if !s.Answered.IsZero() {
			s.Age = d.now().Sub(s.Answered)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return all
}

// lookupLaterLocked sets the timer of a name's next lookup.
func (d *Discoverer) lookupLaterLocked(n *followed, wait time.Duration) {
	d.pending.Add(1)
	n.stopTimer = d.after(wait, func() { defer d.pending.Done(); d.lookup(n) })
}

// lookup brings a name's next answer.
func (d *Discoverer) lookup(n *followed) {
	a := d.ask(n)
	d.mu.Lock()
	if n.ctx.Err() != nil {
		d.mu.Unlock()
		return
	}
	before := n.err
	n.err = a.err
	if len(a.endpoints) > 0 {
		n.endpoints, n.answered = a.endpoints, d.now()
	}
	wait := max(min(a.ttl, d.cfg.MaxTTL), d.cfg.MinTTL)
	if a.err == nil {
		n.retry = 0
	} else {
		n.retry = min(max(2*n.retry, minRetry), maxRetry)
		if a.ttl == 0 || n.retry < wait {
			wait = n.retry
		}
	}
	// A tenth, lest many names ask together; later, for sooner a server that keeps answers of another's
	// would give the same again.
	d.lookupLaterLocked(n, wait+d.jitter(wait/10))
	inUse := len(n.endpoints)
	d.mu.Unlock()
	switch {
	case a.err != nil && before == nil && inUse > 0:
		d.cfg.Log.Warn("name not resolved, its last addresses stay in use", "host", n.name.Host, "addresses", inUse, "err", a.err)
	case a.err != nil && before == nil:
		d.cfg.Log.Warn("name not resolved, it has no addresses yet", "host", n.name.Host, "err", a.err)
	case a.err == nil && before != nil:
		d.cfg.Log.Info("name resolved again", "host", n.name.Host, "addresses", inUse)
	}
	d.tell(n)
}

// tell calls the followers that do not know the endpoints of a name. If somebody is at it, they do the
// rest.
func (d *Discoverer) tell(n *followed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.telling || n.endpoints == nil && n.err == nil {
		return
	}
	n.telling = true
	for {
		endpoints := n.endpoints
		i := slices.IndexFunc(n.followers, func(f *follower) bool { return !slices.Equal(f.told, endpoints) })
		if i < 0 {
			break
		}
		f := n.followers[i]
		f.told = endpoints
		d.mu.Unlock()
		f.changed(endpoints)
		d.mu.Lock()
	}
	for _, f := range n.followers {
		f.settleLocked()
	}
	n.telling = false
}

func (f *follower) settleLocked() {
	if !f.settled {
		f.settled = true
		close(f.first)
	}
}
