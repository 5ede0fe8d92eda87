package splice

import (
	"time"
)

// Live is what is known of a link that has not ended yet.
type Live struct {
	Owner Owner

	// Cause is what is ending the link, StillOpen while nothing is.
	Cause Cause

	// Opened is when the link was made, Active when bytes of its ends' own last passed either way.
	Opened, Active time.Time

	ToBackend, ToClient Count

	// ClientTrip and BackendTrip are how long the last answer to a Ping of wsproxy's took from there.
	// Zero means that there was none.
	ClientTrip, BackendTrip time.Duration
}

// Links calls f with every link there is, on the caller's goroutine. It takes them a few at a time,
// so that the links go on meanwhile: one that is opened or ends then may be left out.
func (e *Engine) Links(f func(Live)) {
	for _, d := range e.drivers() {
		d.each(f)
	}
}

func (l *link) live(owner Owner) Live {
	live := Live{
		Owner:     owner,
		Cause:     l.cause,
		Opened:    l.opened.time(),
		Active:    l.active.time(),
		ToBackend: l.toBackend.count(),
		ToClient:  l.toClient.count(),
	}
	if h := l.toBackend.pongs(); h != nil {
		live.ClientTrip = h.last
	}
	if h := l.toClient.pongs(); h != nil {
		live.BackendTrip = h.last
	}
	return live
}
