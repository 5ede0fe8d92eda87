// Package splice carries the two frame streams of a link between its ends, for hours or days. What
// a link does with bytes and endings is the same for every driver (link.go, pipe.go); a driver
// moves the bytes. There is one so far: two goroutines a link, for every system Go runs on.
package splice

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"wsproxy/internal/frame"
)

// ErrStopped is Splice's answer once Stop has cut links off or returned.
var ErrStopped = errors.New("splice engine stopped")

// End is one side of a link: a *net.TCPConn or a *tls.Conn. Reads and writes go on concurrently,
// each from one goroutine; CloseWrite ends one direction.
type End interface {
	net.Conn
	CloseWrite() error
}

// Config is the engine's; the zero value is good.
type Config struct {
	// CloseTimeout is how long a link may take to end once a Close frame has passed or been sent
	// in one direction, and the longest that FinTimeout can stretch to. Zero means 30 seconds,
	// negative for ever.
	CloseTimeout time.Duration

	// FinTimeout is how long the second half of a link may be silent once the first has ended, or
	// once both ends have sent their Close; what an end still takes of the bytes sent to it counts
	// as well. Zero means one second, negative for ever.
	FinTimeout time.Duration
}

const (
	defaultCloseTimeout = 30 * time.Second
	defaultFinTimeout   = time.Second
	forever             = math.MaxInt64
)

// Spec is a link to be: its ends and what is known of it.
type Spec struct {
	// Client and Backend are owned by the engine from Splice on, whatever happens.
	Client, Backend End

	// FromClient and FromBackend are early bytes: read already, and the first to be carried. They
	// are the engine's, too.
	FromClient, FromBackend []byte

	// Extensions is what the opening handshake agreed on.
	Extensions frame.Extensions

	// Done is called exactly once, unless Splice returns an error, when both ends are closed. It
	// must not block.
	Done func(Result)
}

// Engine carries links. Its methods may be called from any goroutine.
type Engine struct {
	cfg Config

	mu       sync.Mutex // guards what follows
	links    map[*couple]struct{}
	opened   uint64
	draining bool
	stopped  bool          // no link is taken any more
	empty    chan struct{} // made by Stop; closed, and nil again, when no link is left
}

// New makes an Engine; Stop ends it.
func New(cfg Config) *Engine {
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = defaultCloseTimeout
	}
	if cfg.FinTimeout == 0 {
		cfg.FinTimeout = defaultFinTimeout
	}
	if cfg.CloseTimeout < 0 {
		cfg.CloseTimeout = forever
	}
	if cfg.FinTimeout < 0 {
		cfg.FinTimeout = forever
	}
	return &Engine{cfg: cfg, links: make(map[*couple]struct{})}
}

// Splice joins the two ends of s and owns them from the call on: whatever happens, each is closed
// once. A link that is made while the engine drains is closed with 1001 at once. The only error is
// ErrStopped.
func (e *Engine) Splice(s Spec) error {
	c := newCouple(e, s)
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		s.Client.Close()
		s.Backend.Close()
		return ErrStopped
	}
	e.links[c] = struct{}{}
	e.opened++
	draining := e.draining
	e.mu.Unlock()

	if draining {
		c.close(goingAway, Drained) // before the early bytes move, so that none of them is cut
	}
	c.start(s.FromClient, s.FromBackend)
	return nil
}

// goingAway is what both ends of a link hear when wsproxy stops.
var goingAway = farewell{frame.GoingAway, "wsproxy is shutting down"}

// Drain closes every link with 1001 at its next frame boundary, and every link made from now on as
// soon as it is made. It does not wait.
func (e *Engine) Drain() {
	e.mu.Lock()
	e.draining = true
	links := e.snapshotLocked()
	e.mu.Unlock()
	for _, c := range links {
		c.close(goingAway, Drained)
	}
}

// Stop waits until no link is open and cuts off those that are left when ctx is done; it returns
// how many those were. Every Done has been called when it returns. Call it once.
func (e *Engine) Stop(ctx context.Context) (cut int) {
	empty := make(chan struct{})
	e.mu.Lock()
	e.empty = empty
	e.endIfEmptyLocked()
	e.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.stopped = true
	links := e.snapshotLocked()
	e.mu.Unlock()
	for _, c := range links {
		c.abort()
	}
	<-empty
	return len(links)
}

func (e *Engine) endIfEmptyLocked() {
	if e.empty != nil && len(e.links) == 0 {
		e.stopped = true
		close(e.empty)
		e.empty = nil
	}
}

func (e *Engine) snapshotLocked() []*couple {
	links := make([]*couple, 0, len(e.links))
	for c := range e.links {
		links = append(links, c)
	}
	return links
}

// Stats are the engine's gauges and counters.
type Stats struct {
	Open   int    // links now
	Opened uint64 // links ever
}

// Stats returns them as they are now.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{Open: len(e.links), Opened: e.opened}
}

func (e *Engine) remove(c *couple) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.links, c)
	e.endIfEmptyLocked()
}
