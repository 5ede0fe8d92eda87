package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// ErrDetached is what a Conn's Read returns once it has been detached.
var ErrDetached = errors.New("connection detached")

// Conn is an accepted connection as fasthttp serves it, until it is detached.
type Conn interface {
	net.Conn

	// Detach takes the connection away from fasthttp: from now on Read answers ErrDetached and
	// Close does nothing. The caller owns what is returned, a *sock.Conn, a *net.TCPConn, a *TLSConn or
	// a *tls.Conn; bytes that fasthttp has read already are still in its buffer.
	Detach() net.Conn

	// Silent reports whether the client has sent nothing yet, behind a TLS handshake.
	Silent() bool

	// OnClose has f called once when the connection is closed, unless it is detached before: fasthttp
	// closes a connection that it was to hand over when it cannot send what stands before. Call it on
	// the goroutine that serves the connection.
	OnClose(f func())

	// Linger makes Close end the sending half only and wait, for a short time, until the client has
	// stopped sending. A connection closed with bytes unread is reset, and with it goes an answer that
	// the client has not read yet (RFC 9112 §9.6).
	Linger()

	// CloseWrite ends what goes to the client, who may still send.
	CloseWrite() error

	// NetConn is the TCP connection below, as package sock asks for it.
	NetConn() net.Conn

	// Gone reports whether the client has closed or reset the connection, where the system can tell.
	Gone() bool
}

// lingerTimeout bounds the wait of a Close that lingers.
const lingerTimeout = 2 * time.Second

// conn is what a plain and a TLS connection have in common. A plain one must not have the methods
// by which fasthttp tells TLS, so there are two types around it.
type conn struct {
	halfCloser
	detached atomic.Bool
	heard    atomic.Bool
	lingers  atomic.Bool
	onClose  atomic.Pointer[func()]
}

// halfCloser is what a *sock.Conn, a *net.TCPConn, a *TLSConn and a *tls.Conn have in common.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func (c *conn) Detach() net.Conn {
	c.onClose.Store(nil)
	c.detached.Store(true)
	return c.halfCloser
}

func (c *conn) Silent() bool { return !c.heard.Load() }

func (c *conn) OnClose(f func()) { c.onClose.Store(&f) }

func (c *conn) Linger() { c.lingers.Store(true) }

func (c *conn) Gone() bool { return sock.Gone(c.halfCloser) }

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
	if f := c.onClose.Swap(nil); f != nil {
		(*f)()
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

// ReadFrom writes what each read brings at once. Without it fasthttp holds a body of known length
// back until its buffer is full or the body ends.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	buf := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(buf)
	for {
		size, readErr := r.Read(*buf)
		if size > 0 {
			written, err := c.Write((*buf)[:size])
			n += int64(written)
			if err != nil {
				return n, err
			}
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// secureConn carries wss and https. fasthttp calls Handshake on the worker that will serve the
// first request.
type secureConn struct {
	conn
	shaking *shakingConn // below TLS
	shake   func() (tls.ConnectionState, error)
	state   tls.ConnectionState
}

// secureConn makes one of a connection: of the record layer, or of crypto/tls.
func (l *Listener) secureConn(inner net.Conn) *secureConn {
	shaking := &shakingConn{halfCloser: inner.(halfCloser), listener: l}
	c := &secureConn{shaking: shaking}
	if l.taken != nil {
		over := &TLSConn{tcp: shaking.halfCloser}
		c.conn = conn{halfCloser: over}
		c.shake = func() (tls.ConnectionState, error) {
			state, err := over.accept(shaking, l.taken)
			return state.tls(), err
		}
		return c
	}
	over := tls.Server(shaking, l.tls)
	c.conn = conn{halfCloser: over}
	c.shake = func() (tls.ConnectionState, error) {
		err := over.Handshake()
		return over.ConnectionState(), err
	}
	return c
}

func (c *secureConn) NetConn() net.Conn { return c.shaking.halfCloser }

// Handshake shakes hands under the listener's deadline and budget. A connection on which that fails
// is closed, counted and logged at debug level; what the internet sends to port 443 is not news.
func (c *secureConn) Handshake() error {
	c.shaking.begin()
	state, err := c.shake()
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

// ConnectionState makes fasthttp take the connection for TLS.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.state }

// answerPlain tells a client that sent plain HTTP to a TLS port what it did.
func answerPlain(tcp halfCloser) {
	_, _ = io.WriteString(tcp, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"+
		"Connection: close\r\n\r\nthis port speaks TLS: use https:// or wss://\n")
	linger(tcp)
}
