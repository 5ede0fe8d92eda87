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
