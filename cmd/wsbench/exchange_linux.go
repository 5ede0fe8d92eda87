package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// writesPerEvent bounds how long one upload holds the loop; epoll reports the rest again.
	writesPerEvent = 4
	// sealedPiece is how much of a body is sealed at a time over https.
	sealedPiece = 64 << 10
	// slowestBody is the least that all links together must move in a second for the last bodies not to be given up.
	slowestBody = 16 << 20
)

// ask sends request seq of a link.
func (l *loadLoop) ask(k *link, seq uint64) {
	t := tag{l.run, k.check.id, seq}
	k.exchange.begin(t)
	k.exchange.moved = l.now()
	p := append(l.frame[:0], l.request...)
	p = append(t.appendTo(p), l.afterTag...)
	l.frame = p
	l.send(k, p)
	l.feed(k)
}

// feed sends more of an upload's body, as much as the kernel takes of a few pieces.
func (l *loadLoop) feed(k *link) {
	x := k.exchange
	for range writesPerEvent {
		if x.unsent == 0 || len(k.pending) > 0 || k.broken != nil {
			break
		}
		p := x.body()
		n := len(p)
		if k.tls == nil { // from where it is: a copy of what the kernel does not take would cost as much as sending
			var err error
			n, err = unix.Write(k.fd, p)
			if err == unix.EAGAIN || err == unix.EINTR {
				break
			}
			if err != nil {
				l.writeFailed(k, err)
				return
			}
		} else {
			n = min(n, sealedPiece)
			l.send(k, p[:n])
		}
		x.unsent -= int64(n)
		l.stats.bytes += int64(n)
	}
	l.watch(k)
}

// takeAnswer handles received bytes of an HTTP link.
func (l *loadLoop) takeAnswer(k *link, p []byte) {
	x, gen := k.exchange, k.gen
	x.moved = l.now()
	for len(p) > 0 && k.gen == gen && k.state == linkOpen {
		if k.outstanding() == 0 {
			l.stats.fault(fault{faultProtocol, 1, fmt.Sprintf("link %d: %d bytes behind the answer to request %d", k.check.id, len(p), k.check.sent-1)})
			l.end(k, ending{how: "dropped"})
			return
		}
		n, body, done, err := x.reader.next(p)
		p = p[n:]
		switch {
		case err != nil:
			l.stats.fault(fault{faultProtocol, 1, fmt.Sprintf("link %d: request %d: %v", k.check.id, k.check.want, err)})
			l.end(k, ending{how: "dropped"})
			return
		case l.opt.Workload == workEvents && x.reader.status == 200:
			l.takeEvents(k, body)
			if done && k.state == linkOpen {
				l.endedEarly(k, "the answer is over", 0)
				l.end(k, ending{how: "dropped"})
			}
			continue
		case len(body) > 0:
			x.check.take(body)
			if !x.check.upload {
				l.stats.bytes += int64(len(body))
			}
		}
		if done {
			l.answerWhole(k)
		}
	}
}

// answerWhole follows the end of an answer.
func (l *loadLoop) answerWhole(k *link) {
	x := k.exchange
	f, answers := x.check.end(x.reader.status)
	early := x.unsent > 0
	if early && f.kind == "" {
		f = fault{faultCorrupt, 1, fmt.Sprintf("link %d: request %d: answered before %d bytes of its body were sent", k.check.id, k.check.want, x.unsent)}
	}
	if f.kind != "" {
		l.stats.fault(f)
	} else {
		l.stats.received(k.stamps[0].due, x.moved)
	}
	if !answers {
		x.check.begin(x.check.tag)
		return
	}
	k.check.want++
	l.outstanding--
	switch {
	case early: // where the next request would begin is not known
		l.end(k, ending{how: "dropped"})
	case x.reader.last: // announced, so it is no fault
		l.release(k)
		if l.sending {
			l.dial(k)
		}
	default:
		l.pump(k)
	}
}

// takeEvents handles the body of a stream of events.
func (l *loadLoop) takeEvents(k *link, p []byte) {
	r := &k.exchange.stream
	now := monotonic() - l.clock // not l.now: what is compared must come from one clock
	for len(p) > 0 {
		n, whole := r.next(p, now)
		p = p[n:]
		if !whole {
			return
		}
		l.stats.bytes += int64(r.size)
		wrote := r.wrote - l.clock
		if f := r.fault; f.kind == "" && wrote > r.first {
			r.blame(faultCorrupt, "written %v after it came: the backend must run on this machine", time.Duration(wrote-r.first))
		}
		if r.fault.kind == "" {
			l.stats.received(wrote, r.first)
			continue
		}
		l.stats.fault(r.fault)
		if r.fault.kind != faultMissing && r.fault.kind != faultDuplicate {
			l.end(k, ending{how: "dropped"})
			return
		}
	}
}

// lateAnswer gives a link up on which nothing has moved for ns.
func (l *loadLoop) lateAnswer(k *link, ns int64) {
	l.stats.fault(fault{faultLate, 1, fmt.Sprintf("link %d: request %d: nothing moved for %.3f s", k.check.id, k.check.want, seconds(ns))})
	l.end(k, ending{how: "timeout"})
}

// leaveAll closes every HTTP link; answers that are not whole by now have taken too long.
func (l *loadLoop) leaveAll() {
	for _, k := range l.links {
		if k.state != linkOpen {
			continue
		}
		if k.outstanding() > 0 && l.opt.Workload != workEvents && l.ctx.Err() == nil {
			l.lateAnswer(k, l.now()-k.stamps[0].sent)
			continue
		}
		l.release(k)
	}
}

// events measures answers that go on for ever: the backend writes an event on each now and then.
func (l *loadLoop) events(m *measure) error {
	l.onOpen = func(k *link) { l.owe(k, 1) }
	if l.opt.WarmLinks > 0 {
		warm := l.add(l.opt.WarmLinks)
		if err := l.openAll(warm); err != nil {
			return err
		}
		l.eventsUntil(warm, l.now())
	}
	warm := l.open
	m.memoryBefore()
	if err := l.openAll(l.add(l.opt.Connections)); err != nil {
		return err
	}
	l.wait(l.opt.WarmUp)
	m.begin()
	l.wait(l.opt.Duration)
	m.end()
	m.memoryAfter(l.open - warm)
	l.eventsUntil(l.links, l.now())
	l.closeAll()
	return nil
}

// eventsUntil waits until every stream has brought an event that was written after a moment, so that all before it have
// come. What is late is counted by the sweep.
func (l *loadLoop) eventsUntil(links []*link, moment int64) {
	left := links
	l.until(l.opt.Timeout+2*l.opt.Interval, func() bool {
		for len(left) > 0 && (left[0].state != linkOpen || left[0].exchange.stream.wrote-l.clock > moment) {
			left = left[1:]
		}
		return len(left) == 0
	})
}
