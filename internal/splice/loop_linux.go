package splice

import (
	"errors"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// loop carries links on one goroutine: it owns both ends of each, and nobody else reads or changes
// anything of them. Others leave what they want done in its inbox.
//
// It waits in a sock.Poller, which is nested in Go's own poller: while nothing happens the loop is a
// parked goroutine and not a blocked thread. With a thread of its own in epoll_wait the scheduler
// takes the P away and gives it back at every wake-up: measured with wsbench in one run, a message
// cost 1.4 times as much CPU when all links were busy, and 2.4 times as much when traffic was sparse.
//
// It also waits for the connections that live here before they are links (sock.Conn): while an opening
// handshake is under way, its goroutine does the reading and writing, and the loop says when. The
// sockets of a link are watched once, from the beginning to the end.
//
// An idle link has no goroutine, no buffer and no timer object here: a looped, two sockets.
type loop struct {
	// Fixed at creation.
	engine *Engine
	table  *table // shared by all loops of the engine
	poller *sock.Poller
	done   chan struct{} // closed when the loop's goroutine has ended

	// Owned by the loop's goroutine.
	scratch  []byte // every read goes here, opened
	sealed   []byte // and here what is still to be opened
	records  []byte // what is sealed
	ciphers  *record.Ciphers
	ready    []*looped // links with something left to read
	turns    []*looped // empty: what ready was the last time, for its room
	wheel    wheel
	pipes    pipes
	stopping bool

	// Read and changed from anywhere.
	sockets           atomic.Int64 // that it watches or is about to
	draining, aborted atomic.Bool  // what is asked of all links, those to come included

	mu     sync.Mutex // guards what follows
	inbox  []func()
	closed bool // nobody reads the inbox any more
}

// full is how many sockets a loop pretends to have that can watch none.
const full = math.MaxInt64 / 2

func newLoop(e *Engine, t *table) (*loop, error) {
	lp, err := makeLoop(e, t)
	if err == nil {
		go lp.run()
	}
	return lp, err
}

// makeLoop makes a loop without its goroutine.
func makeLoop(e *Engine, t *table) (*loop, error) {
	p, err := sock.NewPoller()
	if err != nil {
		return nil, err
	}
	lp := &loop{engine: e, table: t, poller: p, done: make(chan struct{}), scratch: make([]byte, scratchSize)}
	lp.sealed, lp.records = make([]byte, scratchSize), make([]byte, 0, sealedSize)
	lp.ciphers = record.NewCiphers(cachedKeys)
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
	lp.pipes.close()
	lp.sockets.Store(full)
	lp.poller.Close() // first: a Conn that settles meanwhile is told by one or the other
	lp.table.each(func(sl *slot) {
		if c := sl.conn.Load(); c != nil && c.Home() == sock.Home(lp) {
			c.Orphan()
		}
	})
}

// again gives each link that had not been read to its end another turn.
func (lp *loop) again() {
	lp.ready, lp.turns = lp.turns, lp.ready
	for i, l := range lp.turns {
		lp.turns[i] = nil
		l.queued = false
		l.tick(lp.wheel.clock())
		lp.carry(l)
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

// Settle makes the socket of a Conn known that is to live here. It may be called from any goroutine,
// as may the other methods of a sock.Home.
func (lp *loop) Settle(c *sock.Conn, s sock.Socket) {
	sl := lp.table.at(s)
	sl.renew(s)
	sl.conn.Store(c)
	lp.sockets.Add(1)
}

// Watch has the loop tell what happens to a socket.
func (lp *loop) Watch(s sock.Socket, writes bool) error {
	return lp.poller.Add(s, lp.table.at(s).key(s), writes)
}

// WatchWrites has the loop tell of room for writing as well.
func (lp *loop) WatchWrites(s sock.Socket) {
	// That it fails has the loop ended, which all its Conns are told.
	_ = lp.poller.WatchWrites(s, lp.table.at(s).key(s))
}

// Leave forgets a socket that is about to be closed.
func (lp *loop) Leave(s sock.Socket) {
	lp.table.at(s).clear()
	lp.sockets.Add(-1)
}

// Depart forgets a socket that is to live elsewhere.
func (lp *loop) Depart(s sock.Socket, watched bool) error {
	lp.Leave(s)
	if !watched {
		return nil
	}
	return lp.poller.Remove(s)
}

// dispatch tells whoever has the socket of an event of it.
func (lp *loop) dispatch(e sock.Event) {
	sl := lp.table.number(numberOf(e.Key))
	// The generation last: it has changed before anybody new is in the slot.
	c, l := sl.conn.Load(), sl.arrived()
	if sl.generation.Load() != generationOf(e.Key) {
		return // of a socket that has been closed
	}
	if l == nil {
		if c == nil {
			return
		}
		c.Happened(e)
		// Who hands the Conn over looks at what has happened to it once the link has arrived. One that
		// has arrived meanwhile may have been too early for that.
		if l = sl.arrived(); l == nil || sl.generation.Load() != generationOf(e.Key) {
			return
		}
	}
	at := &l.client
	if at.Number() != numberOf(e.Key) {
		at = &l.backend
	}
	at.hear(e)
	l.tick(lp.wheel.clock())
	if e.Writable && at.unsent != nil {
		lp.flush(l, at)
	}
	lp.carry(l)
}

// splice takes a link in, on the loop's goroutine. Its early bytes go first.
func (lp *loop) splice(l *looped, fromClient, fromBackend []byte) {
	if lp.aborted.Load() {
		l.cut()
		lp.finish(l)
		return
	}
	if err := errors.Join(lp.take(l, &l.client), lp.take(l, &l.backend)); err != nil {
		lp.engine.cfg.Log.Error("splice", "err", err)
		l.cut()
		lp.finish(l)
		return
	}
	l.tick(lp.wheel.clock())
	if lp.draining.Load() {
		lp.close(l, goingAway, Drained) // before the early bytes move, so that none of them is cut
	}
	lp.early(l, &l.toBackend, &l.client, &l.backend, fromClient)
	lp.early(l, &l.toClient, &l.backend, &l.client, fromBackend)
	l.client.readable = l.client.readable || l.client.tls.early()
	l.backend.readable = l.backend.readable || l.backend.tls.early()
	lp.carry(l)
}

// take gives the slot of a link's socket to the link, and has the socket watched if it is not yet.
func (lp *loop) take(l *looped, at *side) error {
	sl := lp.table.at(at.Socket)
	if !at.settled {
		sl.renew(at.Socket)
		at.settled = true
	}
	sl.link.Store(l)
	if c := sl.conn.Swap(nil); c != nil {
		at.hear(c.Pending())
	}
	if at.watched {
		return nil
	}
	// What has arrived before is an event as well; reading now saves a wake-up.
	at.watched, at.readable = true, true
	return lp.Watch(at.Socket, at.writes)
}

// catchUp carries what has happened on a link's sockets while it was handed over.
func (lp *loop) catchUp(l *looped, client, backend sock.Event) {
	if l.finished {
		return
	}
	l.client.hear(client)
	l.backend.hear(backend)
	if lp.aborted.Load() {
		l.cut()
		lp.finish(l)
		return
	}
	l.tick(lp.wheel.clock())
	if lp.draining.Load() {
		lp.close(l, goingAway, Drained)
	}
	lp.carry(l)
}

// early carries what had been read before there was a link. It may be more than a socket takes at
// once and more than a buffer holds, since it has been accepted: such a one is not pooled.
func (lp *loop) early(l *looped, p *pipe, src, dst *side, b []byte) {
	for len(b) > 0 {
		if p.waiting() {
			p.watch.wait(p, b)
			return
		}
		n := copy(lp.scratch[headroom:len(lp.scratch)-tailroom], b)
		b = b[n:]
		lp.pass(l, p, src, dst, n)
	}
}

// each calls f with every link of the loop; with one whose sockets are both open twice.
func (lp *loop) each(f func(*looped)) {
	lp.table.each(func(sl *slot) {
		if l := sl.arrived(); l != nil && l.loop == lp {
			f(l)
		}
	})
}

// live is what is known of the links of a piece of the table.
func (lp *loop) live(piece *chunk) (found []Live) {
	for l := range lp.in(piece) {
		found = append(found, l.live(l.owner))
	}
	return found
}

// meant are the links of a piece of the table with an owner that is meant.
func (lp *loop) meant(piece *chunk, which func(Owner) bool) (found []*looped) {
	for l := range lp.in(piece) {
		if l.cause == StillOpen && which(l.owner) {
			found = append(found, l)
		}
	}
	return found
}

// in yields the links of the loop that have their client's socket in a piece of the table; one whose
// client's is closed is about to end.
func (lp *loop) in(piece *chunk) iter.Seq[*looped] {
	return func(yield func(*looped) bool) {
		for i := range piece {
			sl := &piece[i]
			if l := sl.arrived(); l != nil && l.loop == lp && sl == lp.table.number(l.client.Number()) && !yield(l) {
				return
			}
		}
	}
}

// drain closes every link. Those still to come see that the loop is draining.
func (lp *loop) drain() {
	lp.each(func(l *looped) { lp.close(l, goingAway, Drained) })
}

// abort cuts every link off, and those that are still on their way here.
func (lp *loop) abort() {
	lp.aborted.Store(true)
	lp.each(func(l *looped) {
		l.cut()
		lp.finish(l)
	})
}
