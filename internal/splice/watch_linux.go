package splice

import "time"

// watch looks after an open link when its watch has overlooked something.
func (lp *loop) watch(l *looped) {
	if l.waiting != open {
		return
	}
	if (l.client.unsent != nil || l.backend.unsent != nil) && l.unattended() {
		l.attend(lp.engine.cfg.CloseTimeout)
	}
	if l.link.watch != nil && l.link.watch.overlooks(l.backend.unsent != nil, l.client.unsent != nil) {
		lp.patrol(l)
	}
}

// patrol does what the link's policy wants now, and sets the timer for the next time.
func (lp *loop) patrol(l *looped) {
	order, next := l.link.patrol(l.flow(&l.toBackend, &l.backend), l.flow(&l.toClient, &l.client))
	if v := l.vigil; v != nil {
		lp.wheel.remove(&v.timer)
	}
	if next != never {
		lp.wheel.add(&lp.vigil(l).timer, l, time.Duration(next-l.link.watch.now))
	}
	switch order {
	case cutOff:
		l.cut()
		lp.finish(l)
		return
	case buryClient:
		lp.bury(l, &l.toBackend, &l.client, &l.backend)
	case buryBackend:
		lp.bury(l, &l.toClient, &l.backend, &l.client)
	}
	lp.bid(l, &l.toBackend, &l.backend)
	lp.bid(l, &l.toClient, &l.client)
	lp.settle(l)
}

// flow is what p's receiver, dst, has taken so far.
func (l *looped) flow(p *pipe, dst *side) flow {
	if dst.unsent == nil {
		return flow{}
	}
	return flow{waits: true, progress: p.bytes + dst.Acked()}
}

// bury ends what goes to and comes from an end, from which p reads. The other end gets what is
// still due.
func (lp *loop) bury(l *looped, p *pipe, dead, other *side) {
	lp.end(l, p, other, errBuried)
	lp.drop(dead)
	l.broke(l.other(p))
	lp.leave(l, dead, byReset)
}
