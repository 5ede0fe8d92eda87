package routing

import "errors"

// What a backend does wrong. Errors that concern a backend wrap one of these; front makes a status
// of it.
var (
	// ErrDial is a backend that refuses connections or cannot be reached.
	ErrDial = errors.New("backend unreachable")

	// ErrTLS is a backend with which there is no TLS: its certificate does not verify, it refuses ours, or
	// it speaks something else.
	ErrTLS = errors.New("no TLS with backend")

	// ErrTimeout is a backend that does not accept a connection, or begin its answer, in time.
	ErrTimeout = errors.New("backend too slow")

	// ErrAnswer is an answer that is malformed, breaks off in its head, or is not what was asked for.
	ErrAnswer = errors.New("backend answer invalid")
)

// Why Route.Acquire has no backend for a request.
var (
	// ErrNoBackend is a route whose backends are all unhealthy, draining or tried already.
	ErrNoBackend = errors.New("no backend available")

	// ErrFull is a route whose backends have as many links as they may, where nobody else may wait for
	// one to end.
	ErrFull = errors.New("all backends full")

	// ErrQueueTimeout is a request that has waited for a slot for as long as it may.
	ErrQueueTimeout = errors.New("all backends full for too long")
)
