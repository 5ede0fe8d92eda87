package front

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"wsproxy/internal/forward"
	"wsproxy/routing"
	"wsproxy/upgrade"
)

// Retries have a budget for all requests of a route, so that backends which are down do not get a multiple
// of the load: each request puts a part of a retry into it, up to so many that a route with little to do
// has some as well.
const (
	retryShare = 5  // requests for a retry
	retryMost  = 10 // retries
)

// budget is how many retries a route has left, in parts of one.
type budget struct{ parts atomic.Int64 }

func newBudget() *budget {
	b := new(budget)
	b.parts.Store(retryMost * retryShare)
	return b
}

// earn is for a request.
func (b *budget) earn() {
	if b.parts.Load() < retryMost*retryShare {
		b.parts.Add(1)
	}
}

// spend takes a retry, if there is one.
func (b *budget) spend() bool {
	for {
		n := b.parts.Load()
		if n < retryShare {
			return false
		}
		if b.parts.CompareAndSwap(n, n-retryShare) {
			return true
		}
	}
}

// giveBack is for one that was spent on nothing, for want of another backend.
func (b *budget) giveBack() { b.parts.Add(retryShare) }

// newBudgets are those of a table's routes: what a route of the same name has left in old, nil for none, or
// new ones.
func newBudgets(table *routing.Table, old *setup) map[*routing.Route]*budget {
	have := make(map[string]*budget)
	if old != nil {
		for route, b := range old.budgets {
			have[route.Name] = b
		}
	}
	budgets := make(map[*routing.Route]*budget)
	for _, route := range table.Routes() {
		b := have[route.Name]
		if b == nil {
			b = newBudget()
		}
		budgets[route] = b
	}
	return budgets
}

// attempt is a request at one backend, whose Judge is owed one word about it: Succeeded, Opened, or what
// failed says.
type attempt struct {
	backend *routing.Backend // nil until one is picked
	judge   routing.Judge
	begun   time.Time

	failures int   // backends that have failed the request
	failure  error // the last one's
}

// admit reports whether the request may go to b, which has been picked for it: where several find out at
// the same time that b could be tried again, one may.
func (s *Server) admit(r *request, ask *routing.Ask, b *routing.Backend) bool {
	judge, now := b.Judge(), time.Now()
	if !judge.Admit(now) {
		ask.Tried = append(ask.Tried, b)
		return false
	}
	if r.failure != nil {
		s.cfg.Log.Debug("tried again", "client", r.from(), "backend", r.backend.Addr, "route", r.route.Name, "err", r.failure)
	}
	r.backend, r.judge, r.begun = b, judge, now
	return true
}

// failed tells the judge of an error. A client that leaves says nothing about its backend, and no error,
// which is a panic, neither.
func (r *request) failed(err error) {
	if err == nil || errors.Is(err, upgrade.ErrClientGone) || errors.Is(err, forward.ErrClient) {
		r.judge.Abandoned(r.begun)
		return
	}
	r.judge.Failed(r.begun, time.Now(), err)
}

// succeeded tells it of an answer, whatever that says: a backend that refuses works.
func (r *request) succeeded() { r.judge.Succeeded(time.Now()) }

// mayRetry reports whether the request can be tried on another backend, behind an error.
func (r *request) mayRetry(ask *routing.Ask, err error) bool {
	ask.Tried = append(ask.Tried, r.backend)
	r.failures++
	r.failure = err
	return r.failures <= r.route.Retries && r.budgets[r.route].spend()
}

// nowhere is the error of a request that goes to no backend, as err says: what the last one has failed it
// with, if one has and there is somebody to hear of that.
func (r *request) nowhere(err error) error {
	if r.failure == nil {
		return err
	}
	r.budgets[r.route].giveBack()
	if errors.Is(err, errStopping) || errors.Is(err, upgrade.ErrClientGone) {
		return err
	}
	return r.failure
}

// open asks one backend after the other for a link until one answers, or enough have failed. The slot on
// r.backend is the caller's when there is no error.
func (s *Server) open(r *request, hs *upgrade.Handshake) (*upgrade.Answer, error) {
	ask := r.ask()
	r.budgets[r.route].earn()
	for {
		b, err := s.acquire(r, ask)
		if err != nil {
			return nil, r.nowhere(err)
		}
		if !s.admit(r, ask, b) {
			b.Release()
			continue
		}
		a, err := s.ask(r, hs)
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, upgrade.ErrClientGone), !r.mayRetry(ask, err):
			return nil, err
		case r.conn.Gone():
			return nil, r.nowhere(upgrade.ErrClientGone)
		}
	}
}

// acquire takes a slot on a backend. Whoever waits for one does so until its client leaves, or Shutdown is
// called.
func (s *Server) acquire(r *request, ask *routing.Ask) (*routing.Backend, error) {
	if r.route.Queue.Size <= 0 {
		return r.route.Acquire(s.life, ask)
	}
	ctx, cancel := context.WithCancelCause(s.life)
	defer cancel(nil)
	r.conn.Attend(attendant(func() { cancel(upgrade.ErrClientGone) }))
	defer r.conn.Unattend()
	b, err := r.route.Acquire(ctx, ask)
	if errors.Is(err, context.Canceled) {
		return nil, context.Cause(ctx)
	}
	return b, err
}

// attendant is an inbound.Attendant.
type attendant func()

// ClientLeft is inbound.Attendant's.
func (f attendant) ClientLeft() { f() }

// ask asks r.backend for a link. The slot there is given back unless there is an answer.
func (s *Server) ask(r *request, hs *upgrade.Handshake) (a *upgrade.Answer, err error) {
	defer func() {
		if a == nil {
			r.failed(err) // before anybody gets the slot who would fail as well
			r.backend.Release()
		}
	}()
	req := s.head(r)
	req.Upgrade = true
	return s.cfg.Upgrader.Ask(r.conn, r.route, r.backend, hs, &req, r.preface())
}

// bring has one backend after the other asked for an answer, while nothing has been sent to any.
func (s *Server) bring(r *request) (keep bool, err error) {
	ask := r.ask()
	r.budgets[r.route].earn()
	for {
		b := r.route.Pick(ask)
		if b == nil {
			return false, r.nowhere(routing.ErrNoBackend)
		}
		if !s.admit(r, ask, b) {
			continue
		}
		if keep, err = s.pass(r); err == nil || !forward.Unsent(err) || !r.mayRetry(ask, err) {
			return keep, err
		}
	}
}

// pass passes the request on to r.backend, and brings its answer.
func (s *Server) pass(r *request) (keep bool, err error) {
	answered := false
	defer func() {
		if !answered {
			r.failed(err)
		}
	}()
	to := forward.To{
		Backend:     r.backend,
		DialTimeout: r.route.DialTimeout,
		Preface:     r.preface(),
		Sources:     r.route.Sources(),
		Pool:        r.route.Pool,
		Head:        s.head(r),
		Answer:      r.answer(),
	}
	to.Close = r.ctx.Request.Header.ConnectionClose()
	to.Begins = func() {
		answered = true
		r.succeeded()
	}
	return s.cfg.Forward.Forward(r.conn, &to)
}
