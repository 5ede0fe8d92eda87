package upgrade

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"wsproxy/routing"
)

// Whatever a backend was asked, taking too long is one thing and failing another.
func TestAskErrorTellsTimeoutsFromFailures(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		name      string
		err, kind error
		want      error
	}{
		{"refused", op(os.NewSyscallError("connect", syscall.ECONNREFUSED)), routing.ErrDial, routing.ErrDial},
		{"unreachable", op(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), routing.ErrDial, routing.ErrDial},
		{"name unknown", op(&net.DNSError{Err: "no such host", IsNotFound: true}), routing.ErrDial, routing.ErrDial},
		{"dial takes too long", op(os.ErrDeadlineExceeded), routing.ErrDial, routing.ErrTimeout},
		{"the system's own timeout", op(os.NewSyscallError("connect", syscall.ETIMEDOUT)), routing.ErrDial, routing.ErrTimeout},
		{"name takes too long", op(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), routing.ErrDial, routing.ErrTimeout},
		{"answer takes too long", os.ErrDeadlineExceeded, routing.ErrAnswer, routing.ErrTimeout},
		{"answer cut off", io.ErrUnexpectedEOF, routing.ErrAnswer, routing.ErrAnswer},
		{"reset", op(os.NewSyscallError("read", syscall.ECONNRESET)), routing.ErrAnswer, routing.ErrAnswer},
	}
	for _, tt := range tests {
		err := askError("ask", &routing.Backend{Addr: "backend:80"}, tt.err, tt.kind)
		for _, kind := range []error{routing.ErrDial, routing.ErrTimeout, routing.ErrAnswer} {
			if got := errors.Is(err, kind); got != (kind == tt.want) {
				t.Errorf("%s: errors.Is(%v, %v) = %v", tt.name, err, kind, got)
			}
		}
		if !strings.Contains(err.Error(), "backend backend:80") {
			t.Errorf("%s: %v does not name the backend", tt.name, err)
		}
	}
}

// The example of RFC 6455 §1.3.
func TestAccept(t *testing.T) {
	hs := Handshake{key: []byte("dGhlIHNhbXBsZSBub25jZQ==")}
	if got, want := hs.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("accept = %q, want %q", got, want)
	}
}
