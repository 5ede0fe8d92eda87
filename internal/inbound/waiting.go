package inbound

import (
	"sync"
	"time"
)

// place is a connection's in a list, with what the list is about.
type place struct {
	prev, next *Conn
	in         bool
	until      time.Time // of waiting; zero for ever
}

// list is connections in the order in which they came, without allocations.
type list struct {
	at          func(*Conn) *place
	first, last *Conn
	n           int
}

func (l *list) add(c *Conn) {
	p := l.at(c)
	p.prev, p.next, p.in = l.last, nil, true
	if l.last != nil {
		l.at(l.last).next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

// remove reports whether c was there.
func (l *list) remove(c *Conn) bool {
	p := l.at(c)
	if !p.in {
		return false
	}
	if p.prev != nil {
		l.at(p.prev).next = p.next
	} else {
		l.first = p.next
	}
	if p.next != nil {
		l.at(p.next).prev = p.prev
	} else {
		l.last = p.prev
	}
	p.prev, p.next, p.in = nil, nil, false
	l.n--
	return true
}

// waiting are the connections that wait without a goroutine. Whoever takes one out of the list has it:
// the loop in which it lives, when there is something to read, the sweep when it has waited long enough,
// or Stop.
type waiting struct {
	mu      sync.Mutex // guards what follows, and the places
	conns   list
	sweep   *time.Timer // runs while somebody waits
	armed   bool
	stopped bool
}

// sweepEvery is how late a connection may be that has waited long enough.
const sweepEvery = time.Second

// park takes a connection that has been let go of by its goroutine, and reports whether it has. From then
// on it belongs to whoever takes it out again.
func (p *Port) park(c *Conn) bool {
	w := &p.waiting
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return false
	}
	if w.conns.at == nil {
		w.conns.at = func(c *Conn) *place { return &c.wait }
	}
	w.conns.add(c)
	if !w.armed && !c.wait.until.IsZero() {
		w.armed = true
		if w.sweep == nil {
			w.sweep = time.AfterFunc(sweepEvery, p.expire)
		} else {
			w.sweep.Reset(sweepEvery)
		}
	}
	w.mu.Unlock()
	if c.Conn.OnReadable(func() { p.arrived(c) }) {
		return true
	}
	return !w.take(c) // if it is not there any more, somebody else closes it
}

// take reports whether the connection is the caller's now.
func (w *waiting) take(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns.n > 0 && w.conns.remove(c)
}

// arrived is called by the loop of a connection that waits. It must not wait itself.
func (p *Port) arrived(c *Conn) {
	if p.waiting.take(c) {
		go p.cfg.Load().Serve(c)
	}
}

// expire closes the connections that have waited long enough.
func (p *Port) expire() {
	w := &p.waiting
	now := time.Now()
	var over []*Conn
	w.mu.Lock()
	w.armed = false
	for c := w.conns.first; c != nil; {
		next := c.wait.next
		switch until := c.wait.until; {
		case until.IsZero():
		case until.After(now):
			w.armed = true
		default:
			w.conns.remove(c)
			over = append(over, c)
		}
		c = next
	}
	if w.armed {
		w.sweep.Reset(sweepEvery)
	}
	w.mu.Unlock()
	for _, c := range over {
		c.Conn.Close()
	}
}

// stop lets nobody wait any more and gives those who do.
func (w *waiting) stop() (conns []*Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	for c := w.conns.first; c != nil; c = w.conns.first {
		w.conns.remove(c)
		conns = append(conns, c)
	}
	if w.sweep != nil {
		w.sweep.Stop()
	}
	return conns
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns.n
}
