package splice

import (
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
