package forward

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/sock"
	"wsproxy/routing"
)

// Config says how a Transport treats its connections. The zero value is a good one.
type Config struct {
	// HeaderSize is the largest head of an answer, in bytes, and the largest trailer section. Zero
	// means 16 KiB.
	HeaderSize int

	// Dial opens connections to backends; its errors wrap one of routing's. Nil means that of a zero
	// dial.Dialer. A connection that sock.Idle cannot look into is reused without having been checked.
	Dial func(*routing.Backend, dial.Request) (net.Conn, error)

	// Log is told of a panic that no handler hears of. Nil means slog's default.
	Log *slog.Logger
}

// Transport carries requests to backends and keeps their connections for the next ones. It may be
// used by many goroutines.
type Transport struct {
	// Fixed at creation.
	config    Config
	restAfter time.Duration // negative: never
	readers   sync.Pool     // *bufio.Reader of HeaderSize

	mu sync.Mutex // guards the fields below

	// idle are those that wait, the longest idle first. A Backend is an address and one way to speak to
	// it: connections with TLS, without, and with other TLS are never taken for each other. One of which
	// none waits stays until the next sweep, for the sake of its slice.
	idle map[*routing.Backend][]*conn

	sweep  *time.Timer    // calls expire; nil until the first connection waits
	due    time.Time      // when it does
	armed  bool           // sweep is running or about to
	closed bool           // nothing waits any more
	sweeps sync.WaitGroup // the calls of expire that are armed or running

	resting resting
}

// conn is a connection to a backend.
type conn struct {
	net.Conn
	backend *routing.Backend
	reused  bool      // it has carried a request before this one
	until   time.Time // when it is given up

	// Owned by the goroutine that reads, or whoever has taken the exchange out of its rest.
	tries bool // Read does not wait
	more  bool // the last one has filled what it was given: there may be more
}

// Read waits unless it only tries, and then fails with sock.ErrAgain.
func (c *conn) Read(p []byte) (n int, err error) {
	if !c.tries {
		return c.Conn.Read(p)
	}
	n, err = c.Conn.(rester).TryRead(p)
	c.more = n == len(p)
	return n, err
}

// New makes a Transport. Close ends it.
func New(config Config) *Transport {
	if config.HeaderSize <= 0 {
		config.HeaderSize = 16 << 10
	}
	if config.Dial == nil {
		config.Dial = new(dial.Dialer).Dial
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	t := &Transport{config: config, restAfter: restAfter, idle: make(map[*routing.Backend][]*conn)}
	t.readers.New = func() any { return bufio.NewReaderSize(nil, config.HeaderSize) }
	return t
}

// Close closes the idle connections and waits for the goroutine that would have done so later. It cuts off
// answers that rest. Other requests that are under way go on; their connections are closed behind them.
func (t *Transport) Close() {
	t.resting.close()
	t.mu.Lock()
	t.closed = true
	var idle []*conn
	for _, conns := range t.idle {
		idle = append(idle, conns...)
	}
	clear(t.idle)
	if t.armed && t.sweep.Stop() {
		t.armed = false
		t.sweeps.Done()
	}
	t.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
	t.sweeps.Wait()
}

// reader makes a reader of a connection, or takes one that nobody uses.
func (t *Transport) reader(c *conn) *bufio.Reader {
	br := t.readers.Get().(*bufio.Reader)
	br.Reset(c)
	return br
}

// take hands out the connection to b that has waited the shortest and can carry a request, or
// nil. The last one used is the least likely to be closed by the backend, and those that no load
// needs come of age.
func (t *Transport) take(b *routing.Backend) *conn {
	for {
		c := t.pop(b)
		if c == nil || time.Now().Before(c.until) && sock.Idle(c.Conn) {
			return c
		}
		c.Close()
	}
}

func (t *Transport) pop(b *routing.Backend) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	conns := t.idle[b]
	if len(conns) == 0 {
		return nil
	}
	last := len(conns) - 1
	c := conns[last]
	conns[last] = nil
	t.idle[b] = conns[:last]
	return c
}

// put keeps a connection for the next request, or closes it. Its last answer has been read to the end, and
// no deadline is set.
func (t *Transport) put(c *conn, pool *routing.Pool) {
	c.reused = true
	c.until = time.Now().Add(pool.IdleTimeout)
	t.mu.Lock()
	conns := t.idle[c.backend]
	keep := !t.closed && len(conns) < pool.MaxIdle
	if keep {
		t.idle[c.backend] = append(conns, c)
		switch {
		case !t.armed:
			t.armLocked(c.until, pool.IdleTimeout)
		case c.until.Before(t.due) && t.sweep.Stop():
			// Another route keeps its connections longer.
			t.due = c.until
			t.sweep.Reset(pool.IdleTimeout)
		}
	}
	t.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// armLocked has expire called at due, after d. There is no goroutine and no timer while nothing waits.
func (t *Transport) armLocked(due time.Time, d time.Duration) {
	t.due, t.armed = due, true
	t.sweeps.Add(1)
	if t.sweep == nil {
		t.sweep = time.AfterFunc(d, t.expire)
		return
	}
	t.sweep.Reset(d)
}

// expire closes the connections that have waited too long.
func (t *Transport) expire() {
	defer t.sweeps.Done()
	now := time.Now()
	var next time.Time
	var old []*conn
	t.mu.Lock()
	for b, conns := range t.idle {
		// The order need not be that of their ends: routes with pools of their own may share a backend.
		kept := conns[:0]
		for _, c := range conns {
			if !now.Before(c.until) {
				old = append(old, c)
				continue
			}
			kept = append(kept, c)
			if next.IsZero() || c.until.Before(next) {
				next = c.until
			}
		}
		clear(conns[len(kept):])
		if t.idle[b] = kept; len(kept) == 0 {
			delete(t.idle, b) // backends come and go with the configuration
		}
	}
	t.armed = false
	if !next.IsZero() && !t.closed {
		t.armLocked(next, max(next.Sub(now), time.Millisecond))
	}
	t.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// timedOut reports whether a deadline has passed, ours or the kernel's.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
