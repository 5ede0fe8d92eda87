package forward

import (
	"bufio"
	"errors"
	"net"
	"slices"
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

	// MaxIdle is how many connections per backend wait for their next request. Zero means
	// 128, negative that each is closed behind its answer.
	MaxIdle int

	// IdleTimeout closes a connection that has waited that long. Zero means four seconds, negative
	// never. A backend that closes first may do so while a request is on its way, and what is no
	// retry by RFC 9110 §9.2.2 is then lost: the default stays below the five seconds after which
	// Node.js and Apache close.
	IdleTimeout time.Duration

	// Dial opens connections to backends; its errors wrap one of routing's. Nil means what a zero
	// dial.Dialer does. A connection that sock.Idle cannot look into is reused without having been
	// checked.
	Dial func(b *routing.Backend, timeout time.Duration) (net.Conn, error)
}

// Transport carries requests to backends and keeps their connections for the next ones. It may be
// used by many goroutines.
type Transport struct {
	// Fixed at creation.
	config  Config
	readers sync.Pool // *bufio.Reader of HeaderSize

	mu sync.Mutex // guards the fields below

	// idle are those that wait, the longest idle first. A Backend is an address and one way to speak to
	// it: connections with TLS, without, and with other TLS are never taken for each other.
	idle map[*routing.Backend][]*conn

	sweep  *time.Timer    // calls expire; nil until the first connection waits
	armed  bool           // sweep is running or about to
	closed bool           // nothing waits any more
	sweeps sync.WaitGroup // the calls of expire that are armed or running
}

// conn is a connection to a backend.
type conn struct {
	net.Conn
	backend *routing.Backend
	reused  bool      // it has carried a request before this one
	since   time.Time // when it began to wait
}

// New makes a Transport. Close ends it.
func New(config Config) *Transport {
	if config.HeaderSize <= 0 {
		config.HeaderSize = 16 << 10
	}
	if config.MaxIdle == 0 {
		config.MaxIdle = 128
	}
	if config.IdleTimeout == 0 {
		config.IdleTimeout = 4 * time.Second
	}
	if config.Dial == nil {
		config.Dial = func(b *routing.Backend, timeout time.Duration) (net.Conn, error) {
			return new(dial.Dialer).Dial(nil, b, timeout, nil)
		}
	}
	t := &Transport{config: config, idle: make(map[*routing.Backend][]*conn)}
	t.readers.New = func() any { return bufio.NewReaderSize(nil, config.HeaderSize) }
	return t
}

// Close closes the idle connections and waits for the goroutine that would have done so later.
// Requests that are under way go on; their connections are closed behind them.
func (t *Transport) Close() {
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

func (t *Transport) dial(b *routing.Backend, timeout time.Duration) (*conn, error) {
	nc, err := t.config.Dial(b, timeout)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc, backend: b}, nil
}

// take hands out the connection to b that has waited the shortest and can carry a request, or
// nil. The last one used is the least likely to be closed by the backend, and those that no load
// needs come of age.
func (t *Transport) take(b *routing.Backend) *conn {
	for {
		c := t.pop(b)
		if c == nil || t.usable(c) {
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
	t.setLocked(b, conns[:last])
	return c
}

func (t *Transport) usable(c *conn) bool {
	return (t.config.IdleTimeout < 0 || time.Since(c.since) < t.config.IdleTimeout) && sock.Idle(c.Conn)
}

// put keeps a connection for the next request, or closes it. Its last answer has been read to the
// end, and no deadline is set.
func (t *Transport) put(c *conn) {
	c.reused = true
	c.since = time.Now()
	t.mu.Lock()
	conns := t.idle[c.backend]
	keep := !t.closed && len(conns) < t.config.MaxIdle
	if keep {
		t.idle[c.backend] = append(conns, c)
		if t.config.IdleTimeout > 0 && !t.armed {
			t.armLocked(t.config.IdleTimeout)
		}
	}
	t.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// armLocked has expire called after d. There is no goroutine and no timer while nothing waits.
func (t *Transport) armLocked(d time.Duration) {
	t.armed = true
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
	next := time.Duration(-1)
	var old []*conn
	t.mu.Lock()
	for b, conns := range t.idle {
		n := 0
		for n < len(conns) && now.Sub(conns[n].since) >= t.config.IdleTimeout {
			n++
		}
		if n > 0 {
			old = append(old, conns[:n]...)
			conns = slices.Clone(conns[n:])
			t.setLocked(b, conns)
		}
		if len(conns) == 0 {
			continue
		}
		if wait := t.config.IdleTimeout - now.Sub(conns[0].since); next < 0 || wait < next {
			next = wait
		}
	}
	t.armed = false
	if next >= 0 {
		t.armLocked(next)
	}
	t.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// setLocked makes conns the idle connections to b. Backends come and go with the configuration: one
// without connections leaves no trace.
func (t *Transport) setLocked(b *routing.Backend, conns []*conn) {
	if len(conns) == 0 {
		delete(t.idle, b)
		return
	}
	t.idle[b] = conns
}

// timedOut reports whether a deadline has passed, ours or the kernel's.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
