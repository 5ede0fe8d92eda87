package splice

import (
	"errors"
	"io"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/record"
)

// Cause says what ended a link. The first thing that happened counts.
type Cause uint8

const (
	// StillOpen is the zero value: nothing has ended the link.
	StillOpen Cause = iota
	// ClientClosed and BackendClosed: a Close frame came from there first.
	ClientClosed
	BackendClosed
	// ClientGone and BackendGone: the connection there ended without a Close frame.
	ClientGone
	BackendGone
	// ClientViolation and BackendViolation: what came from there was not RFC 6455, or not TLS.
	ClientViolation
	BackendViolation
	// Drained: wsproxy closed it.
	Drained
	// ClientTooBig and BackendTooBig: a frame or message from there was larger than the Policy allows.
	ClientTooBig
	BackendTooBig
	// ClientTooOften and BackendTooOften: more messages came from there than the Policy allows.
	ClientTooOften
	BackendTooOften
	// IdleTimeout and MaxAge: the Policy's time was up.
	IdleTimeout
	MaxAge
	// ClientStalled and BackendStalled: it took nothing for the Policy's StallTimeout.
	ClientStalled
	BackendStalled
	// ClientSilent and BackendSilent: it did not answer a Ping of wsproxy's.
	ClientSilent
	BackendSilent
	// ClientReset and BackendReset: the connection there broke off without a Close frame.
	ClientReset
	BackendReset
	// Retired: wsproxy closed it, and others stay.
	Retired
)

// String is the cause as a log line has it.
func (c Cause) String() string {
	return [...]string{"open", "client closed", "backend closed", "client gone", "backend gone",
		"client violation", "backend violation", "drained", "client too big", "backend too big",
		"client too often", "backend too often", "idle timeout", "max age", "client stalled", "backend stalled",
		"client silent", "backend silent", "client reset", "backend reset", "retired"}[c]
}

// Result is what is known of a link once it has ended.
type Result struct {
	Cause Cause

	// Err is the violation, of RFC 6455, of TLS or of the Policy, when there was one, and the first if there
	// were two. It is record.ErrTruncated for an end that left without a Close frame and without TLS's
	// close_notify, which tells the other side that it is not cut off.
	Err error

	// ClientCode and BackendCode are the status codes of the Close frames that came from each:
	// frame.NoStatus for one without a code, 0 where none came.
	ClientCode, BackendCode uint16

	ToBackend, ToClient Count
	Duration            time.Duration
}

// Count is what passed in one direction. Frames and messages are those that passed whole; a Close or
// Ping of wsproxy's own counts among the bytes only.
type Count struct {
	Bytes, Frames, Messages uint64
}

// link is what both drivers know of a link: two pipes, and when it is over. It does no I/O; a
// driver tells it what happened, writes what it returns and asks for its patience afterwards.
//
//	open    → closing: a Close frame has passed or been sent in one direction
//	any     → ending: an end has ended or broken, or both ends have said their Close
//	ending  → closed: both pipes have ended, or the driver's patience has
//	closing → closed: the driver's patience has ended
type link struct {
	// Fixed at creation.
	opened instant
	policy *Policy // nil for none

	// Owned by the driver.
	toBackend, toClient pipe
	watch               *watch  // nil while the policy does not need one
	now                 instant // as the driver has told
	active              instant // when bytes of the ends' own last passed, either way
	violation           *error  // nil for none: what Result says of it
	cause               Cause
}

// instant is a time on the clock of this process, a third of the size of a time.Time.
type instant time.Duration

var epoch = time.Now()

func instantOf(t time.Time) instant { return instant(t.Sub(epoch)) }

func (i instant) time() time.Time { return epoch.Add(time.Duration(i)) }

type state uint8

const (
	open state = iota
	closing
	ending
)

func newLink(extensions frame.Extensions, opened time.Time) link {
	at := instantOf(opened)
	return link{
		opened: at, now: at, active: at,
		toBackend: pipe{toBackend: true, tracker: frame.New(true, extensions)},
		toClient:  pipe{tracker: frame.New(false, extensions)},
	}
}

// other is the pipe of the opposite direction.
func (l *link) other(p *pipe) *pipe {
	if p == &l.toBackend {
		return &l.toClient
	}
	return &l.toBackend
}

// received takes n bytes that have been read for p into buf behind headroom, none when the driver
// only woke it, and returns what is to be written to p's end, a part of buf. The other pipe may be
// due afterwards.
func (l *link) received(p *pipe, buf []byte, n int) (out []byte) {
	if pongs := p.pongs(); pongs != nil && n > 0 {
		pongs.heard = l.watch.now
	}
	out, err := p.pass(buf, n)
	l.stir(p)
	if err != nil {
		l.violated(p, err)
		out = p.bid(out)
	}
	if p.tracker.Closed() {
		if l.cause == from(p, ClientGone, BackendGone) {
			l.cause = StillOpen // a write found the end gone before its Close had been read
		}
		l.blame(p, ClientClosed, BackendClosed)
	}
	return out
}

// skipped takes n bytes of p's that have passed unseen, as pipe.skip has them.
func (l *link) skipped(p *pipe, n int) {
	if pongs := p.pongs(); pongs != nil {
		pongs.heard = l.watch.now
	}
	p.skip(n)
	l.stir(p)
}

// stir notes that bytes of an end's own have passed, if they have.
func (l *link) stir(p *pipe) {
	if !p.stirred {
		return
	}
	l.active = l.now
	if l.watch != nil {
		l.watch.active = l.watch.now
	}
}

// end takes the end of what p reads: io.EOF, or why it broke off. It returns what is still to be
// written, a part of buf, and whether the end is then to be passed on as a reset.
func (l *link) end(p *pipe, buf []byte, err error) (out []byte, reset bool) {
	truncated := errors.Is(err, record.ErrTruncated)
	ended := errors.Is(err, io.EOF) || truncated
	if truncated && l.violation == nil && !p.tracker.Closed() {
		l.violation = &err
	}
	alert, ofTLS := errors.AsType[*record.AlertError](err)
	switch gone := from(p, ClientGone, BackendGone); {
	case ended, errors.Is(err, errBuried):
		l.blame(p, ClientGone, BackendGone)
	case ofTLS && !alert.Received:
		l.blame(p, ClientViolation, BackendViolation)
		if l.violation == nil {
			l.violation = &err
		}
	case l.cause == StillOpen, l.cause == gone: // a write may have found it gone before
		l.cause = from(p, ClientReset, BackendReset)
	}
	p.ended = true
	orderly := ended || p.over
	if !p.toBackend {
		p.leave(goneFrom(p))
	}
	// With a Close frame the other end knows what happened, and it arrives, as behind a reset it
	// might not.
	out = p.bid(buf[headroom:headroom])
	return out, !orderly && len(out) == 0
}

// broke says that p's bytes cannot be written any more: the end they go to has gone. The driver
// goes on reading for p.
func (l *link) broke(p *pipe) {
	l.blame(l.other(p), ClientGone, BackendGone)
	p.broken = true
	p.finish()
}

// cut says that the driver closes both ends now.
func (l *link) cut() {
	if l.cause == StillOpen {
		l.cause = Drained
	}
}

// close asks both ends to close, each at its pipe's next frame boundary. Both pipes may be due
// afterwards.
func (l *link) close(bye *farewell, cause Cause) {
	if l.cause == StillOpen {
		l.cause = cause
	}
	l.toBackend.leave(bye)
	l.toClient.leave(bye)
}

// leave makes the pipe say goodbye, unless it is to do so already.
func (p *pipe) leave(bye *farewell) {
	if p.bye == nil {
		p.bye = bye
	}
}

// goneFrom is what the receiver of a pipe is told when its sender has gone.
func goneFrom(p *pipe) *farewell {
	if p.toBackend {
		return &clientGone
	}
	return &backendGone
}

var (
	clientGone  = farewell{frame.GoingAway, "client gone"}
	backendGone = farewell{frame.BadGateway, "backend gone"}
)

// blame notes the first cause: one for what came from the client, one for the backend.
func (l *link) blame(p *pipe, client, backend Cause) {
	if l.cause == StillOpen {
		l.cause = from(p, client, backend)
	}
}

// from is the cause that names the end p reads from.
func from(p *pipe, client, backend Cause) Cause {
	if p.toBackend {
		return client
	}
	return backend
}

// parted reports whether both ends have sent a Close.
func (l *link) parted() bool { return l.toBackend.tracker.Closed() && l.toClient.tracker.Closed() }

func (l *link) state() state {
	switch {
	case l.toBackend.gone() || l.toClient.gone(), l.toBackend.heard() && l.toClient.heard():
		return ending
	case l.toBackend.over || l.toClient.over:
		return closing
	default:
		return open
	}
}

// moved grows whenever bytes move.
func (l *link) moved() uint64 { return l.toBackend.bytes + l.toClient.bytes }

func (l *link) result(now time.Time) Result {
	var err error
	if l.violation != nil {
		err = *l.violation
	}
	return Result{
		Cause:       l.cause,
		Err:         err,
		ClientCode:  l.toBackend.tracker.CloseCode(),
		BackendCode: l.toClient.tracker.CloseCode(),
		ToBackend:   l.toBackend.count(),
		ToClient:    l.toClient.count(),
		Duration:    now.Sub(l.opened.time()),
	}
}
