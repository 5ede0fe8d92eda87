package sock

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// What a dial can lack on this machine.
var (
	// ErrPorts is a connect, from one source address or the one that the system would choose, for which no
	// port is left: all of them have a connection to that address and port already. A source that is no
	// address of this machine has none either; then it is bind that fails.
	ErrPorts = errors.New("no source port left")

	// ErrDescriptors is a process, or a system, without a descriptor left.
	ErrDescriptors = errors.New("no descriptor left")
)

// shortError is one of those, kind, in the system's words.
type shortError struct {
	kind error
	text string
}

func (e *shortError) Error() string { return e.text }

func (e *shortError) Unwrap() error { return e.kind }

// shortage says of an error of a dial what this machine is short of, if that is it.
func shortage(source netip.Addr, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL), source.IsValid() && errors.Is(err, syscall.EADDRINUSE):
		text := cause(err)
		if source.IsValid() {
			text = source.String() + ": " + text
		}
		return &shortError{ErrPorts, text}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &shortError{ErrDescriptors, cause(err)}
	}
	return err
}

// cause is an error without what net says of the addresses.
func cause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return err.Error()
}
