package splice

import (
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// looped is a link under a loop. The order of its fields keeps it small: there are as many as there
// are links.
type looped struct {
	link
	loop            *loop
	owner           Owner
	client, backend side
	vigil           *vigil // nil for a link without a timer

	queued   bool  // it stands in the loop's ready
	waiting  state // what the timer was set for
	finished bool

	// Before it is set, nobody but who hands the link over touches anything of it, even if a slot has it.
	arrived atomic.Bool
}

// side is one end of a link.
type side struct {
	sock.Socket

	// unsent is what the socket had no room for: while there is some, nothing is read for it.
	unsent *unsent

	tls *secured // nil for none

	// readable: there may be something to read. ended: an end or an error is among it, so that a
	// short read does not mean that all has been read.
	readable, ended bool

	settled bool  // its slot is the link's or that of a Conn before it
	watched bool  // the loop watches it
	writes  bool  // room for writing is told
	last    leave // what to do once unsent has been sent
}

// hear notes an event.
func (s *side) hear(e sock.Event) {
	s.readable = s.readable || e.Readable
	s.ended = s.ended || e.Ended
}

// leave is how an end is left.
type leave uint8

const (
	stay leave = iota
	byFin
	byReset
)

// readsInRow is how often one link is read before the others have their turn.
const readsInRow = 4

// carry moves what can be moved of a link, both ways.
func (lp *loop) carry(l *looped) {
	if l.finished {
		return
	}
	lp.pump(l, &l.toBackend, &l.client, &l.backend)
	lp.pump(l, &l.toClient, &l.backend, &l.client)
	lp.settle(l)
}

// pump carries p from src to dst while there is something to read and room for it.
func (lp *loop) pump(l *looped, p *pipe, src, dst *side) {
	room := lp.scratch[headroom : len(lp.scratch)-tailroom]
	for range readsInRow {
		if dst.unsent != nil || p.ended {
			return
		}
		if p.waiting() {
			if !p.resumable() {
				return
			}
			lp.deliver(l, p, src, dst, l.resume(p, lp.scratch))
			continue
		}
		if !src.readable {
			return
		}
		if p.skippable() >= moveLeast && src.tls == nil && dst.tls == nil && lp.move(l, p, src, dst) {
			continue
		}
		n, drained, err := lp.read(src, room)
		if err != nil {
			src.readable = false
			if err != sock.ErrAgain {
				lp.complain(src)
				lp.end(l, p, dst, err)
			}
			return
		}
		if drained && !src.ended {
			src.readable = false
		}
		if n > 0 {
			lp.pass(l, p, src, dst, n)
		}
	}
	if src.readable || p.waiting() {
		lp.queue(l)
	}
}

// queue has the link carried again when the others have had their turn.
func (lp *loop) queue(l *looped) {
	if !l.queued {
		l.queued = true
		lp.ready = append(lp.ready, l)
	}
}

// pass passes on n bytes from src that stand in scratch, and the Close that they may call for on the
// other pipe.
func (lp *loop) pass(l *looped, p *pipe, src, dst *side, n int) {
	lp.deliver(l, p, src, dst, l.received(p, lp.scratch, n))
}

func (lp *loop) deliver(l *looped, p *pipe, src, dst *side, out []byte) {
	if len(out) > 0 {
		lp.write(l, p, dst, out)
	}
	if other := l.other(p); other.bye != nil {
		lp.bid(l, other, src)
	}
}

// write sends out, a part of scratch, on p's way to dst, and keeps what there is no room for.
func (lp *loop) write(l *looped, p *pipe, dst *side, out []byte) {
	if p.broken || dst.last != stay || !dst.Open() {
		return
	}
	out, ok := lp.seal(dst, out)
	if !ok {
		l.broke(p)
		return
	}
	if dst.unsent != nil {
		dst.unsent.append(out)
		return
	}
	n, err := dst.Write(out)
	switch {
	case err == nil:
	case err == sock.ErrAgain:
		lp.stall(dst)
		dst.unsent.append(out[n:])
	default:
		l.broke(p)
	}
}

// stall makes an end one that has bytes unsent.
func (lp *loop) stall(dst *side) {
	dst.unsent = unsents.Get().(*unsent)
	if !dst.writes {
		// Room that has come meanwhile is told, too.
		dst.writes = true
		lp.WatchWrites(dst.Socket)
	}
}

// flush sends what is left unsent at an end, and what had to wait for that.
func (lp *loop) flush(l *looped, dst *side) {
	p := &l.toBackend
	if dst == &l.client {
		p = &l.toClient
	}
	err := dst.unsent.send(dst.Socket)
	if err == sock.ErrAgain {
		return
	}
	lp.drop(dst)
	if err != nil {
		l.broke(p)
		return
	}
	lp.bid(l, p, dst)
	if dst.unsent == nil && dst.last != stay {
		lp.leave(l, dst, dst.last)
	}
}

// drop gives back what an end holds for what is unsent.
func (lp *loop) drop(s *side) {
	if s.unsent != nil {
		lp.pipes.put(s.unsent.release())
		s.unsent = nil
	}
}

// bid sends p's own Close when it is due, and not before what is unsent has gone.
func (lp *loop) bid(l *looped, p *pipe, dst *side) {
	if dst.unsent == nil && p.due() {
		lp.write(l, p, dst, p.bid(lp.scratch[headroom:headroom]))
	}
}

// end takes the end of what p reads and passes it on.
func (lp *loop) end(l *looped, p *pipe, dst *side, err error) {
	out, broken := l.end(p, lp.scratch, err)
	if !broken && l.parted() {
		// Neither end has anything left to say or to hear: waiting for the other one to leave as well
		// would cost a wake-up.
		l.other(p).ended = true
	}
	if len(out) > 0 {
		lp.write(l, p, dst, out)
	}
	how := byFin
	if broken {
		how = byReset
	}
	if dst.unsent != nil {
		dst.last = how
		return
	}
	lp.leave(l, dst, how)
}

// leave ends what goes to an end. A reset ends what comes from there as well.
func (lp *loop) leave(l *looped, dst *side, how leave) {
	dst.last = how
	switch {
	case !dst.Open():
	case how == byReset:
		lp.closeEnd(dst, true)
		if dst == &l.client {
			l.toBackend.ended = true
		} else {
			l.toClient.ended = true
		}
	case l.toBackend.ended && l.toClient.ended && l.client.unsent == nil && l.backend.unsent == nil:
		// Both ends have ended: settle closes them, which says so as well.
	case dst.tls != nil:
		lp.takeLeave(dst)
	default:
		dst.CloseWrite()
	}
}

// closeEnd closes an end.
func (lp *loop) closeEnd(s *side, reset bool) {
	if !s.Open() {
		return
	}
	lp.forget(s, !reset && s.unsent == nil)
	if s.settled {
		lp.Leave(s.Socket) // first: the next socket may have the same number
	} else {
		lp.sockets.Add(-1)
	}
	if reset {
		s.Reset()
	} else {
		s.Close()
	}
}

// settle ends a link that is over, and sets the timer of one that may not last.
func (lp *loop) settle(l *looped) {
	if l.finished {
		return
	}
	if l.toBackend.ended && l.toClient.ended && l.client.unsent == nil && l.backend.unsent == nil {
		lp.finish(l)
		return
	}
	if s := l.state(); s != l.waiting {
		l.waiting = s
		wait := lp.engine.cfg.CloseTimeout
		if s == ending {
			wait = lp.engine.cfg.FinTimeout
		}
		lp.arm(l, wait)
		l.vigil.since = lp.wheel.elapsed
		if w := l.link.watch; w != nil {
			w.ending = true
			if l.toBackend.waiting() || l.toClient.waiting() {
				lp.queue(l)
			}
		}
	}
	lp.watch(l)
}

// finish closes both ends of a link and forgets it.
func (lp *loop) finish(l *looped) {
	if l.finished {
		return
	}
	l.finished = true
	l.dropKept()
	if l.vigil != nil {
		lp.wheel.remove(&l.vigil.timer)
	}
	for _, s := range [2]*side{&l.client, &l.backend} {
		lp.closeEnd(s, false)
		lp.drop(s)
	}
	l.owner.Ended(l.result(time.Now()))
	lp.engine.ended()
}

// close asks both ends of a link to close; see link.close.
func (lp *loop) close(l *looped, bye *farewell, cause Cause) {
	if l.finished {
		return
	}
	l.link.close(bye, cause)
	lp.bid(l, &l.toBackend, &l.backend)
	lp.bid(l, &l.toClient, &l.client)
	lp.settle(l)
}
