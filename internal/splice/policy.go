package splice

import (
	"errors"
	"time"

	"wsproxy/internal/frame"
)

// Policy is what a route asks of its links beyond carrying them. All links of a route share one; it
// does not change. The zero value, and nil, asks for nothing.
type Policy struct {
	// Limits are what frames of either end must keep to; RFC 6455 unless Limits.Lenient. A larger
	// frame or message ends the link before any of it has passed: Close 1009 for its sender, 1001 for
	// the other end.
	Limits frame.Limits

	// MessageRate is how many messages a second a client may send for long, and MessageBurst how many
	// at once when it has been quiet. With one more the link ends before that one has passed: Close
	// 1008 for its sender, and the other end is told that the sender has gone. Zero is no limit for
	// MessageRate, and what comes in one second for MessageBurst. RateBackend holds backends to it,
	// too.
	MessageRate  float64
	MessageBurst int
	RateBackend  bool

	// RateWait has a sender wait instead that has sent more messages: nothing more is read from it, and
	// what has been read is kept, until the next may pass. What comes in a tenth of a second is the least
	// for MessageBurst then, since that is how finely the loops tell the time.
	RateWait bool

	// IdleTimeout closes a link with 1001 on which no byte passes either way. Zero means never.
	IdleTimeout time.Duration

	// MaxAge closes a link with 1001 however busy it is, at an age within a tenth of it that is chosen
	// for each link, so that links made together do not end together. Zero means never.
	MaxAge time.Duration

	// StallTimeout gives an end up that takes nothing of what is sent to it, at the latest after twice
	// that time; the other end is told that it has gone. Zero means never.
	StallTimeout time.Duration

	// PingInterval is how long a client may be silent before it is sent a Ping, whose Pong goes no
	// further. One that then stays silent for PongTimeout has gone: it is cut off, and the backend is
	// told. Zero means never for either. PingBackend treats backends likewise.
	PingInterval, PongTimeout time.Duration
	PingBackend               bool
}

// govern puts the link under a policy, nil for none, before anything else is asked of it. A link
// that the policy asks to close has closeTimeout for it; trips gets the round trips of its Pings.
func (l *link) govern(p *Policy, closeTimeout time.Duration, trips *roundTrips) {
	if p == nil {
		return
	}
	l.policy = p
	if p.Limits != (frame.Limits{}) {
		l.toBackend.tracker.Restrict(&p.Limits)
		l.toClient.tracker.Restrict(&p.Limits)
	}
	if p.MessageRate > 0 || p.IdleTimeout > 0 || p.MaxAge > 0 || p.PingInterval > 0 {
		l.attend(closeTimeout)
	}
	if p.PingInterval > 0 {
		l.watch.beats[0] = newHeartbeat(trips)
		if p.PingBackend {
			l.watch.beats[1] = newHeartbeat(trips)
		}
	}
}

// attend gives the link the watch that its policy needs. One that has a StallTimeout alone needs none
// before an end takes less than it is sent: an idle link has none.
func (l *link) attend(closeTimeout time.Duration) {
	l.watch = newWatch(l.policy, closeTimeout)
	l.watch.now, l.watch.active = moment(l.now-l.opened), moment(l.active-l.opened)
	l.toBackend.watch, l.toClient.watch = l.watch, l.watch
}

// unattended reports whether an end that takes less than it is sent is a reason to attend.
func (l *link) unattended() bool {
	return l.watch == nil && l.policy != nil && l.policy.StallTimeout > 0
}

// violated ends the link for what has been read for p. The sender is told what it did. The other
// end did nothing: for it the sender has gone.
func (l *link) violated(p *pipe, err error) {
	if l.violation == nil {
		l.violation = &err
	}
	switch {
	case errors.Is(err, frame.ErrFrameSize), errors.Is(err, frame.ErrMessageSize):
		l.blame(p, ClientTooBig, BackendTooBig)
		l.other(p).leave(&farewell{frame.TooBig, err.Error()})
		p.leave(&farewell{frame.GoingAway, "other end sent too much"})
	case errors.Is(err, ErrMessageRate):
		l.blame(p, ClientTooOften, BackendTooOften)
		l.other(p).leave(&farewell{frame.Policy, err.Error()})
		p.leave(goneFrom(p))
	default:
		l.blame(p, ClientViolation, BackendViolation)
		l.other(p).leave(&farewell{frame.ProtocolError, err.Error()})
		p.leave(goneFrom(p))
	}
}
