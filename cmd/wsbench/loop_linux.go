package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10
	sweepEvery = 50 * time.Millisecond
	// readsPerEvent bounds how long one link holds the loop; epoll reports the rest again.
	readsPerEvent = 8
)

// loadLoop drives all links of a run from one goroutine: workloads call until, which serves events while they
// wait for something. Nothing in it is safe for other goroutines but the inbox.
type loadLoop struct {
	opt     Options
	target  target
	msgs    *messages // nil with HTTP
	run     uint32    // of the tags of this run, with HTTP
	ctx     context.Context
	epoch   time.Time
	clock   int64 // what monotonic said at about epoch
	prog    *progress
	account *account // nil without --pid

	poll   *poller
	links  []*link // by slot
	timers timerHeap
	rng    *rand.Rand

	// Scratch, valid within one call.
	in, frame, sealed []byte

	// Dialling, see dial_linux.go.
	dialer
	inbox struct {
		sync.Mutex
		done []tlsDialed
	}
	handshakes sync.WaitGroup // goroutines that fill the inbox

	// What the workload wants.
	sending   bool // messages may go out
	endless   bool // the next message is due as soon as the last is answered
	paced     bool // messages fall due every opt.Interval on each link
	forgiving bool // a link may end by itself, with messages unanswered
	onOpen    func(*link)
	onEnd     func(*link, ending)
	onFail    func(*link)

	// What is going on.
	open        int   // links open
	outstanding int   // messages sent and unanswered, all links
	owed        int   // messages due and unsent, all links
	opening     int64 // time spent in openAll
	openedThen  int   // connections made meanwhile
	nextSweep   int64
	stats       stats
}

func (l *loadLoop) now() int64 { return int64(time.Since(l.epoch)) }

// until serves events until cond holds, and tells whether it came to that before limit or the
// context's end.
func (l *loadLoop) until(limit time.Duration, cond func() bool) bool {
	deadline := l.now() + int64(limit)
	for !cond() {
		now := l.now()
		if now >= deadline || l.ctx.Err() != nil {
			return false
		}
		if err := l.turn(min(time.Duration(deadline-now), sweepEvery)); err != nil {
			l.stats.fail("loop", err)
			return false
		}
	}
	return true
}

// wait serves events for a time.
func (l *loadLoop) wait(d time.Duration) { l.until(d, func() bool { return false }) }

// turn waits for events once, at most for limit, and does all that is due.
func (l *loadLoop) turn(limit time.Duration) error {
	now := l.now()
	if at, ok := l.nextDue(); ok {
		limit = max(0, min(limit, time.Duration(at-now)))
	}
	events, err := l.poll.wait(limit)
	if err != nil {
		return err
	}
	for i := range events {
		ev := &events[i]
		if ev.Fd == wakeSlot {
			l.poll.awake()
			l.takeInbox()
			continue
		}
		if k := l.links[ev.Fd]; k.gen == ev.Pad && k.state != linkDown {
			l.ready(k, ev.Events)
		}
	}
	now = l.now()
	l.runTimers(now)
	l.pumpDials(now)
	if now >= l.nextSweep {
		l.nextSweep = now + int64(sweepEvery)
		l.sweep(now)
		l.show()
		if l.account != nil {
			l.account.keepUp()
		}
	}
	return nil
}

// nextDue is when the loop must do something though no event comes.
func (l *loadLoop) nextDue() (int64, bool) {
	at, ok := l.timers.first()
	if dial, waits := l.nextDialAt(); waits && (!ok || dial < at) {
		at, ok = dial, true
	}
	return at, ok
}

// ready serves one link's event.
func (l *loadLoop) ready(k *link, events uint32) {
	if k.state == linkConnecting {
		l.connected(k)
		return
	}
	if events&unix.EPOLLOUT != 0 && k.flush() {
		if k.exchange != nil {
			k.exchange.moved = l.now()
			l.feed(k)
		} else {
			l.watch(k)
		}
	}
	if events&^unix.EPOLLOUT != 0 || k.broken != nil {
		l.receive(k)
	}
}

// receive reads what a link has, a bounded number of times.
func (l *loadLoop) receive(k *link) {
	k.drained = false
	gen := k.gen
	for range readsPerEvent {
		n, err := k.read(l.in)
		if n > 0 {
			l.take(k, l.in[:n])
			if k.state == linkDown || k.gen != gen {
				return
			}
		}
		if err == errAgain {
			return
		}
		if err != nil {
			l.finished(k, err)
			return
		}
		if k.tls == nil && k.drained {
			return
		}
	}
	if k.tls != nil { // records may be left inside, for which no event comes
		l.timers.push(timer{at: l.now(), slot: k.slot, gen: k.gen, what: timerRead})
	}
}

// take handles received bytes.
func (l *loadLoop) take(k *link, p []byte) {
	if k.state == linkUpgrading {
		if p = l.answered(k, p); len(p) == 0 {
			return
		}
	}
	if k.exchange != nil {
		l.takeAnswer(k, p)
		return
	}
	gen := k.gen
	for len(p) > 0 && k.gen == gen && (k.state == linkOpen || k.state == linkClosing) {
		want := k.check.want
		n, ev := k.check.next(p)
		p = p[n:]
		switch ev {
		case evMessage:
			l.outstanding -= int(k.check.want - want)
			l.echoed(k)
		case evPing:
			l.control(k, opPong, k.check.control)
		case evClose:
			l.closeReceived(k)
		case evBroken:
			l.stats.fault(k.check.fault)
			l.end(k, ending{how: "dropped"})
		}
	}
}

// sweep ends what takes longer than the timeout.
func (l *loadLoop) sweep(now int64) {
	limit := int64(l.opt.Timeout)
	for _, k := range l.links {
		switch k.state {
		case linkConnecting, linkUpgrading:
			if now-k.since > limit {
				l.failed(k, errOpenTimeout)
			}
		case linkOpen:
			if k.outstanding() == 0 {
				continue
			}
			if x := k.exchange; x != nil {
				if now-x.moved > limit {
					l.lateAnswer(k, now-x.moved)
				}
			} else if st := k.stamps[k.check.want%uint64(len(k.stamps))]; now-st.sent > limit {
				l.late(k, now-st.sent)
			}
		case linkClosing:
			if now-k.since > limit {
				l.finished(k, errCloseTimeout)
			}
		}
	}
}

// show tells a person how far the load is.
func (l *loadLoop) show() {
	l.prog.line(func() string {
		return fmt.Sprintf("%s %5.1f s  links %d of %d  handshakes %d  messages %d  failed %d  wrong %d",
			l.opt.Workload, time.Since(l.epoch).Seconds(), l.open, len(l.links), l.stats.made, l.stats.messages, l.stats.failed, l.stats.faultCount())
	})
}

// close drops what is still open and waits for the loop's goroutines.
func (l *loadLoop) close() {
	for _, k := range l.links {
		if k.state != linkDown {
			l.drop(k)
		}
	}
	l.stopDials()
	l.handshakes.Wait()
	for _, d := range l.inbox.done {
		if d.err == nil {
			_ = unix.Close(d.fd)
		}
	}
	l.poll.close()
}
