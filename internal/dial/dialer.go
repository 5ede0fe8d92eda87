// Package dial connects to backends, each in the way it is to be spoken to: one with TLS never gets a
// byte that is not under TLS.
package dial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
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

	// TLS has what to shake hands with for every way of TLS that a backend has; with one that is missing
	// it cannot be dialled.
	TLS map[routing.BackendTLS]*tls.Config
}

// defaultTimeout is that of a route.
const defaultTimeout = 5 * time.Second

// Dialer connects to backends. Its zero value does to plain ones with literal addresses. It may be used
// by many goroutines.
type Dialer struct {
	sock sock.Dialer
	tls  atomic.Pointer[map[routing.BackendTLS]*tls.Config]
}

// New makes a Dialer.
func New(cfg Config) *Dialer {
	d := &Dialer{sock: sock.Dialer{Resolver: cfg.Resolver}}
	d.UseTLS(cfg.TLS)
	return d
}

// UseTLS puts another Config's TLS in force, for connections from now on.
func (d *Dialer) UseTLS(configs map[routing.BackendTLS]*tls.Config) { d.tls.Store(&configs) }

// Request is how one connection to a backend is to be made. The zero value is a good one.
type Request struct {
	// Home is where the connection below any TLS lives. Nil stands for nowhere.
	Home sock.Home

	// Timeout bounds all that Dial does. Zero means five seconds.
	Timeout time.Duration

	// Preface is sent before anything else, and before TLS: a PROXY protocol header. First is the first
	// data behind it. Both are read only until Dial returns.
	Preface, First []byte

	// Sources are the addresses that the connection may come from, as sock.Request has them: those of a
	// Route.
	Sources []netip.Addr
}

// Dial connects to a backend, shakes hands where it has TLS, and sends what the request has to send. The
// caller owns the connection: one of sock's, or a *tlsterm.TLSConn over one. The error wraps one of
// routing's.
func (d *Dialer) Dial(b *routing.Backend, r Request) (net.Conn, error) {
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	if b.TLS != nil {
		return d.dialTLS(b, r, time.Now().Add(r.Timeout))
	}
	first := r.First
	if len(r.Preface) > 0 {
		first = slices.Concat(r.Preface, r.First)
	}
	conn, err := d.sock.Dial(b.Addr, sock.Request{Home: r.Home, Timeout: r.Timeout, First: first, Sources: r.Sources})
	if err != nil {
		return nil, failure(b, routing.ErrDial, err)
	}
	return conn, nil
}

func (d *Dialer) dialTLS(b *routing.Backend, r Request, deadline time.Time) (net.Conn, error) {
	var cfg *tls.Config
	if configs := d.tls.Load(); configs != nil {
		cfg = (*configs)[*b.TLS]
	}
	if cfg == nil {
		return nil, failure(b, routing.ErrTLS, errors.New("nothing to shake hands with"))
	}
	below, err := d.sock.Dial(b.Addr, sock.Request{Home: r.Home, Timeout: time.Until(deadline), First: r.Preface, Sources: r.Sources})
	if err != nil {
		return nil, failure(b, routing.ErrDial, err)
	}
	conn, _, err := tlsterm.Client(below, cfg, time.Until(deadline))
	if err != nil {
		return nil, failure(b, routing.ErrTLS, err)
	}
	if len(r.First) > 0 {
		_ = conn.SetWriteDeadline(deadline)
		if _, err = conn.Write(r.First); err == nil {
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
	switch {
	case errors.Is(err, sock.ErrPorts):
		kind = routing.ErrPorts
	case errors.Is(err, sock.ErrDescriptors):
		kind = routing.ErrDescriptors
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
