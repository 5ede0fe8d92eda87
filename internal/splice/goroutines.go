package splice

import (
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// couples is the driver with two goroutines a link.
type couples struct {
	engine *Engine

	mu       sync.Mutex // guards what follows
	links    map[*couple]struct{}
	draining bool
	aborted  bool
}

func newCouples(e *Engine) *couples {
	return &couples{engine: e, links: make(map[*couple]struct{})}
}

func (d *couples) carry(s Spec) {
	c := newCouple(d, s)
	d.mu.Lock()
	d.links[c] = struct{}{}
	draining, aborted := d.draining, d.aborted
	d.mu.Unlock()
	if aborted {
		c.abort() // it was on its way here when all others were cut off
	}
	if draining {
		c.close(goingAway, Drained) // before the early bytes move, so that none of them is cut
	}
	c.start(s.FromClient, s.FromBackend)
}

func (d *couples) drain() {
	d.mu.Lock()
	d.draining = true
	links := d.snapshotLocked()
	d.mu.Unlock()
	for _, c := range links {
		c.close(goingAway, Drained)
	}
}

func (d *couples) abort() {
	d.mu.Lock()
	d.aborted = true
	links := d.snapshotLocked()
	d.mu.Unlock()
	for _, c := range links {
		c.abort()
	}
}

func (d *couples) each(f func(Live)) {
	d.mu.Lock()
	links := d.snapshotLocked()
	d.mu.Unlock()
	for _, c := range links {
		c.mu.Lock()
		live := c.link.live(c.owner)
		over := c.pumps == 0
		c.mu.Unlock()
		if !over {
			f(live)
		}
	}
}

func (d *couples) retire(which func(Owner) bool, bye *farewell) (closers []func()) {
	d.mu.Lock()
	links := d.snapshotLocked()
	d.mu.Unlock()
	for _, c := range links {
		c.mu.Lock()
		open := c.link.cause == StillOpen
		c.mu.Unlock()
		if open && which(c.owner) {
			closers = append(closers, func() { c.close(bye, Retired) })
		}
	}
	return closers
}

func (d *couples) stop() {}

func (d *couples) snapshotLocked() []*couple { return slices.Collect(maps.Keys(d.links)) }

func (d *couples) remove(c *couple) {
	d.mu.Lock()
	delete(d.links, c)
	d.mu.Unlock()
	d.engine.ended()
}

// couple is a link under the driver with two goroutines, one for each pipe. Each reads from one
// end and is the only one to write to the other; what both need to know of the link, they ask
// under mu, never while they read or write.
type couple struct {
	// Fixed at creation.
	driver          *couples
	client, backend End
	owner           Owner

	mu       sync.Mutex // guards what follows
	link     link
	pumps    int         // goroutines that have not returned
	timer    *time.Timer // ends the link's patience; nil while the link is open
	waiting  state       // what the timer was set for
	since    time.Time   // when the link came into that state
	due      time.Time   // when the timer is to end
	progress uint64      // what had moved when the timer was set
	aborted  bool

	// By pipe: its pump is writing, and reads nothing meanwhile. Kept for a link with a watch only.
	writing [2]atomic.Bool

	// By pipe: wakes its pump when that waits for a token. Nil where no pump ever does.
	nudges [2]chan struct{}
}

func newCouple(d *couples, s Spec) *couple {
	c := &couple{
		driver: d, client: s.Client, backend: s.Backend, owner: s.Owner,
		link: newLink(s.Extensions, time.Now()), pumps: 2,
	}
	c.link.govern(s.Policy, d.engine.cfg.CloseTimeout, &d.engine.trips)
	if c.link.unattended() {
		c.link.attend(d.engine.cfg.CloseTimeout)
	}
	if s.Policy != nil && s.Policy.RateWait {
		c.nudges = [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
	}
	return c
}

// start starts both goroutines. They end with the link, and the last one tells the owner.
func (c *couple) start(fromClient, fromBackend []byte) {
	c.watch()
	go c.pump(&c.link.toBackend, c.client, c.backend, fromClient)
	go c.pump(&c.link.toClient, c.backend, c.client, fromBackend)
}

// pump carries p from src to dst until src ends.
func (c *couple) pump(p *pipe, src, dst End, early []byte) {
	defer c.returned()
	buf := getBuffer(smallBuffer)
	defer func() { putBuffer(buf) }()
	for {
		var n int
		var err error
		room := (*buf)[headroom : len(*buf)-tailroom]
		if len(early) > 0 {
			n = copy(room, early)
			if early = early[n:]; len(early) == 0 {
				early = nil // not kept for as long as the link lasts
			}
		} else {
			n, err = src.Read(room)
		}
		woken := errors.Is(err, os.ErrDeadlineExceeded)
		c.write(p, dst, c.received(p, *buf, n, woken))
		for c.await(p) {
			c.write(p, dst, c.resume(p, *buf))
		}
		if err != nil && !woken {
			c.end(p, *buf, dst, err)
			return
		}
		buf = fit(buf, n, len(room))
	}
}

// write writes what the link has let pass.
func (c *couple) write(p *pipe, dst End, out []byte) {
	if len(out) == 0 {
		return
	}
	_, err := dst.Write(out)
	c.writing[p.index()].Store(false)
	if err != nil {
		c.broke(p)
	}
}

// received tells the link what p has read, and wakes the other pump if its pipe is due then.
func (c *couple) received(p *pipe, buf []byte, n int, woken bool) (out []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if woken {
		// Whoever wakes the pump from now on sets the deadline again, under mu.
		_ = c.source(p).SetReadDeadline(time.Time{})
	}
	c.link.tick(time.Now())
	return c.passedLocked(p, c.link.received(p, buf, n))
}

// passedLocked sees to what follows from what has been read for p.
func (c *couple) passedLocked(p *pipe, out []byte) []byte {
	c.wakeLocked(c.link.other(p))
	c.waitLocked()
	if c.link.watch != nil {
		c.writing[p.index()].Store(len(out) > 0)
		c.watchLocked()
	}
	return out
}

// end passes on that what p reads has ended.
func (c *couple) end(p *pipe, buf []byte, dst End, err error) {
	c.mu.Lock()
	out, reset := c.link.end(p, buf, err)
	aborted := c.aborted
	c.waitLocked()
	c.mu.Unlock()
	if aborted {
		return
	}
	if len(out) > 0 {
		if _, err := dst.Write(out); err != nil {
			return
		}
	}
	if reset {
		sock.Cut(dst)
		return
	}
	_ = dst.CloseWrite() // when it is gone already, its own pump finds out
}

// broke notes that p cannot be written any more. Both pumps go on: the other has still to carry
// what the end has sent before it went, and this one keeps the end it reads from able to receive it.
func (c *couple) broke(p *pipe) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.broke(p)
	c.waitLocked()
}

// close asks both ends to close; see link.close.
func (c *couple) close(bye *farewell, cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.close(bye, cause)
	c.wakeLocked(&c.link.toBackend)
	c.wakeLocked(&c.link.toClient)
}

// wakeLocked makes the pump of a pipe that is due return from its read.
func (c *couple) wakeLocked(p *pipe) {
	if p.due() && !p.ended {
		_ = c.source(p).SetReadDeadline(time.Unix(1, 0))
		c.nudge(p)
	}
}

// source is the end that p reads from.
func (c *couple) source(p *pipe) End {
	if p.toBackend {
		return c.client
	}
	return c.backend
}

// waitLocked sets the timer when the link has reached a state that may not last.
func (c *couple) waitLocked() {
	s := c.link.state()
	if s == c.waiting {
		return
	}
	c.waiting = s
	if c.link.watch != nil {
		c.link.watch.ending = true
		c.nudge(&c.link.toBackend)
		c.nudge(&c.link.toClient)
	}
	wait := c.driver.engine.cfg.CloseTimeout
	if s == ending {
		wait = c.driver.engine.cfg.FinTimeout
	}
	c.since = time.Now()
	c.setTimerLocked(wait, c.movedLocked())
}

func (c *couple) setTimerLocked(wait time.Duration, progress uint64) {
	c.progress = progress
	c.due = time.Now().Add(wait)
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.expired)
		return
	}
	c.timer.Reset(wait)
}

// expired cuts the link off, unless it is ending and bytes still move: an end that takes its last
// ones slowly is to get them.
func (c *couple) expired() {
	c.mu.Lock()
	if time.Now().Before(c.due) { // set anew while this call was on its way
		c.mu.Unlock()
		return
	}
	if c.waiting == open {
		c.link.tick(time.Now())
		c.patrolLocked()
		c.mu.Unlock()
		return
	}
	cfg := c.driver.engine.cfg
	if c.waiting == ending && time.Since(c.since) < cfg.CloseTimeout {
		if moved := c.movedLocked(); moved != c.progress {
			c.setTimerLocked(cfg.FinTimeout, moved)
			c.mu.Unlock()
			return
		}
	}
	c.mu.Unlock()
	c.abort()
}

// movedLocked grows whenever bytes move, also those that a Write or the system still holds.
func (c *couple) movedLocked() uint64 {
	return c.link.moved() + sock.Acked(c.client) + sock.Acked(c.backend)
}

// abort ends the link at once; both pumps return.
func (c *couple) abort() {
	c.mu.Lock()
	c.aborted = true
	c.link.cut()
	c.mu.Unlock()
	sock.CloseNow(c.client)
	sock.CloseNow(c.backend)
	c.nudge(&c.link.toBackend)
	c.nudge(&c.link.toClient)
}

// returned is the end of a pump, and with the second one the end of the link.
func (c *couple) returned() {
	c.mu.Lock()
	c.pumps--
	last := c.pumps == 0
	result := c.link.result(time.Now())
	if last && c.timer != nil {
		c.timer.Stop()
	}
	if last {
		c.link.dropKept()
	}
	c.mu.Unlock()
	if !last {
		return
	}
	c.client.Close()
	c.backend.Close()
	c.owner.Ended(result)
	c.driver.remove(c)
}

// Sizes of a pump's buffer. A pump holds one while it waits, so it waits with a small one; what
// fills it earns a large one for as long as it goes on.
const (
	smallBuffer = headroom + 4<<10 + tailroom
	largeBuffer = headroom + 64<<10 + tailroom
)

var smallBuffers, largeBuffers = bufferPool(smallBuffer), bufferPool(largeBuffer)

func bufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

func poolOf(size int) *sync.Pool {
	if size == smallBuffer {
		return smallBuffers
	}
	return largeBuffers
}

func getBuffer(size int) *[]byte { return poolOf(size).Get().(*[]byte) }

func putBuffer(b *[]byte) { poolOf(len(*b)).Put(b) }

// fit exchanges a buffer with room for the one that suits a stream whose last read brought n.
func fit(b *[]byte, n, room int) *[]byte {
	size := len(*b)
	switch {
	case n == room:
		size = largeBuffer
	case n < smallBuffer-headroom-tailroom:
		size = smallBuffer
	}
	if size == len(*b) {
		return b
	}
	putBuffer(b)
	return getBuffer(size)
}
