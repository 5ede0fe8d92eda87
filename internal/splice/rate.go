package splice

import (
	"errors"
	"math"
	"time"

	"wsproxy/internal/frame"
)

// ErrMessageRate is what a Result says of an end that sent more messages than its Policy allows.
var ErrMessageRate = errors.New("more messages than allowed")

// tickLength is how coarse the timers of a loop are. They end at the first tick that is not before
// their time.
const tickLength = 100 * time.Millisecond

// mayBegin reports whether p's sender has a token for the frame that begins with b: messages need
// one, continuations and control frames do not.
func (w *watch) mayBegin(p *pipe, b byte) bool {
	return !w.rated(p, b) || w.token(p) <= w.now
}

// token is the moment from which p's sender has a token. Nobody waits for one any more when the link
// is about to end.
func (w *watch) token(p *pipe) moment {
	if w.policy.RateWait && w.ending {
		return w.now
	}
	return max(w.full[p.index()], w.now) + w.policy.each() - w.policy.burst()
}

// took takes the token for the frame that begins with b.
func (w *watch) took(p *pipe, b byte) {
	if w.rated(p, b) {
		full := &w.full[p.index()]
		*full = max(*full, w.now) + w.policy.each()
	}
}

func (w *watch) rated(p *pipe, b byte) bool {
	return w.policy.MessageRate > 0 && (p.toBackend || w.policy.RateBackend) && frame.BeginsMessage(b)
}

// each is how long one token takes to come.
func (p *Policy) each() moment { return max(1, moment(float64(time.Second)/p.MessageRate)) }

// burst is how long all tokens take to come.
func (p *Policy) burst() moment {
	n := p.MessageBurst
	if n <= 0 {
		n = int(max(1, math.Ceil(p.MessageRate)))
	}
	if p.RateWait {
		n = max(n, int(math.Ceil(p.MessageRate*tickLength.Seconds())))
	}
	return p.each() * moment(n)
}

// kept is what has been read from a sender that has no token for it. It begins at a frame boundary.
type kept struct {
	buf  *[]byte // pooled, nil for none
	from int
}

var keptBuffers = bufferPool(scratchSize)

// keep keeps b, at most what one read can bring and what a pipe can hold. What was kept already comes
// behind it, since that is where b was taken from.
func (w *watch) keep(p *pipe, b []byte) {
	w.stayed = true
	k := &w.kept[p.index()]
	if k.buf != nil {
		k.from -= len(b)
		return
	}
	k.buf = keptBuffers.Get().(*[]byte)
	*k.buf, k.from = append((*k.buf)[:0], b...), 0
}

// wait has b, which comes behind what is kept of p's already, wait as well.
func (w *watch) wait(p *pipe, b []byte) {
	k := &w.kept[p.index()]
	*k.buf = append(*k.buf, b...)
}

// waiting reports whether something of p's is kept: nothing more is to be read for it.
func (p *pipe) waiting() bool { return p.watch != nil && p.watch.kept[p.index()].buf != nil }

// resumable reports whether what is kept of p's may go on: its sender has a token, a frame of the
// pipe's own is due, or nothing passes any more and only the sender's end is of interest.
func (p *pipe) resumable() bool {
	return p.over || p.lost || p.due() || p.watch.token(p) <= p.watch.now
}

// resume is received for what is kept of p's, as much as buf has room for.
func (l *link) resume(p *pipe, buf []byte) (out []byte) {
	k := &l.watch.kept[p.index()]
	n := copy(buf[headroom:len(buf)-tailroom], (*k.buf)[k.from:])
	k.from += n // what of it has no token either is put back
	out = l.received(p, buf, n)
	if k.from == len(*k.buf) {
		k.drop()
	}
	return out
}

func (k *kept) drop() {
	if k.buf != nil {
		if cap(*k.buf) == scratchSize { // early bytes may need more
			keptBuffers.Put(k.buf)
		}
		*k = kept{}
	}
}

// dropKept gives back the buffers of a link that is over.
func (l *link) dropKept() {
	if l.watch != nil {
		l.watch.kept[0].drop()
		l.watch.kept[1].drop()
	}
}
