// Package tlsterm is where connections arrive and TLS ends. crypto/tls shakes hands; then the record
// layer takes over and carries the data.
package tlsterm

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/internal/sock"
)

// Config is a listener's.
type Config struct {
	// Certs and ACME answer for the server names; at most one of them is set. With neither the
	// listener is a plain one.
	Certs *Certs
	ACME  *ACME

	// MinVersion is the oldest TLS version that is spoken, as crypto/tls numbers them. Zero means
	// TLS 1.2.
	MinVersion uint16

	// Curves are the key exchanges that are spoken; crypto/tls picks among them in an order of its
	// own. None means those it has by itself.
	Curves []tls.CurveID

	// Protocols are what a client may name with ALPN, the most wanted first; it is HTTP/1 by any
	// name. None means http/1.1 and http/1.0.
	Protocols []string

	// AnyProtocol leaves ALPN out, whatever the client offers.
	AnyProtocol bool

	// ClientAuth says whether clients show certificates, which ClientCA, a PEM file, has to verify.
	ClientAuth ClientAuth
	ClientCA   string

	// NoTickets leaves out session tickets.
	NoTickets bool

	// TicketKeys is a file of keys for session tickets, a line each: 32 bytes in base64. New tickets
	// are made with the first, all are accepted. Empty means keys of the listener's own, a new one
	// each day.
	TicketKeys string

	// Proxied says from which addresses connections begin with a PROXY protocol header, of version 1 or
	// 2, before TLS where there is some; IPv4 addresses are as such, and none has a zone. A connection
	// without one is closed. A header from elsewhere is malformed HTTP or TLS. Nil means from none. It
	// is called by Accept and must not block.
	Proxied func(netip.Addr) bool

	// Admits says of a client, as far as its address can be believed, whether the listener serves it. Nil
	// means that it serves all. It is for who knows the client: it is asked by Conn.Admits alone.
	Admits func(client netip.Addr) bool

	// HandshakeTimeout is how long a PROXY protocol header and a TLS handshake may take together. Zero
	// means ten seconds.
	HandshakeTimeout time.Duration

	// Home gives for each connection where it is to live until it is a link's. Nil stands for nowhere.
	Home func() sock.Home

	// KeepTLS leaves the data to crypto/tls as well. It knows a few suites more, and takes some ten
	// kilobytes for each connection.
	KeepTLS bool

	// Budget bounds the handshakes that are worked on at a time, over all listeners that have it. Nil
	// means one of the listener's own, of the default size.
	Budget *Budget

	// HTTPSPort is, on a plain listener, the port of https that its requests are redirected to. Zero
	// means that they are served.
	HTTPSPort int

	// Log gets what happens to connections before there is a request. Nil means slog's default.
	Log *slog.Logger
}

const defaultHandshakeTimeout = 10 * time.Second

// Listener accepts connections for fasthttp, each of them a Conn.
type Listener struct {
	net.Listener
	cfg  Config
	port uint16

	// tls begins every handshake and owns the ticket keys; settings is what goes on with it once the
	// ClientHello is there, challenges if that is an ACME server's. All are nil on a plain listener.
	tls        *tls.Config
	taken      *tls.Config // tls for connections that the record layer takes over; nil when none are
	challenges *tls.Config
	settings   atomic.Pointer[tls.Config]

	certs  atomic.Pointer[Certs] // nil on a plain listener and with ACME
	counts counts

	reloading sync.Mutex // guards files
	files     files

	closeOnce sync.Once
	closed    chan struct{}
}

// Listen listens on a TCP address. The caller closes the listener.
func Listen(address string, cfg Config) (*Listener, error) {
	l, err := newListener(cfg)
	if err == nil {
		l.Listener, err = sock.Listen(address, cfg.Home)
	}
	if err != nil {
		return nil, err
	}
	l.port = addrPort(l.Addr()).Port()
	return l, nil
}

// Succeed gives a listener with other settings on the same socket; the one that was there may be closed
// afterwards without a connection being lost. Session tickets with keys of a listener's own end with it.
func (l *Listener) Succeed(cfg Config) (*Listener, error) {
	next, err := newListener(cfg)
	if err == nil {
		next.Listener, err = sock.ListenAgain(l.Listener, cfg.Home)
	}
	if err != nil {
		return nil, err
	}
	next.port = l.port
	return next, nil
}

// newListener makes a Listener but for its socket.
func newListener(cfg Config) (*Listener, error) {
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = defaultHandshakeTimeout
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.Protocols == nil {
		cfg.Protocols = []string{"http/1.1", "http/1.0"}
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(0)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	l := &Listener{cfg: cfg, closed: make(chan struct{})}
	if l.secure() {
		if err := l.prepare(); err != nil {
			return nil, err
		}
		if !cfg.KeepTLS {
			l.taken = serverConfig(l.tls)
		}
	}
	return l, nil
}

// secure reports whether the listener ends TLS.
func (l *Listener) secure() bool { return l.cfg.Certs != nil || l.cfg.ACME != nil }

// prepare makes the settings of TLS from the Config and the files that it names.
func (l *Listener) prepare() error {
	l.certs.Store(l.cfg.Certs)
	if l.cfg.ACME != nil {
		l.challenges = l.challengeSettings()
	}
	l.tls = &tls.Config{GetConfigForClient: l.greeted, SessionTicketsDisabled: l.cfg.NoTickets}
	if l.cfg.TicketKeys != "" && !l.cfg.NoTickets {
		data, err := readFile(l.cfg.TicketKeys)
		if err != nil {
			return fmt.Errorf("load ticket keys %s: %w", l.cfg.TicketKeys, err)
		}
		keys, err := parseTicketKeys(data)
		if err != nil {
			return fmt.Errorf("load ticket keys %s: %w", l.cfg.TicketKeys, err)
		}
		l.tls.SetSessionTicketKeys(keys)
		l.files.ticketKeys = sha256.Sum256(data)
		warnReadable(l.cfg.Log, l.cfg.TicketKeys)
	}
	if l.cfg.ClientAuth == NoClientCert {
		l.settings.Store(l.newSettings(nil))
		return nil
	}
	data, err := readFile(l.cfg.ClientCA)
	if err != nil {
		return fmt.Errorf("load client CA %s: %w", l.cfg.ClientCA, err)
	}
	pool, err := parsePool(data)
	if err != nil {
		return fmt.Errorf("load client CA %s: %w", l.cfg.ClientCA, err)
	}
	l.files.clientCA = sha256.Sum256(data)
	l.settings.Store(l.newSettings(pool))
	return nil
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

// Close closes the listener; connections it has accepted stay. It may be called again.
func (l *Listener) Close() (err error) {
	l.closeOnce.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

func (l *Listener) wrap(inner net.Conn) net.Conn {
	if l.tls == nil {
		return &plainConn{conn: conn{halfCloser: inner.(halfCloser), due: l.proxied(inner), port: l.port}, listener: l}
	}
	return l.secureConn(inner)
}

// proxied reports whether a connection has to begin with a PROXY protocol header.
func (l *Listener) proxied(inner net.Conn) bool {
	return l.cfg.Proxied != nil && l.cfg.Proxied(addrPort(inner.RemoteAddr()).Addr().WithZone(""))
}

func (l *Listener) admits(client netip.Addr) bool { return l.cfg.Admits == nil || l.cfg.Admits(client) }

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
