package splice

import (
	"errors"
	"time"

	"wsproxy/internal/sock"
)

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
