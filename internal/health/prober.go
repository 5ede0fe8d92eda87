package health

import (
	"container/heap"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Config is a Prober's.
type Config struct {
	// Log gets a line at level debug for each probe that failed. Nil means slog.Default.
	Log *slog.Logger

	// MaxConcurrent is how many probes may run at a time; those that are due wait in line. Zero means 512.
	MaxConcurrent int
}

// Prober probes targets at intervals. One goroutine knows when each is due and starts others for the
// probes, so that a target costs no more than its entry in a heap between them. Its methods may be called
// from anywhere but Target.Probed.
type Prober struct {
	// Fixed at creation.
	cfg     Config
	stop    chan struct{} // closed by Close
	wake    chan struct{} // something has changed that schedule waits for
	stopped chan struct{} // closed when schedule has ended
	probes  sync.WaitGroup

	mu      sync.Mutex // guards what follows, and entry's due, index and removed
	waiting queue
	running map[*entry]struct{}
	first   time.Time // not before then a target that is added is probed first, but for the interval
	closed  bool
}

// entry is a target of a Prober.
//
//	waiting (in the queue) → running (in the map) → waiting …
//	either → removed, by remove or Close
type entry struct {
	// Fixed at creation.
	Target
	check Check

	// Guarded by Prober.mu.
	due     time.Time
	index   int // in the queue
	removed bool

	// Owned by the probe that runs, of which there is one at most.
	verdict verdict

	mu   sync.Mutex // guards what follows; held while Probed is called
	conn net.Conn   // of the probe that runs
	gone bool       // nothing is told any more
}

// New makes a Prober and starts it. The caller owes a Close.
func New(cfg Config) *Prober {
	fill(&cfg.MaxConcurrent, 512)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p := &Prober{
		cfg: cfg, stop: make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		running: make(map[*entry]struct{}),
	}
	go p.schedule()
	return p
}

// firstGap is between the first probes of targets that are added together. So few begin at once, and
// many are spread over the interval.
const firstGap = 10 * time.Millisecond

// Add probes a target from now on: the first time at once, or soon if many have been added together,
// and one interval later at the latest, unless more are due than may run. remove ends that: when it
// returns, Probed is not called any more, and a probe that runs has been cut short. It waits for a
// Probed that runs, so that no lock may be held that Probed takes. It may be called again. After Close,
// Add does nothing.
func (p *Prober) Add(t Target, c Check) (remove func()) {
	c.fillDefaults()
	e := &entry{Target: t, check: c}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return func() {}
	}
	now := time.Now()
	if p.first.Before(now) {
		p.first = now
	}
	e.due = now.Add(p.first.Sub(now) % c.Interval)
	p.first = p.first.Add(firstGap)
	heap.Push(&p.waiting, e)
	p.nudge()
	return func() { p.remove(e) }
}

func (p *Prober) remove(e *entry) {
	p.mu.Lock()
	if !e.removed {
		e.removed = true
		if _, running := p.running[e]; !running {
			heap.Remove(&p.waiting, e.index)
		}
	}
	p.mu.Unlock()
	e.cut()
}

// Close stops probing. Probes that run are cut short, but for those that are dialling: Close waits for
// them, for their timeout at most. When it returns, Probed is not called any more and no connection is
// open. It may be called once.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	var running []*entry
	for e := range p.running {
		e.removed = true
		running = append(running, e)
	}
	p.mu.Unlock()
	for _, e := range running {
		e.cut() // not under p.mu: it waits for Probed
	}
	close(p.stop)
	<-p.stopped
	p.probes.Wait()
}

// schedule starts what is due, until Close.
func (p *Prober) schedule() {
	defer close(p.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.stop:
			return
		}
		timer.Reset(p.startDue(time.Now()))
	}
}

// startDue starts all probes that are due and may run, and gives the time until it must be called again,
// unless nudge says so earlier.
func (p *Prober) startDue(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) > 0 && len(p.running) < p.cfg.MaxConcurrent && !p.closed {
		e := p.waiting[0]
		if wait := e.due.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&p.waiting)
		p.running[e] = struct{}{}
		p.probes.Go(func() { p.probe(e) })
	}
	return time.Hour
}

// probe is one probe, from its beginning to the place in the queue for the next.
func (p *Prober) probe(e *entry) {
	start := time.Now()
	run := probe{entry: e, deadline: start.Add(e.check.Timeout)}
	err := run.outcome()
	result := Result{At: start, Took: time.Since(start)}
	if err != nil {
		result.Reason = reason(err)
	}
	if e.tell(&result) && err != nil {
		p.cfg.Log.Debug("probe failed", "backend", e.Name, "err", result.Reason, "dur", result.Took)
	}
	run.end(err == nil)

	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, e)
	if !e.removed && !p.closed {
		e.due = start.Add(e.check.interval())
		heap.Push(&p.waiting, e)
	}
	p.nudge()
}

// nudge has schedule look again.
func (p *Prober) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// interval is the time to the next probe.
func (c *Check) interval() time.Duration {
	if c.Jitter <= 0 {
		return c.Interval
	}
	return c.Interval + time.Duration((2*rand.Float64()-1)*c.Jitter*float64(c.Interval))
}

// tell adds a result to the verdict and tells it, unless the target has been removed.
func (e *entry) tell(r *Result) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return false
	}
	e.verdict.add(r.OK(), &e.check)
	r.Row, r.Up = e.verdict.row, e.verdict.up
	if e.Probed != nil {
		e.Probed(*r)
	}
	return true
}

// hold sets the deadline of the connection of the probe that runs, and makes it known to cut. It
// reports false if there is none to be used: the target has been removed.
func (e *entry) hold(conn net.Conn, deadline time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return false
	}
	e.conn = conn
	_ = conn.SetDeadline(deadline) // one that has none is closed: the next operation says so
	return true
}

// letGo is behind the last use of the connection.
func (e *entry) letGo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conn = nil
}

// cut ends the waiting of the probe that runs, whose goroutine then closes its connection.
func (e *entry) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	if e.conn != nil {
		_ = e.conn.SetDeadline(time.Unix(1, 0))
	}
}

// queue is a heap, what is due first at the top.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
