// Package splice carries the two frame streams of a link between its ends, for hours or days. What
// a link does with bytes and endings is the same for every driver (link.go, pipe.go); a driver
// moves the bytes. There are two: a few epoll loops that own all links, and two goroutines a link for
// every system without epoll.
package splice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"sync"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// ErrStopped is Splice's answer once Stop has cut links off or returned.
var ErrStopped = errors.New("splice engine stopped")

// ErrSecured is Splice's answer when an end's TLS is for a loop to carry and no loop can carry the link.
var ErrSecured = errors.New("no loop for a link with TLS")

// End is one side of a link: a *sock.Conn, a *net.TCPConn or a *tls.Conn. Reads and writes go on concurrently,
// each from one goroutine; CloseWrite ends one direction.
type End interface {
	net.Conn
	CloseWrite() error
}

// Driver is a model of carrying links.
type Driver uint8

const (
	// Auto takes Epoll for what it can carry and where there is one, and Goroutines for the rest.
	Auto Driver = iota
	// Epoll is a few loops that own all links. What it cannot carry, a *tls.Conn, is left to Goroutines.
	Epoll
	// Goroutines is two goroutines a link.
	Goroutines
)

// Config is the engine's; the zero value is good.
type Config struct {
	// Driver is the model of carrying links.
	Driver Driver

	// Loops is how many loops Epoll has. Zero means one for each CPU.
	Loops int

	// Log gets what goes wrong in a loop itself. Nil means slog's default.
	Log *slog.Logger

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

	// ClientTLS and BackendTLS are the TLS of an end that a loop is to carry, whose connection is the one
	// below it then. Nil means that there is none, or that the end sees to it itself.
	ClientTLS, BackendTLS *Secured

	// Extensions is what the opening handshake agreed on.
	Extensions frame.Extensions

	// Policy is that of the link's route. Nil means none.
	Policy *Policy

	// Owner is told when the link has ended.
	Owner Owner
}

// Secured is the TLS of an end, after its handshake.
type Secured struct {
	// Session is the engine's from Splice on.
	Session record.Session

	// Raw is what has been read of the connection and not been opened, less than a record can have. It
	// comes behind the early bytes.
	Raw []byte
}

// Owner is whom a link belongs to. There is one for each, so that it may keep what it knows of it.
type Owner interface {
	// Ended is called exactly once, unless Splice returns an error, when both ends are closed. It must
	// not block.
	Ended(Result)
}

// driver moves the bytes of links in one of two ways. Each keeps the links it carries.
type driver interface {
	// carry takes over a link whose ends are open; it tells the engine when it has ended.
	carry(s Spec)
	// drain closes all links, and those still to come, as Engine.Drain says.
	drain()
	// abort cuts all links off.
	abort()
	// each calls f with every link, as Engine.Links says.
	each(f func(Live))
	// retire gives for each link of an owner that is meant what closes it, and does nothing once it has
	// ended.
	retire(which func(Owner) bool, bye *farewell) []func()
	// stop ends what the driver itself runs. It carries no link any more.
	stop()
}

// Engine carries links. Its methods may be called from any goroutine.
type Engine struct {
	// Fixed at creation.
	cfg        Config
	goroutines driver
	loops      driver // nil where there are none

	// Written by all links.
	trips roundTrips

	retiring sync.WaitGroup // the goroutines of Retire
	quit     chan struct{}  // closed when they are to end

	mu      sync.Mutex // guards what follows
	open    int
	opened  uint64
	stopped bool          // no link is taken any more
	empty   chan struct{} // made by Stop; closed, and nil again, when no link is left
}

// New makes an Engine; Stop ends it. It fails when the system has no epoll and cfg wants it, or no
// descriptors for it.
func New(cfg Config) (*Engine, error) {
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
	if cfg.Loops == 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	e := &Engine{cfg: cfg, quit: make(chan struct{})}
	e.goroutines = newCouples(e)
	if cfg.Driver == Goroutines {
		return e, nil
	}
	loops, err := newLoops(e)
	switch {
	case err == nil:
		e.loops = loops
	case cfg.Driver == Epoll || !errors.Is(err, errors.ErrUnsupported):
		return nil, fmt.Errorf("splice engine: %w", err)
	}
	return e, nil
}

// Splice joins the two ends of s and owns them from the call on: whatever happens, each is closed
// once. A link that is made while the engine drains is closed with 1001 at once. The only errors are
// ErrStopped and ErrSecured.
func (e *Engine) Splice(s Spec) error {
	d := e.goroutines
	if e.loops != nil && isPlain(s.Client) && isPlain(s.Backend) {
		d = e.loops
	} else if s.ClientTLS != nil || s.BackendTLS != nil {
		s.close() // carried as it is, it would be in the clear
		return ErrSecured
	}
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		s.close()
		return ErrStopped
	}
	e.open++
	e.opened++
	e.mu.Unlock()
	d.carry(s)
	return nil
}

// close closes the ends of a link that is not to be.
func (s *Spec) close() {
	for _, over := range [...]*Secured{s.ClientTLS, s.BackendTLS} {
		if over != nil {
			over.Session.Wipe()
		}
	}
	s.Client.Close()
	s.Backend.Close()
}

// isPlain reports whether an end is a connection of TCP, whose descriptor is all there is to it: a
// *tls.Conn holds bytes and keys besides, so only goroutines can carry it.
func isPlain(end End) bool {
	switch end.(type) {
	case *net.TCPConn, interface{ Home() sock.Home }:
		return true
	}
	return false
}

// Home is a function that gives the loop where the next connection should live: nothing has to be done
// for one that lives there to become a link's end. It is nil, nowhere, where there are no loops.
func (e *Engine) Home() func() sock.Home {
	if e.loops == nil {
		return nil
	}
	return home(e.loops)
}

// goingAway is what both ends of a link hear when wsproxy stops.
var goingAway = &farewell{frame.GoingAway, "wsproxy is shutting down"}

// Drain closes every link with 1001 at its next frame boundary, and every link made from now on as
// soon as it is made. It does not wait.
func (e *Engine) Drain() {
	for _, d := range e.drivers() {
		d.drain()
	}
}

// Stop waits until no link is open and cuts off those that are left when ctx is done; it returns
// how many those were. Every Owner has been told when it returns. Call it once.
func (e *Engine) Stop(ctx context.Context) (cut int) {
	empty := make(chan struct{})
	e.mu.Lock()
	e.empty = empty
	e.endIfEmptyLocked()
	e.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
		e.mu.Lock()
		e.stopped = true
		cut = e.open
		e.mu.Unlock()
		for _, d := range e.drivers() {
			d.abort()
		}
		<-empty
	}
	close(e.quit)
	e.retiring.Wait()
	for _, d := range e.drivers() {
		d.stop()
	}
	return cut
}

func (e *Engine) drivers() []driver {
	if e.loops == nil {
		return []driver{e.goroutines}
	}
	return []driver{e.goroutines, e.loops}
}

func (e *Engine) endIfEmptyLocked() {
	if e.empty != nil && e.open == 0 {
		e.stopped = true
		close(e.empty)
		e.empty = nil
	}
}

// ended is a driver's word that a link has ended and its Done returned.
func (e *Engine) ended() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
	e.endIfEmptyLocked()
}

// Stats are the engine's gauges and counters.
type Stats struct {
	Open   int    // links now
	Opened uint64 // links ever

	// RoundTrips are those of wsproxy's own Pings.
	RoundTrips RoundTrips
}

// Stats returns them as they are now.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{Open: e.open, Opened: e.opened, RoundTrips: e.trips.snapshot()}
}
