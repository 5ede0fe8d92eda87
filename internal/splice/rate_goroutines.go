package splice

import "time"

// await waits until what is kept of p's may go on; it reports whether there is something.
func (c *couple) await(p *pipe) bool {
	for {
		c.mu.Lock()
		c.link.tick(time.Now())
		waiting := p.waiting()
		if !waiting || p.resumable() || c.aborted {
			aborted := c.aborted
			c.mu.Unlock()
			return waiting && !aborted
		}
		wait := time.NewTimer(time.Duration(p.watch.token(p) - p.watch.now))
		c.mu.Unlock()
		select {
		case <-wait.C:
		case <-c.nudges[p.index()]:
		}
		wait.Stop()
	}
}

// resume tells the link that what it keeps of p's goes on.
func (c *couple) resume(p *pipe, buf []byte) (out []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.tick(time.Now())
	return c.passedLocked(p, c.link.resume(p, buf))
}

// nudge makes the pump of a pipe look whether it may go on.
func (c *couple) nudge(p *pipe) {
	select {
	case c.nudges[p.index()] <- struct{}{}:
	default: // it is nudged already, or never waits
	}
}
