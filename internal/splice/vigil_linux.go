package splice

import "time"

// vigil is what a link has while it has a timer: one that may not last, or whose policy has a clock.
type vigil struct {
	timer timer
	since time.Duration // when the link came into the state it waits in, on the wheel's clock
	moves uint64        // what had passed when the timer was set
	acked uint64        // what both ends had acknowledged then; 0 unless it was asked
}

// arm sets the link's timer.
func (lp *loop) arm(l *looped, wait time.Duration) {
	v := lp.vigil(l)
	v.moves, v.acked = l.moved(), 0
	if wait != forever {
		lp.wheel.add(&v.timer, l, wait)
	}
}

// vigil is the link's, made if there is none yet, with its timer unset.
func (lp *loop) vigil(l *looped) *vigil {
	if l.vigil == nil {
		l.vigil = new(vigil)
	} else {
		lp.wheel.remove(&l.vigil.timer)
	}
	return l.vigil
}

// expired cuts a link off, unless it is ending and bytes still move: an end that takes its last ones
// slowly is to get them.
func (lp *loop) expired(l *looped) {
	if l.waiting == open {
		l.tick(lp.wheel.clock())
		lp.patrol(l)
		lp.carry(l) // what has waited for its time
		return
	}
	cfg := lp.engine.cfg
	if l.waiting == ending && lp.wheel.elapsed-l.vigil.since < cfg.CloseTimeout && l.moves() {
		lp.wheel.add(&l.vigil.timer, l, cfg.FinTimeout)
		return
	}
	l.cut()
	lp.finish(l)
}

// moves reports whether anything has moved since the timer was set, and notes where it stands now.
// Bytes that the system still holds count as moving the first time: only then is it asked how many an
// end has acknowledged, so that a link which ends as most do never costs the question.
func (l *looped) moves() bool {
	v := l.vigil
	moves, acked := l.moved(), l.client.Acked()+l.backend.Acked()
	moving := moves != v.moves || acked != v.acked &&
		(v.acked != 0 || l.client.unsent != nil || l.backend.unsent != nil || l.client.Queued() || l.backend.Queued())
	v.moves, v.acked = moves, acked
	return moving
}
