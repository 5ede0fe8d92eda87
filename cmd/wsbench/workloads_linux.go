package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// closeWait bounds how long a run waits for its links to close in order at the end.
const closeWait = 5 * time.Second

// redialAfter is how long a link waits after a failed attempt before the next.
const redialAfter = 50 * time.Millisecond

// runLoad makes the load that opt asks for. An error means that there is no result worth showing; faults
// and failed connections stand in the result.
func runLoad(ctx context.Context, opt Options, prog *progress) (*Result, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	if err := opt.fits(raiseDescriptorLimit()); err != nil {
		return nil, err
	}
	t, err := parseTarget(opt.URL, opt.Workload)
	if err != nil {
		return nil, err
	}
	if opt.Workload == workResumed && !t.secure {
		return nil, usagef("workload %s with URL %q: allowed with wss only, it resumes TLS sessions", opt.Workload, opt.URL)
	}
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loadLoop{
		opt: opt, target: t, ctx: ctx, epoch: time.Now(), poll: poll, prog: prog,
		clock: monotonic(), run: rand.Uint32(), rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		in: make([]byte, readBuffer), dialer: newDialer(ctx, &opt, &t), stats: newStats(),
	}
	if !isHTTP(opt.Workload) {
		l.msgs = newMessages(opt.Size, rand.Uint64())
	}
	defer l.close()
	defer prog.clear()
	if opt.PID > 0 {
		if l.account, err = newAccount(opt.PID); err != nil {
			return nil, err
		}
	}
	m := &measure{loop: l}
	switch opt.Workload {
	case workIdle:
		err = l.idle(m)
	case workHandshake, workResumed:
		err = l.handshake(m)
	case workStorm:
		err = l.storm(m)
	case workDrain:
		err = l.drain(m)
	case workEvents:
		err = l.events(m)
	default:
		err = l.traffic(m)
	}
	if err == nil {
		err = m.err
	}
	if err == nil && m.result == nil {
		err = errors.New("interrupted before the measure began")
	}
	if err != nil {
		return nil, err
	}
	res := m.finish()
	if isHTTP(opt.Workload) && res.Bytes == 0 && !res.faulty() {
		return nil, fmt.Errorf("nothing came in the %.2f s of the measure", res.Seconds)
	}
	return res, nil
}

// add makes n links, down yet.
func (l *loadLoop) add(n int) []*link {
	first := len(l.links)
	for range n {
		k := &link{slot: int32(len(l.links)), fd: -1}
		k.check.id = uint32(k.slot)
		l.links = append(l.links, k)
	}
	return l.links[first:]
}

// openAll dials links and waits until each is open or has failed.
func (l *loadLoop) openAll(links []*link) error {
	l.gap = l.opt.Ramp / time.Duration(len(links))
	l.nextDial = l.now()
	for _, k := range links {
		l.dial(k)
	}
	// Each batch may take the timeout, then it has failed.
	limit := l.opt.Ramp + l.opt.Timeout*time.Duration(2+len(links)/l.atOnce)
	began, made := l.now(), l.stats.made
	l.until(limit, func() bool { return len(l.waiting) == 0 && l.dialling == 0 })
	l.opening += l.now() - began
	l.openedThen += l.stats.made - made
	if l.open == 0 {
		if l.ctx.Err() != nil {
			return errors.New("interrupted while links were being opened")
		}
		for cause := range l.stats.failures {
			return fmt.Errorf("open links to %s: none of %d could be opened: %s", l.opt.URL, len(links), cause)
		}
		return fmt.Errorf("open links to %s: none of %d could be opened", l.opt.URL, len(links))
	}
	return nil
}

// answerAll waits until nothing is due or unanswered. What is late is counted by the sweep.
func (l *loadLoop) answerAll() {
	limit := l.opt.Timeout + time.Duration(l.owed)*time.Second
	if isHTTP(l.opt.Workload) {
		limit += time.Duration(l.opt.Size/slowestBody*l.outstanding) * time.Second
	}
	l.until(limit, func() bool { return l.outstanding == 0 && l.owed == 0 })
}

// closeAll closes every link, WebSockets with a Close handshake, and counts those that are not answered.
func (l *loadLoop) closeAll() {
	if isHTTP(l.opt.Workload) {
		l.leaveAll()
		return
	}
	for _, k := range l.links {
		l.closeLink(k)
	}
	l.onEnd, l.onFail = nil, nil
	l.until(min(closeWait, l.opt.Timeout)+sweepEvery, func() bool {
		for _, k := range l.links {
			if k.state == linkClosing {
				return false
			}
		}
		return true
	})
}

// idle measures what open links cost while nothing moves.
func (l *loadLoop) idle(m *measure) error {
	exchange := func(links []*link) error {
		l.onOpen = func(k *link) { l.owe(k, l.opt.Messages) }
		if err := l.openAll(links); err != nil {
			return err
		}
		l.answerAll()
		return nil
	}
	if l.opt.WarmLinks > 0 {
		if err := exchange(l.add(l.opt.WarmLinks)); err != nil {
			return err
		}
	}
	warm := l.open
	m.memoryBefore()
	if err := exchange(l.add(l.opt.Connections)); err != nil {
		return err
	}
	l.wait(l.opt.WarmUp)
	m.begin()
	l.wait(l.opt.Duration)
	m.end()
	m.memoryAfter(l.open - warm)
	l.closeAll()
	return nil
}

// traffic is echo, sparse and bulk, get, download and upload: messages or requests on open links, paced or as fast as
// they are answered.
func (l *loadLoop) traffic(m *measure) error {
	links := l.add(l.opt.Connections)
	if err := l.openAll(links); err != nil {
		return err
	}
	l.startTraffic(links)
	l.onOpen = l.pace // an HTTP server may end a connection behind an answer
	l.wait(l.opt.WarmUp)
	m.begin()
	l.wait(l.opt.Duration)
	m.end()
	l.sending = false
	l.answerAll() // the tail: what was due in the measure counts for latency however late it is
	l.closeAll()
	return nil
}

// startTraffic lets messages flow; paced links begin spread over one interval, in random order.
func (l *loadLoop) startTraffic(links []*link) {
	l.sending = true
	l.paced = l.opt.Interval > 0
	l.endless = !l.paced
	now := l.now()
	for i, at := range l.rng.Perm(len(links)) {
		k := links[i]
		if k.state != linkOpen {
			continue
		}
		if l.endless {
			l.pump(k)
			continue
		}
		k.due = now + int64(l.opt.Interval)*int64(at)/int64(len(links))
		l.timers.push(timer{at: k.due, slot: k.slot, gen: k.gen, what: timerSend})
	}
}

// pace lets messages fall due on a link that was opened anew while they do on the others.
func (l *loadLoop) pace(k *link) {
	if l.paced {
		k.due = l.now()
		l.timers.push(timer{at: k.due, slot: k.slot, gen: k.gen, what: timerSend})
	}
}

// handshake opens and closes links without a message.
func (l *loadLoop) handshake(m *measure) error {
	lanes := l.add(l.opt.Connections)
	running := true
	l.onOpen = func(k *link) { l.closeLink(k) }
	l.onEnd = func(k *link, _ ending) {
		if running {
			l.dial(k)
		}
	}
	l.onFail = func(k *link) {
		if running {
			l.redial(k)
		}
	}
	for _, k := range lanes {
		l.dial(k)
	}
	l.wait(l.opt.WarmUp)
	if l.stats.made == 0 {
		for cause := range l.stats.failures {
			return fmt.Errorf("open links to %s: none could be opened: %s", l.opt.URL, cause)
		}
	}
	m.begin()
	l.wait(l.opt.Duration)
	m.end()
	running = false
	l.until(l.opt.Timeout, func() bool { return l.dialling == 0 && len(l.waiting) == 0 })
	l.closeAll()
	return nil
}

// redial tries a link again in a while.
func (l *loadLoop) redial(k *link) {
	l.timers.push(timer{at: l.now() + int64(redialAfter), slot: k.slot, gen: k.gen, what: timerDial})
}

// storm drops all links at once and measures how they come back. Each attempt that fails is made again
// until the duration is over; latency counts from the drop.
func (l *loadLoop) storm(m *measure) error {
	links := l.add(l.opt.Connections)
	l.onOpen = func(k *link) { l.owe(k, l.opt.Messages) }
	if err := l.openAll(links); err != nil {
		return err
	}
	l.answerAll()
	l.wait(l.opt.WarmUp)
	l.gap, l.atOnce = 0, len(links)
	storm := &StormResult{}
	failed := l.stats.failed
	l.onFail = l.redial
	l.onEnd = func(k *link, _ ending) { l.redial(k) }
	deadline := l.now() + int64(l.opt.Duration)
	m.begin()
	for range l.opt.Storms {
		began := l.now()
		for _, k := range links {
			l.dropForStorm(k)
		}
		for _, k := range links {
			l.dial(k)
		}
		back := l.until(time.Duration(deadline-l.now()), func() bool {
			return l.open == len(links) && l.outstanding == 0 && l.owed == 0
		})
		if !back {
			storm.NotBack = len(links) - l.open
			break
		}
		storm.AllBackSeconds = append(storm.AllBackSeconds, seconds(l.now()-began))
	}
	m.end()
	storm.Retries = l.stats.failed - failed
	l.stats.failed = failed + storm.NotBack
	m.result.Storm = storm
	l.closeAll()
	return nil
}

func (l *loadLoop) dropForStorm(k *link) {
	if l.opt.Drop == "rst" {
		l.drop(k)
		return
	}
	l.release(k)
}

// drain waits for the proxy to end the links and records how it does.
func (l *loadLoop) drain(m *measure) error {
	links := l.add(l.opt.Connections)
	l.onOpen = func(k *link) { l.owe(k, l.opt.Messages) }
	if err := l.openAll(links); err != nil {
		return err
	}
	l.answerAll()
	rec, up := newDrainRecord(), l.open
	l.forgiving = true // from here on a link may end at any time
	l.onEnd = func(_ *link, e ending) { rec.ended(l.now(), e) }
	if l.opt.Interval > 0 {
		l.startTraffic(links)
	}
	l.until(l.opt.WarmUp, func() bool { return rec.n == up })
	if l.opt.Terminate {
		if err := syscall.Kill(l.opt.PID, syscall.SIGTERM); err != nil {
			return fmt.Errorf("send SIGTERM to process %d: %w", l.opt.PID, err)
		}
		rec.start(l.now())
	}
	m.begin()
	l.until(l.opt.Duration, func() bool { return rec.n == up })
	m.end()
	m.result.Drain = rec.result(up - rec.n)
	l.sending = false
	return nil
}
