package inbound

import "time"

// grace is the waiting that a head or a body is given before any of it has come.
const grace = 5 * time.Second

// pace holds a client to a rate. What it sends buys time to wait in, at MinRate bytes a second, on top of
// the grace and up to a longest pause; only time that is spent waiting for the client counts, so that a
// backend that takes a body slowly is not the client's fault.
type pace struct {
	left    time.Duration // to wait in
	longest time.Duration // negative: any
	rate    int64         // bytes a second; not positive: any
	until   time.Time     // the end of it all; zero: never
	patient bool          // nothing has come, and until something does the rate does not matter
}

func newPace(rate int64, longest time.Duration, until time.Time) pace {
	p := pace{left: grace, longest: longest, rate: rate, until: until}
	if longest >= 0 {
		p.left = min(p.left, longest)
	}
	return p
}

// deadline is when a read that begins now has to have brought something; zero for whenever.
func (p *pace) deadline(now time.Time) time.Time {
	wait := p.longest
	if p.rate > 0 && !p.patient {
		wait = max(0, p.left) // a read may have waited for longer than it was to
	}
	if wait < 0 {
		return p.until
	}
	at := now.Add(wait)
	if !p.until.IsZero() && p.until.Before(at) {
		return p.until
	}
	return at
}

// received accounts for a read that has waited and brought n bytes.
func (p *pace) received(n int, waited time.Duration) {
	if p.rate <= 0 || n == 0 && p.patient {
		return
	}
	if p.patient {
		p.patient, waited = false, 0
	}
	p.left += time.Duration(n)*time.Second/time.Duration(p.rate) - waited
	if p.longest >= 0 {
		p.left = min(p.left, p.longest)
		return
	}
	p.left = min(p.left, 24*time.Hour) // so that it cannot overflow
}
