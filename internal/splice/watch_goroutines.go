package splice

import (
	"time"

	"wsproxy/internal/sock"
)

// watch sets the first timer of a link that has one while it is open.
func (c *couple) watch() {
	if c.link.watch == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.tick(time.Now())
	c.watchLocked()
}

// watchLocked looks after an open link when its watch has overlooked something.
func (c *couple) watchLocked() {
	if c.waiting == open && c.link.watch.overlooks(c.writing[0].Load(), c.writing[1].Load()) {
		c.patrolLocked()
	}
}

// patrolLocked does what the link's policy wants now, and sets the timer for the next time.
func (c *couple) patrolLocked() {
	order, next := c.link.patrol(c.flowLocked(&c.link.toBackend, c.backend), c.flowLocked(&c.link.toClient, c.client))
	if next != never {
		c.setTimerLocked(time.Duration(next-c.link.watch.now), 0)
	}
	switch order {
	case cutOff:
		c.aborted = true
		c.link.cut()
		sock.CloseNow(c.client)
		sock.CloseNow(c.backend)
		c.nudge(&c.link.toBackend)
		c.nudge(&c.link.toClient)
		return
	case buryClient: // its pumps find it gone
		sock.Cut(c.client)
	case buryBackend:
		sock.Cut(c.backend)
	}
	c.wakeLocked(&c.link.toBackend)
	c.wakeLocked(&c.link.toClient)
}

// flowLocked is what p's receiver, dst, has taken so far. Where the system does not tell, that is
// whole writes.
func (c *couple) flowLocked(p *pipe, dst End) flow {
	if !c.writing[p.index()].Load() {
		return flow{}
	}
	return flow{waits: true, progress: p.bytes + sock.Acked(dst)}
}
