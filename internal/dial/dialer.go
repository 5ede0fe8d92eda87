// Package dial connects to backends, each in the way it is to be spoken to: one with TLS never gets a
// byte that is not under TLS.
package dial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"wsproxy/internal/sock"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// Config is a Dialer's.
type Config struct {
	// Resolver looks the names of backends up; whoever made it closes it. Nil means that all have
	// literal addresses.
	Resolver *sock.Resolver

	// TLS has what to shake hands with for every backend whose TLS is not nil; one that is missing
	// cannot be dialled.
	TLS map[*routing.Backend]*tls.Config
}

// defaultTimeout is that of a route.
const defaultTimeout = 5 * time.Second

// Dialer connects to backends. Its zero value does to plain ones with literal addresses. It may be used
// by many goroutines.
type Dialer struct {
	sock sock.Dialer
	tls  map[*routing.Backend]*tls.Config
}

// New makes a Dialer.
func New(cfg Config) *Dialer {
	return &Dialer{sock: sock.Dialer{Resolver: cfg.Resolver}, tls: cfg.TLS}
}

// Dial connects to a backend, shakes hands where it has TLS, and sends first, if that is not empty, all
// within timeout; zero means five seconds. The caller owns the connection: one of sock's, which lives at
// home unless that is nil, or a *tlsterm.TLSConn over one. The error wraps one of routing's.
func (d *Dialer) Dial(home sock.Home, b *routing.Backend, timeout time.Duration, first []byte) (net.Conn, error) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if b.TLS == nil {
		conn, err := d.sock.DialAt(home, b.Addr, timeout, first)
		if err != nil {
			return nil, failure(b, routing.ErrDial, err)
		}
		return conn, nil
	}
	return d.dialTLS(home, b, time.Now().Add(timeout), first)
}

func (d *Dialer) dialTLS(home sock.Home, b *routing.Backend, deadline time.Time, first []byte) (net.Conn, error) {
	cfg := d.tls[b]
	if cfg == nil {
		return nil, failure(b, routing.ErrTLS, errors.New("nothing to shake hands with"))
	}
	below, err := d.sock.DialAt(home, b.Addr, time.Until(deadline), nil)
	if err != nil {
		return nil, failure(b, routing.ErrDial, err)
	}
	conn, _, err := tlsterm.Client(below, cfg, time.Until(deadline))
	if err != nil {
		return nil, failure(b, routing.ErrTLS, err)
	}
	if len(first) > 0 {
		_ = conn.SetWriteDeadline(deadline)
		if _, err = conn.Write(first); err == nil {
			err = conn.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			conn.Close()
			return nil, failure(b, routing.ErrDial, err)
		}
	}
	return conn, nil
}

// failure says what went wrong with a backend; whatever it was, a timeout is one.
func failure(b *routing.Backend, kind, err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		kind = routing.ErrTimeout
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	// net's errors repeat the operation and the addresses; an alert of TLS is one as well, and says who
	// sent it.
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		err = op.Err
	}
	return fmt.Errorf("dial backend %s: %w: %w", b.Addr, kind, err)
}
