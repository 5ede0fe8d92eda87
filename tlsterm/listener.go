// Package tlsterm is where connections arrive and TLS ends. crypto/tls shakes hands; then the record
// layer takes over and carries the data.
package tlsterm

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"wsproxy/internal/sock"
)

// Config is a listener's.
type Config struct {
	// Certs answers for the server names. Nil makes the listener a plain one.
	Certs *Certs

	// MinVersion is the oldest TLS version that is spoken, as crypto/tls numbers them. Zero means
	// TLS 1.2.
	MinVersion uint16

	// HandshakeTimeout is how long a TLS handshake may take. Zero means ten seconds.
	HandshakeTimeout time.Duration

	// Home gives for each connection where it is to live until it is a link's. Nil stands for nowhere.
	Home func() sock.Home

	// KeepTLS leaves the data to crypto/tls as well. It knows a few suites more, and takes some ten
	// kilobytes for each connection.
	KeepTLS bool

	// Log gets what happens to connections before there is a request. Nil means slog's default.
	Log *slog.Logger
}

const defaultHandshakeTimeout = 10 * time.Second

// Listener accepts connections for fasthttp, each of them a Conn.
type Listener struct {
	net.Listener
	cfg   Config
	tls   *tls.Config // nil on a plain one
	taken *tls.Config // for connections that the record layer takes over; nil when none are

	closeOnce sync.Once
	closed    chan struct{}
}

// Listen listens on a TCP address. The caller closes the listener.
func Listen(address string, cfg Config) (*Listener, error) {
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = defaultHandshakeTimeout
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	inner, err := sock.Listen(address, cfg.Home)
	if err != nil {
		return nil, err
	}
	l := &Listener{Listener: inner, cfg: cfg, closed: make(chan struct{})}
	if cfg.Certs != nil {
		l.tls = &tls.Config{
			MinVersion:     cfg.MinVersion,
			GetCertificate: cfg.Certs.Get,
			// A client that offers protocols and is given none of them is refused, and curl --http1.0
			// offers nothing else.
			NextProtos: []string{"http/1.1", "http/1.0"},
		}
		if !cfg.KeepTLS {
			l.taken = serverConfig(l.tls)
		}
	}
	return l, nil
}

// Accept waits for the next connection. Running out of descriptors and connections that vanished
// in the queue are waited out: fasthttp would end on either.
func (l *Listener) Accept() (net.Conn, error) {
	const longest = time.Second
	pause := 5 * time.Millisecond
	for {
		inner, err := l.Listener.Accept()
		if err == nil {
			return l.wrap(inner), nil
		}
		if !passes(err) {
			return nil, err
		}
		l.cfg.Log.Warn("accept", "listener", l.Addr().String(), "err", err, "pause", pause)
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close closes the listener; connections it has accepted stay.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *Listener) wrap(inner net.Conn) net.Conn {
	if l.tls == nil {
		return &plainConn{conn{halfCloser: inner.(halfCloser)}}
	}
	return l.secure(inner)
}

// passes reports whether an error of accept is one that says nothing of the listener (accept(2)):
// descriptors or memory have run out, or the connection was gone before it was accepted.
func passes(err error) bool {
	for _, transient := range [...]error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.EINTR,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, transient) {
			return true
		}
	}
	return false
}
