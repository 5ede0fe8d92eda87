package routing

import "time"

// Judge knows whether a backend works, from what becomes of requests and from probes. Its methods may be
// called from anywhere and do not wait. package health has one.
type Judge interface {
	// Usable reports whether a request that begins now could go to the backend; Admit lets it through, or
	// reports false. Whoever is let through owes one of the others.
	Usable(now time.Time) bool
	Admit(now time.Time) bool

	// Failed tells of a request, let through at the time begun, that has failed now, for the backend's
	// sake: err wraps one of this package's errors.
	Failed(begun, now time.Time, err error)

	// Succeeded tells of a plain request that was answered, Opened of a link that was opened, and Ended of
	// one, opened at the time opened, that is over; died says that the backend has ended it without a
	// Close.
	Succeeded(now time.Time)
	Opened(now time.Time)
	Ended(opened, now time.Time, died bool)

	// Abandoned tells of a request, let through at the time begun, that nothing can be learnt from.
	Abandoned(begun time.Time)
}

// trusting is the Judge of a backend that has no other.
type trusting struct{}

func (trusting) Usable(time.Time) bool          { return true }
func (trusting) Admit(time.Time) bool           { return true }
func (trusting) Failed(_, _ time.Time, _ error) {}
func (trusting) Succeeded(time.Time)            {}
func (trusting) Opened(time.Time)               {}
func (trusting) Ended(_, _ time.Time, _ bool)   {}
func (trusting) Abandoned(time.Time)            {}

// SetJudge gives the backend a Judge, nil for none.
func (b *Backend) SetJudge(j Judge) {
	if j == nil {
		b.judge.Store(nil)
		return
	}
	b.judge.Store(&j)
}

// Judge is the backend's, never nil.
func (b *Backend) Judge() Judge {
	if j := b.judge.Load(); j != nil {
		return *j
	}
	return trusting{}
}

// takes reports whether the backend takes requests, or one that is to try it. One that is unhealthy takes
// none unless there is a Judge to say so.
func (b *Backend) takes() bool {
	switch b.state.Load() {
	case 0:
		return true
	case isUnhealthy:
		j := b.judge.Load()
		return j != nil && (*j).Usable(time.Now())
	}
	return false
}
