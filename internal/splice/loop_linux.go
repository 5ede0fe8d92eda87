package splice

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// loop carries links on one goroutine: it owns both ends of each, and nobody else reads or changes
// anything of them. Others leave what they want done in its inbox.
//
// It waits in a sock.Poller, which is nested in Go's own poller: while nothing happens the loop is a
// parked goroutine and not a blocked thread. With a thread in epoll_wait the scheduler takes the P
// away and gives it back at every wake-up, which costs several times as much CPU a message when
// traffic is sparse (DESIGN.md, "The model").
//
// An idle link has no goroutine, no buffer and no timer object here: a looped, two sockets.
type loop struct {
	// Fixed at creation.
	engine *Engine
	poller *sock.Poller
	done   chan struct{} // closed when the loop's goroutine has ended

	// Owned by the loop's goroutine.
	scratch  []byte // every read goes here
	slots    []slot
	free     []uint32  // indices of slots without a link
	ready    []*looped // links with something left to read
	turns    []*looped // empty: what ready was the last time, for its room
	wheel    wheel
	draining bool
	aborted  bool
	stopping bool

	// Read from anywhere.
	links atomic.Int64

	mu     sync.Mutex // guards what follows
	inbox  []func()
	closed bool // nobody reads the inbox any more
}

// full is how many links a loop pretends to have that can carry none.
const full = math.MaxInt64 / 2

// slot is the place of a link in the table of a loop. The generation of a slot changes with each
// link, so that an event of a link that has ended, in the same batch perhaps, finds nobody: neither
// the next link of the slot nor the next socket with the same descriptor.
type slot struct {
	generation uint32
	link       *looped
}

// looped is a link under a loop.
type looped struct {
	link
	slot            uint32
	client, backend side
	done            func(Result)

	queued  bool          // it stands in the loop's ready
	waiting state         // what the timer was set for
	since   time.Duration // when the link came into that state, on the wheel's clock
	moves   uint64        // what had moved when the timer was set
	timer   timer
}

// side is one end of a link.
type side struct {
	sock.Socket

	// readable: there may be something to read. ended: an end or an error is among it, so that a
	// short read does not mean that all has been read.
	readable, ended bool

	// last is what to do once unsent has been sent.
	last leave

	// unsent is what the socket had no room for: while it is not empty, nothing is read for it.
	// Nil, and no buffer, when there is none.
	unsent *[]byte
	from   int // where in unsent it begins
}

// leave is how an end is left.
type leave uint8

const (
	stay leave = iota
	byFin
	byReset
)

const (
	// scratchSize is what one read can bring.
	scratchSize = headroom + 64<<10 + tailroom

	// readsInRow is how often one link is read before the others have their turn.
	readsInRow = 4
)

// unsentBuffers have room for all that one read can leave unsent.
var unsentBuffers = bufferPool(scratchSize)

var errLoopClosed = errors.New("loop has failed")

// loops is the driver with a few loops.
type loops struct {
	engine *Engine
	all    []*loop
}

func newLoops(e *Engine) (driver, error) {
	d := &loops{engine: e}
	for range e.cfg.Loops {
		lp, err := newLoop(e)
		if err != nil {
			d.stop()
			return nil, err
		}
		d.all = append(d.all, lp)
	}
	return d, nil
}

// carry gives a link to the loop that has the fewest. Both descriptors leave Go's poller here, on
// the caller's goroutine, so that the loop does not have to.
func (d *loops) carry(s Spec) {
	l := &looped{link: newLink(s.Extensions, time.Now()), done: s.Done}
	l.govern(s.Policy, d.engine.cfg.CloseTimeout, &d.engine.trips)
	var err, backendErr error
	l.client.Socket, err = sock.Take(s.Client)
	l.backend.Socket, backendErr = sock.Take(s.Backend)
	if err = errors.Join(err, backendErr); err != nil {
		// Out of descriptors, or a client that has been cut off meanwhile.
		d.shed(l, err)
		return
	}
	lp := d.all[0]
	for _, other := range d.all[1:] {
		if other.links.Load() < lp.links.Load() {
			lp = other
		}
	}
	lp.links.Add(1)
	fromClient, fromBackend := s.FromClient, s.FromBackend
	if !lp.do(func() { lp.splice(l, fromClient, fromBackend) }) {
		d.shed(l, errLoopClosed)
	}
}

// shed ends a link that no loop has.
func (d *loops) shed(l *looped, err error) {
	d.engine.cfg.Log.Warn("hand-over", "err", err)
	l.client.Close()
	l.backend.Close()
	l.cut()
	l.done(l.result(time.Now()))
	d.engine.ended()
}

func (d *loops) drain() {
	for _, lp := range d.all {
		lp.do(lp.drain)
	}
}

func (d *loops) abort() {
	for _, lp := range d.all {
		lp.do(lp.abort)
	}
}

func (d *loops) stop() {
	for _, lp := range d.all {
		lp.do(func() { lp.stopping = true })
		<-lp.done
	}
}

func newLoop(e *Engine) (*loop, error) {
	lp, err := makeLoop(e)
	if err == nil {
		go lp.run()
	}
	return lp, err
}

// makeLoop makes a loop without its goroutine.
func makeLoop(e *Engine) (*loop, error) {
	p, err := sock.NewPoller()
	if err != nil {
		return nil, err
	}
	lp := &loop{engine: e, poller: p, done: make(chan struct{}), scratch: make([]byte, scratchSize)}
	lp.wheel.init(time.Now())
	return lp, nil
}

// do has f called on the loop's goroutine, unless it reports that the loop is closed.
func (lp *loop) do(f func()) bool {
	lp.mu.Lock()
	if lp.closed {
		lp.mu.Unlock()
		return false
	}
	lp.inbox = append(lp.inbox, f)
	first := len(lp.inbox) == 1
	lp.mu.Unlock()
	if first {
		lp.poller.Wake()
	}
	return true
}

// run is the loop's goroutine, until stop.
func (lp *loop) run() {
	defer close(lp.done)
	turn := lp.turn
	for !lp.stopping {
		var err error
		if lp.idle() {
			err = lp.poller.Wait(turn)
		} else if err = lp.poller.Poll(); err == nil {
			lp.turn()
		}
		if err != nil {
			// The kernel refuses the loop's own epoll: no link of it can go on.
			lp.engine.cfg.Log.Error("splice loop", "err", err)
			break
		}
	}
	lp.shut()
}

// idle reports whether there is nothing to do before the next event, and has the poller wait for
// that no longer than until the next timer.
func (lp *loop) idle() bool {
	if len(lp.ready) > 0 || lp.stopping {
		return false
	}
	lp.poller.SetDeadline(lp.wheel.next())
	return true
}

// turn does what there is to do, and reports whether the next thing is to wait.
func (lp *loop) turn() bool {
	lp.wheel.set(time.Now())
	called := false
	for i := range lp.poller.Len() {
		e, isSocket := lp.poller.Event(i)
		if !isSocket {
			called = true
			continue
		}
		lp.dispatch(e)
	}
	lp.again()
	if called {
		lp.readInbox()
	}
	// Last, so that what has just moved puts an end off.
	lp.wheel.advance(lp.expired)
	return lp.idle()
}

// shut ends the loop. It has links only after a failure, and those that are still on their way to
// it are cut off as well.
func (lp *loop) shut() {
	lp.mu.Lock()
	lp.closed = true
	lp.mu.Unlock()
	lp.readInbox()
	lp.abort()
	lp.links.Store(full)
	lp.poller.Close()
}

// again gives each link that had not been read to its end another turn.
func (lp *loop) again() {
	lp.ready, lp.turns = lp.turns, lp.ready
	for i, l := range lp.turns {
		lp.turns[i] = nil
		l.queued = false
		if lp.slots[l.slot].link == l {
			lp.carry(l)
		}
	}
	lp.turns = lp.turns[:0]
}

func (lp *loop) readInbox() {
	lp.mu.Lock()
	inbox := lp.inbox
	lp.inbox = nil
	lp.mu.Unlock()
	for _, f := range inbox {
		f()
	}
}

// key is what a socket is watched with: which link, which generation of its slot, which side.
func key(generation, index uint32, backend bool) uint64 {
	k := uint64(generation)<<32 | uint64(index)<<1
	if backend {
		k |= 1
	}
	return k
}

func (lp *loop) dispatch(e sock.Event) {
	index := uint32(e.Key) >> 1
	s := &lp.slots[index]
	if s.link == nil || s.generation != uint32(e.Key>>32) {
		return // of a link that has ended
	}
	l := s.link
	at := &l.client
	if e.Key&1 != 0 {
		at = &l.backend
	}
	at.readable = at.readable || e.Readable
	at.ended = at.ended || e.Ended
	if e.Writable && at.unsent != nil {
		lp.flush(l, at)
	}
	lp.carry(l)
}

// splice takes a link in. Its early bytes go first.
func (lp *loop) splice(l *looped, fromClient, fromBackend []byte) {
	if n := len(lp.free); n > 0 {
		l.slot, lp.free = lp.free[n-1], lp.free[:n-1]
	} else {
		l.slot = uint32(len(lp.slots))
		lp.slots = append(lp.slots, slot{})
	}
	s := &lp.slots[l.slot]
	s.generation = (s.generation + 1) & 0x7fffffff // never that of sock's own key
	s.link = l
	if lp.aborted {
		l.cut()
		lp.finish(l)
		return
	}
	err := lp.poller.Add(l.client.Socket, key(s.generation, l.slot, false))
	if err == nil {
		err = lp.poller.Add(l.backend.Socket, key(s.generation, l.slot, true))
	}
	if err != nil {
		lp.engine.cfg.Log.Error("splice", "err", err)
		l.cut()
		lp.finish(l)
		return
	}
	if lp.draining {
		lp.close(l, goingAway, Drained) // before the early bytes move, so that none of them is cut
	}
	l.tick(lp.wheel.clock())
	lp.early(l, &l.toBackend, &l.client, &l.backend, fromClient)
	lp.early(l, &l.toClient, &l.backend, &l.client, fromBackend)
	// What arrived before the sockets were watched is an event as well; reading now saves a wake-up.
	l.client.readable, l.backend.readable = true, true
	lp.carry(l)
}

// early carries what had been read before there was a link. It may be more than a socket takes at
// once and more than a buffer holds, since it has been accepted: such a one is not pooled.
func (lp *loop) early(l *looped, p *pipe, src, dst *side, b []byte) {
	for len(b) > 0 {
		n := copy(lp.scratch[headroom:len(lp.scratch)-tailroom], b)
		b = b[n:]
		lp.pass(l, p, src, dst, n)
	}
}

// carry moves what can be moved of a link, both ways.
func (lp *loop) carry(l *looped) {
	l.tick(lp.wheel.clock())
	lp.pump(l, &l.toBackend, &l.client, &l.backend)
	lp.pump(l, &l.toClient, &l.backend, &l.client)
	lp.settle(l)
}

// pump carries p from src to dst while there is something to read and room for it.
func (lp *loop) pump(l *looped, p *pipe, src, dst *side) {
	room := lp.scratch[headroom : len(lp.scratch)-tailroom]
	for range readsInRow {
		if !src.readable || dst.unsent != nil || p.ended {
			return
		}
		n, err := src.Read(room)
		if err != nil {
			src.readable = false
			if err != sock.ErrAgain {
				lp.end(l, p, dst, err)
			}
			return
		}
		if n < len(room) && !src.ended {
			src.readable = false
		}
		lp.pass(l, p, src, dst, n)
	}
	if src.readable && !l.queued {
		l.queued = true
		lp.ready = append(lp.ready, l)
	}
}

// pass passes on n bytes from src that stand in scratch, and the Close that they may call for on the
// other pipe.
func (lp *loop) pass(l *looped, p *pipe, src, dst *side, n int) {
	if out := l.received(p, lp.scratch, n); len(out) > 0 {
		lp.write(l, p, dst, out)
	}
	if other := l.other(p); other.bye.code != 0 {
		lp.bid(l, other, src)
	}
}

// write sends out, a part of scratch, on p's way to dst, and keeps what there is no room for.
func (lp *loop) write(l *looped, p *pipe, dst *side, out []byte) {
	if p.broken || dst.last != stay || !dst.Open() {
		return
	}
	if dst.unsent != nil {
		*dst.unsent = append(*dst.unsent, out...)
		return
	}
	n, err := dst.Write(out)
	switch {
	case err == nil:
	case err == sock.ErrAgain:
		dst.unsent = unsentBuffers.Get().(*[]byte)
		*dst.unsent = append((*dst.unsent)[:0], out[n:]...)
		dst.from = 0
	default:
		l.broke(p)
	}
}

// flush sends what is left unsent at an end, and what had to wait for that.
func (lp *loop) flush(l *looped, dst *side) {
	p := &l.toBackend
	if dst == &l.client {
		p = &l.toClient
	}
	n, err := dst.Write((*dst.unsent)[dst.from:])
	dst.from += n
	if err == sock.ErrAgain {
		return
	}
	dst.drop()
	if err != nil {
		l.broke(p)
		return
	}
	lp.bid(l, p, dst)
	if dst.unsent == nil && dst.last != stay {
		lp.leave(l, dst, dst.last)
	}
}

// drop gives the buffer of an end back.
func (s *side) drop() {
	if s.unsent != nil {
		if cap(*s.unsent) == scratchSize {
			*s.unsent = (*s.unsent)[:scratchSize]
			unsentBuffers.Put(s.unsent)
		}
		s.unsent, s.from = nil, 0
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
	if !dst.Open() {
		return
	}
	if how == byFin {
		dst.CloseWrite()
		return
	}
	dst.Reset()
	if dst == &l.client {
		l.toBackend.ended = true
	} else {
		l.toClient.ended = true
	}
}

// settle ends a link that is over, and sets the timer of one that may not last.
func (lp *loop) settle(l *looped) {
	if lp.slots[l.slot].link != l {
		return
	}
	if l.toBackend.ended && l.toClient.ended && l.client.unsent == nil && l.backend.unsent == nil {
		lp.finish(l)
		return
	}
	if s := l.state(); s != l.waiting {
		l.waiting = s
		l.since = lp.wheel.elapsed
		wait := lp.engine.cfg.CloseTimeout
		if s == ending {
			wait = lp.engine.cfg.FinTimeout
		}
		lp.arm(l, wait)
	}
	lp.watch(l)
}

// arm sets the link's timer.
func (lp *loop) arm(l *looped, wait time.Duration) {
	l.moves = l.movedNow()
	lp.wheel.remove(&l.timer)
	if wait != forever {
		lp.wheel.add(&l.timer, l, wait)
	}
}

// movedNow grows whenever bytes move, also those that the system still holds.
func (l *looped) movedNow() uint64 {
	return l.moved() + l.client.Acked() + l.backend.Acked()
}

// expired cuts a link off, unless it is ending and bytes still move: an end that takes its last ones
// slowly is to get them.
func (lp *loop) expired(l *looped) {
	if l.waiting == open {
		l.tick(lp.wheel.clock())
		lp.patrol(l)
		return
	}
	cfg := lp.engine.cfg
	if l.waiting == ending && lp.wheel.elapsed-l.since < cfg.CloseTimeout {
		if l.movedNow() != l.moves {
			lp.arm(l, cfg.FinTimeout)
			return
		}
	}
	l.cut()
	lp.finish(l)
}

// finish closes both ends of a link and forgets it.
func (lp *loop) finish(l *looped) {
	lp.wheel.remove(&l.timer)
	l.client.drop()
	l.backend.drop()
	l.client.Close()
	l.backend.Close()
	lp.slots[l.slot].link = nil
	lp.free = append(lp.free, l.slot)
	lp.links.Add(-1)
	l.done(l.result(time.Now()))
	lp.engine.ended()
}

// close asks both ends of a link to close; see link.close.
func (lp *loop) close(l *looped, bye farewell, cause Cause) {
	l.link.close(bye, cause)
	lp.bid(l, &l.toBackend, &l.backend)
	lp.bid(l, &l.toClient, &l.client)
	lp.settle(l)
}

// drain closes every link, and those still to come.
func (lp *loop) drain() {
	lp.draining = true
	for i := range lp.slots {
		if l := lp.slots[i].link; l != nil {
			lp.close(l, goingAway, Drained)
		}
	}
}

// abort cuts every link off, and those that are still on their way here.
func (lp *loop) abort() {
	lp.aborted = true
	for i := range lp.slots {
		if l := lp.slots[i].link; l != nil {
			l.cut()
			lp.finish(l)
		}
	}
}
