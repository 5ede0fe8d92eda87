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
	table  table
	all    []*loop
}

func newLoops(e *Engine) (driver, error) {
	d := &loops{engine: e}
	for range e.cfg.Loops {
		lp, err := newLoop(e, &d.table)
		if err != nil {
			d.stop()
			return nil, err
		}
		d.all = append(d.all, lp)
	}
	return d, nil
}

// home is Engine.Home.
func home(d driver) func() sock.Home { return func() sock.Home { return d.(*loops).least() } }

// least is the loop that watches the fewest sockets.
func (d *loops) least() *loop {
	least := d.all[0]
	for _, lp := range d.all[1:] {
		if lp.sockets.Load() < least.sockets.Load() {
			least = lp
		}
	}
	return least
}

// carry gives a link to the loop where its client lives, or to the one with the fewest. Descriptors
// that Go's poller has leave it here, on the caller's goroutine, so that the loop does not have to.
//
// Where both ends live in one loop already and nothing is to be done for the link, it is there as soon
// as the slots of its sockets say so; the loop is not even woken.
func (d *loops) carry(s Spec) {
	l := &looped{link: newLink(s.Extensions, time.Now()), owner: s.Owner}
	l.client.tls, l.backend.tls = secure(s.ClientTLS), secure(s.BackendTLS)
	l.govern(s.Policy, d.engine.cfg.CloseTimeout, &d.engine.trips)
	client, _ := s.Client.(*sock.Conn)
	if client != nil {
		l.loop, _ = client.Home().(*loop)
	}
	if l.loop == nil || l.loop.engine != d.engine {
		l.loop = d.least()
	}
	if err := errors.Join(d.take(l, &l.client, s.Client), d.take(l, &l.backend, s.Backend)); err != nil {
		// Out of descriptors, or a client that has been cut off meanwhile.
		d.shed(l, err)
		return
	}
	backend, _ := s.Backend.(*sock.Conn)
	if len(s.FromClient) > 0 || len(s.FromBackend) > 0 || l.client.tls.early() || l.backend.tls.early() ||
		l.watch != nil || !l.client.watched || !l.backend.watched || l.loop.draining.Load() {
		l.arrived.Store(true)
		fromClient, fromBackend := s.FromClient, s.FromBackend
		if !l.loop.do(func() { l.loop.splice(l, fromClient, fromBackend) }) {
			d.shed(l, errLoopClosed)
		}
		return
	}
	d.settle(l, client, backend)
}

// settle gives the slots of the sockets of two Conns that live in one loop to a link.
func (d *loops) settle(l *looped, client, backend *sock.Conn) {
	lp, clientSlot, backendSlot := l.loop, d.table.at(l.client.Socket), d.table.at(l.backend.Socket)
	clientSlot.link.Store(l)
	backendSlot.link.Store(l)
	// From here on the loop may carry the link, and end it: nothing else of it is touched. Not before both
	// slots have it: one that had ended by then would have left it in the next socket's slot. What had
	// happened until now, and what the loop was to do with all its links, it may have missed.
	l.arrived.Store(true)
	clientSlot.conn.CompareAndSwap(client, nil) // it may have ended already, and the slot be another's
	backendSlot.conn.CompareAndSwap(backend, nil)
	fromClient, fromBackend := client.Pending(), backend.Pending()
	// Room is no news to a link that has written nothing yet.
	fromClient.Writable, fromBackend.Writable = false, false
	if fromClient == (sock.Event{}) && fromBackend == (sock.Event{}) && !lp.draining.Load() && !lp.aborted.Load() {
		return
	}
	if !lp.do(func() { lp.catchUp(l, fromClient, fromBackend) }) {
		// The loop has failed. If it had come by already, it did not see the link.
		<-lp.done
		if !l.finished {
			d.shed(l, errLoopClosed)
		}
	}
}

// take gives the socket of end to a side of l.
func (d *loops) take(l *looped, at *side, end End) (err error) {
	c, ok := end.(*sock.Conn)
	if !ok {
		if at.Socket, err = sock.Take(end); err == nil {
			l.loop.sockets.Add(1)
		}
		return err
	}
	if at.Socket, err = c.Give(); err != nil {
		return err
	}
	at.watched, at.writes = c.Watched()
	if c.Home() == sock.Home(l.loop) {
		at.settled = true
		return nil
	}
	l.loop.sockets.Add(1)
	watched := at.watched
	at.watched = false
	return c.Home().Depart(at.Socket, watched)
}

// shed ends a link that no loop has.
func (d *loops) shed(l *looped, err error) {
	d.engine.cfg.Log.Warn("hand-over", "err", err)
	l.finished = true
	for _, s := range [2]*side{&l.client, &l.backend} {
		if s.tls != nil {
			s.tls.session.Wipe()
			s.tls = nil // its ciphers are the loop's, on whose goroutine this is not
		}
		l.loop.closeEnd(s, false)
	}
	l.cut()
	l.owner.Ended(l.result(time.Now()))
	d.engine.ended()
}

func (d *loops) drain() {
	for _, lp := range d.all {
		lp.draining.Store(true)
		lp.do(lp.drain)
	}
}

func (d *loops) abort() {
	for _, lp := range d.all {
		lp.do(lp.abort)
	}
}

// each asks for the links of one piece of the table after the other.
func (d *loops) each(f func(Live)) {
	for _, lp := range d.all {
		for i := 0; ; i++ {
			piece := d.table.chunk(i)
			if piece == nil {
				break
			}
			found := make(chan []Live, 1)
			if !lp.do(func() { found <- lp.live(piece) }) {
				break
			}
			for _, live := range <-found {
				f(live)
			}
		}
	}
}

// retire looks at one piece of the table after the other, as each does, once the links are there that
// loops were to take in.
func (d *loops) retire(which func(Owner) bool, bye *farewell) (closers []func()) {
	for _, lp := range d.all {
		done := make(chan struct{})
		if lp.do(func() { close(done) }) {
			<-done
		}
		for i := 0; ; i++ {
			piece := d.table.chunk(i)
			if piece == nil {
				break
			}
			found := make(chan []*looped, 1)
			if !lp.do(func() { found <- lp.meant(piece, which) }) {
				break
			}
			for _, l := range <-found {
				closers = append(closers, func() {
					lp.do(func() { lp.close(l, bye, Retired) })
				})
			}
		}
	}
	return closers
}

func (d *loops) stop() {
	for _, lp := range d.all {
		lp.do(func() { lp.stopping = true })
		<-lp.done
	}
}
