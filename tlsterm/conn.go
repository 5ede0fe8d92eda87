package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// ErrDetached is what a Conn's Read returns once it has been detached.
var ErrDetached = errors.New("connection detached")

// Conn is an accepted connection as fasthttp serves it, until it is detached.
type Conn interface {
	net.Conn

	// Handshake reads what stands before the first request: a PROXY protocol header if the connection
	// has to begin with one, and on a TLS connection the handshake. Without a call the first Read does
	// what is to be done on a plain one. A connection on which that fails is closed. Once it is over,
	// Handshake only gives again what it came to. Call it on the goroutine that serves the connection.
	Handshake() error

	// Client is the client as a PROXY protocol header names it, else the remote address, and Destination
	// the address that it connected to, else the local address; IPv4 is never mapped into IPv6. They
	// are valid once Handshake is over or the first byte has been read. RemoteAddr and LocalAddr
	// are the socket's all the same.
	Client() netip.AddrPort
	Destination() netip.AddrPort

	// Port is Destination's, but the listener's where no PROXY protocol header tells another: that is known
	// without asking the system.
	Port() uint16

	// Admits reports whether the listener serves a client, whose address may have come by another way than
	// Client's.
	Admits(client netip.Addr) bool

	// Detach takes the connection away from fasthttp: from now on Read answers ErrDetached and
	// Close does nothing. The caller owns what is returned, a *sock.Conn, a *net.TCPConn, a *TLSConn or
	// a *tls.Conn; bytes that fasthttp has read already are still in its buffer.
	Detach() net.Conn

	// Linger makes Close end the sending half only and wait, for a short time, until the client has
	// stopped sending. A connection closed with bytes unread is reset, and with it goes an answer that
	// the client has not read yet (RFC 9112 §9.6).
	Linger()

	// NetConn is the TCP connection below, as package sock asks for it.
	NetConn() net.Conn

	// Gone reports whether the client has closed or reset the connection, where the system can tell.
	Gone() bool

	// CanWait reports whether OnReadable and TryWrite would work: the connection lives in a loop, and what
	// has been read from it has been read here, too.
	CanWait() bool

	// TryWrite writes what there is room for without waiting. sock.ErrAgain says that there is something
	// left: p[n:], which is the caller's to write, and perhaps a part of what stands before it, which goes
	// with the next Write, be it of nothing.
	TryWrite(p []byte) (n int, err error)

	// OnReadable has f called once when there is something to read, as sock.Conn's does, and reports
	// false when it cannot. Nobody may read until then.
	OnReadable(f func()) bool
}

// lingerTimeout bounds the wait of a Close that lingers.
const lingerTimeout = 2 * time.Second

// conn is what a plain and a TLS connection have in common.
type conn struct {
	halfCloser
	detached atomic.Bool
	heard    atomic.Bool
	lingers  atomic.Bool
	told     atomic.Pointer[endpoints] // nil without a PROXY protocol header that tells any
	port     uint16                    // the listener's
	due      bool                      // that header is; owned by the goroutine that serves
}

// halfCloser is what a *sock.Conn, a *net.TCPConn, a *TLSConn and a *tls.Conn have in common.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// readHeader reads the PROXY protocol header from the connection below if one is due, and says whether
// anything of it has come.
func (c *conn) readHeader(tcp net.Conn) (heard bool, err error) {
	if !c.due {
		return false, nil
	}
	c.due = false
	told, heard, err := readProxyHeader(tcp)
	c.told.Store(told)
	return heard, err
}

func (c *conn) Client() netip.AddrPort {
	if told := c.told.Load(); told != nil {
		return told.client
	}
	return addrPort(c.RemoteAddr())
}

func (c *conn) Destination() netip.AddrPort {
	if told := c.told.Load(); told != nil {
		return told.destination
	}
	return addrPort(c.LocalAddr())
}

func (c *conn) Port() uint16 {
	if told := c.told.Load(); told != nil {
		return told.destination.Port()
	}
	return c.port
}

func (c *conn) Detach() net.Conn {
	c.detached.Store(true)
	return c.halfCloser
}

func (c *conn) Linger() { c.lingers.Store(true) }

func (c *conn) Gone() bool { return sock.Gone(c.halfCloser) }

func (c *conn) CanWait() bool {
	if over, ok := c.halfCloser.(*TLSConn); ok && over.holds() {
		return false
	}
	return sock.HomeOf(c.halfCloser) != nil
}

func (c *conn) OnReadable(f func()) bool { return sock.OnReadable(c.halfCloser, f) }

func (c *conn) TryWrite(p []byte) (int, error) { return tryWrite(c.halfCloser, p) }

// tryWrite is TryWrite of a *TLSConn or a *sock.Conn. On another connection nothing goes without waiting.
func tryWrite(conn net.Conn, p []byte) (int, error) {
	if c, ok := conn.(interface{ TryWrite(p []byte) (int, error) }); ok {
		return c.TryWrite(p)
	}
	return 0, sock.ErrAgain
}

func (c *conn) Read(p []byte) (int, error) {
	if c.detached.Load() {
		return 0, ErrDetached
	}
	n, err := c.halfCloser.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

func (c *conn) Close() error {
	if c.detached.Load() {
		return nil
	}
	if c.lingers.Swap(false) {
		linger(c.halfCloser)
	}
	return c.halfCloser.Close()
}

// linger ends the sending half and waits for the end of the other, within lingerTimeout.
func linger(conn halfCloser) {
	_ = conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	if conn.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// secureConn carries wss and https.
type secureConn struct {
	conn
	shaking *shakingConn // below TLS
	shake   func() (tls.ConnectionState, error)
	state   tls.ConnectionState

	// What Handshake came to, once it has begun.
	begun bool
	err   error
}

// secureConn makes one of a connection: of the record layer, or of crypto/tls.
func (l *Listener) secureConn(inner net.Conn) *secureConn {
	shaking := &shakingConn{halfCloser: inner.(halfCloser), listener: l}
	c := &secureConn{shaking: shaking}
	shaking.owner, c.due, c.port = &c.conn, l.proxied(inner), l.port
	if l.taken != nil {
		over := &TLSConn{tcp: shaking.halfCloser}
		c.halfCloser = over
		c.shake = func() (tls.ConnectionState, error) {
			state, err := over.accept(shaking, l.taken)
			return state.tls(), err
		}
		return c
	}
	over := tls.Server(shaking, l.tls)
	c.halfCloser = over
	c.shake = func() (tls.ConnectionState, error) {
		err := over.Handshake()
		return over.ConnectionState(), err
	}
	return c
}

func (c *secureConn) NetConn() net.Conn { return c.shaking.halfCloser }

// Admits is as Conn has it.
func (c *secureConn) Admits(client netip.Addr) bool { return c.shaking.listener.admits(client) }

// Handshake shakes hands under the listener's deadline and budget. A connection on which that fails
// is closed, counted and logged at debug level; what the internet sends to port 443 is not news.
func (c *secureConn) Handshake() error {
	if !c.begun {
		c.begun = true
		c.err = c.handshake()
	}
	return c.err
}

func (c *secureConn) handshake() (err error) {
	c.shaking.begin()
	var state tls.ConnectionState
	heard, err := c.readHeader(c.shaking.halfCloser)
	if err == nil {
		state, err = c.shake()
	} else {
		c.shaking.heard = heard
	}
	if err = c.shaking.end(err, &state); err != nil {
		if isPlainHTTP(err) {
			answerPlain(c.shaking.halfCloser)
		}
		c.Close()
		return err
	}
	c.state = state
	return c.shaking.SetDeadline(time.Time{})
}

// ConnectionState is what the handshake has come to.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.state }

// answerPlain tells a client that sent plain HTTP to a TLS port what it did.
func answerPlain(tcp halfCloser) {
	_, _ = io.WriteString(tcp, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"+
		"Connection: close\r\n\r\nthis port speaks TLS: use https:// or wss://\n")
	linger(tcp)
}
