// Package health tells which backends work: a Prober asks them at intervals, a Watchdog looks at what
// becomes of requests that pass, and a State makes one verdict of both. It knows backends only as
// targets that it is given, and dials through them.
package health

import (
	"net"
	"time"
)

// Kind is how a target is probed.
type Kind uint8

const (
	// TCP connects, with TLS where the target has it, and closes.
	TCP Kind = iota

	// HTTP makes a request and looks at the answer.
	HTTP

	// WebSocket makes an opening handshake, sends a Ping and waits for its Pong.
	WebSocket
)

// Check is how and how often a target is probed. The zero value connects every five seconds. Nothing
// in it changes after it has been given to a Prober.
type Check struct {
	Kind Kind

	// Interval is from the start of a probe to that of the next, which waits for the end of the first
	// whatever it says. Zero means 5 seconds.
	Interval time.Duration

	// Timeout is for a whole probe, from the dialling to the last byte that counts. Zero means 2 seconds.
	Timeout time.Duration

	// Jitter is the share of Interval by which one may be longer or shorter, at random, so that proxies
	// and targets that began together do not stay together. Zero means a tenth, negative none.
	Jitter float64

	// Rise is how many probes in a row must succeed until a target that is down counts as up, Fall how
	// many must fail until one that is up counts as down. Zero means 2 and 3. The first probe ever
	// decides alone.
	Rise, Fall int

	// Path is the request target, with its query. Empty means "/". TCP has none, nor anything below.
	Path string

	// Host is the Host to send. Empty means the target's.
	Host string

	// Headers are sent as they stand: names are tokens, values have no control characters, and none is
	// Host or belongs to a connection, a body or a handshake.
	Headers []Header

	// Method is that of an HTTP probe, and asks for no body to be sent. Empty means GET.
	Method string

	// Statuses are those of a good answer to an HTTP probe, all of them 200 or more. None means 200 to
	// 399. A WebSocket probe wants 101.
	Statuses []StatusRange

	// Body, unless empty, must be found in the first 64 KiB of the answer's body.
	Body string

	// Subprotocol, unless empty, is offered in the handshake, and the target must agree to it.
	Subprotocol string
}

// Header is a field of a request.
type Header struct{ Name, Value string }

// StatusRange is the status codes from First to Last, both included.
type StatusRange struct{ First, Last int }

// Target is what a Prober probes.
type Target struct {
	// Name is for the log.
	Name string

	// Dial connects within the timeout, and shakes hands where the target has TLS. The Prober owns the
	// connection. Several goroutines call it, one at a time.
	Dial func(timeout time.Duration) (net.Conn, error)

	// Host is the Host to send unless the Check has one.
	Host string

	// Probed is told how each probe ended, never by two goroutines at once. It must not block, and must
	// not remove its target or close its Prober.
	Probed func(Result)
}

// Result is the end of one probe, and what follows from it.
type Result struct {
	// At is when the probe began, Took how long it was until its outcome was known.
	At   time.Time
	Took time.Duration

	// Reason is why the probe failed, in one line, empty when it succeeded. It quotes nothing that the
	// target sent.
	Reason string

	// Row is how many probes in a row, this one the last, ended like it: all failed, or all succeeded.
	Row int

	// Up is what is now held of the target.
	Up bool
}

// OK reports whether the probe succeeded.
func (r *Result) OK() bool { return r.Reason == "" }

func (c *Check) fillDefaults() {
	fill(&c.Interval, 5*time.Second)
	fill(&c.Timeout, 2*time.Second)
	fill(&c.Jitter, 0.1)
	fill(&c.Rise, 2)
	fill(&c.Fall, 3)
	fill(&c.Path, "/")
	fill(&c.Method, "GET")
	if c.Statuses == nil {
		c.Statuses = []StatusRange{{200, 399}}
	}
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// verdict is what is held of a target.
//
//	unknown → up, down     the first probe decides; until then the target passes for up
//	up → down              Fall failures in a row
//	down → up              Rise successes in a row
//
// That is what HAProxy does by default (init-state up), and it makes a start neither refuse everybody
// nor send the first requests to backends that are known to be gone.
type verdict struct {
	known, up bool
	last      bool // how the last probe ended
	row       int  // how many in a row ended so
}

func (v *verdict) add(ok bool, c *Check) {
	if ok != v.last {
		v.row = 0
	}
	v.last = ok
	v.row++
	switch {
	case !v.known:
		v.known, v.up = true, ok
	case ok && v.row >= c.Rise:
		v.up = true
	case !ok && v.row >= c.Fall:
		v.up = false
	}
}
