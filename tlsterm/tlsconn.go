package tlsterm

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// TLSConn is a TLS connection whose handshake crypto/tls has made and whose data the record layer
// carries, as a blocking net.Conn. Idle, also while Read waits, it holds no buffer. Read and Write may
// go on concurrently; deadlines are the TCP connection's.
//
// An end of the TCP connection without close_notify reads as io.EOF for a server, as crypto/tls has
// it, and as record.ErrTruncated for a client: what a backend sends may end with the connection.
type TLSConn struct {
	// Fixed at creation.
	tcp    halfCloser // a *sock.Conn or a *net.TCPConn
	client bool

	closed atomic.Bool

	mu      sync.Mutex // guards session; nobody waits for anything under it
	session record.Session

	reading sync.Mutex // held by Read; guards what follows
	raw     part       // read and not opened: whole records, and a part of one
	plain   part       // opened and not read

	writing  sync.Mutex // held by Write; guards what follows
	writeErr error      // once a write has failed, the other side has a part of a record
	unsent   []byte     // what TryWrite has sealed and not sent; it goes before anything else
}

// errShutdown is Write's answer behind CloseWrite.
var errShutdown = errors.New("tls connection closed for writing")

// closeTimeout bounds how long CloseWrite waits for room.
const closeTimeout = 5 * time.Second

// Client shakes hands with a backend over conn, a *sock.Conn or a *net.TCPConn, within timeout, and owns
// conn from the call on; on an error it is closed. Of cfg, which is not changed, a ClientSessionCache and a
// KeyLogWriter are not used. Whoever wants to see the backend's certificates sets VerifyConnection.
func Client(conn net.Conn, cfg *tls.Config, timeout time.Duration) (*TLSConn, State, error) {
	c := &TLSConn{tcp: conn.(halfCloser), client: true}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	s := newTakeover(conn)
	defer s.release()
	state, err := c.shake(s, tls.Client(s, s.clientConfig(cfg)))
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, State{}, err
	}
	return c, state, nil
}

// accept shakes hands with a client over the connection below, which over may look after meanwhile;
// cfg is serverConfig's. Until then nothing can be read or written.
func (c *TLSConn) accept(over net.Conn, cfg *tls.Config) (State, error) {
	s := newTakeover(over)
	defer s.release()
	return c.shake(s, tls.Server(s, cfg))
}

func (c *TLSConn) shake(s *takeover, over *tls.Conn) (State, error) {
	session, read, state, err := s.shake(over, c.client)
	if err != nil {
		return State{}, err
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return State{}, net.ErrClosed
	}
	c.session = session
	c.raw.keep(read)
	return state, nil
}

// sendAlert sends the alert that a violation calls for if there is room for it. When somebody writes
// just now, Write does it.
func (c *TLSConn) sendAlert() {
	if c.writing.TryLock() {
		c.sendAlertLocked()
		c.writing.Unlock()
	}
}

// sendAlertLocked is sendAlert with writing held. A KeyUpdate that is due goes with the next Write.
func (c *TLSConn) sendAlertLocked() {
	c.mu.Lock()
	_, failed := c.session.Err().(*record.AlertError)
	if failed = failed && c.session.Due(); !failed {
		c.mu.Unlock()
		return
	}
	ciphers := cipherPool.Get().(*record.Ciphers)
	alert := c.session.AppendDue(ciphers, nil)
	cipherPool.Put(ciphers)
	c.mu.Unlock()
	if c.writeErr == nil && len(c.unsent) == 0 {
		sock.TryWrite(c.tcp, alert)
	}
}

// Write writes data. After an error, a deadline's too, nothing can be written any more.
func (c *TLSConn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	defer c.sendAlertLocked()
	return c.writeLocked(p, c.tcp.Write)
}

// TryWrite writes as Conn has it: data that has been sealed counts as written. Nobody else may write
// meanwhile.
func (c *TLSConn) TryWrite(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(c.unsent) > 0 {
		return 0, sock.ErrAgain
	}
	n, err = c.writeLocked(p, func(records []byte) (int, error) {
		sent, err := tryWrite(c.tcp, records)
		if err == sock.ErrAgain {
			c.unsent = bytes.Clone(records[sent:])
			err = nil
		}
		return sent, err
	})
	if err == nil && len(c.unsent) > 0 {
		err = sock.ErrAgain
	}
	return n, err
}

// writeLocked seals data and has write write it, with writing held. It ends early when some is left
// unsent.
func (c *TLSConn) writeLocked(p []byte, write func(records []byte) (int, error)) (n int, err error) {
	buf := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(buf)
	for {
		part := p[n:min(len(p), n+writeSize)]
		if err := c.send(write, func(ciphers *record.Ciphers) []byte {
			return c.session.Seal(ciphers, (*buf)[:0], part)
		}); err != nil {
			return n, err
		}
		if n += len(part); n == len(p) || len(c.unsent) > 0 {
			return n, nil
		}
	}
}

// send writes what is unsent, and then what seal makes, with writing held.
func (c *TLSConn) send(write func(records []byte) (int, error), seal func(*record.Ciphers) []byte) error {
	if c.writeErr != nil {
		return c.writeErr
	}
	if unsent := c.unsent; len(unsent) > 0 {
		c.unsent = nil
		if _, c.writeErr = write(unsent); c.writeErr != nil {
			return c.writeErr
		}
	}
	c.mu.Lock()
	err := c.writableLocked()
	var records []byte
	if err == nil {
		ciphers := cipherPool.Get().(*record.Ciphers)
		records = seal(ciphers)
		cipherPool.Put(ciphers)
	}
	c.mu.Unlock()
	if err != nil || len(records) == 0 {
		return err
	}
	_, c.writeErr = write(records)
	return c.writeErr
}

// writableLocked gives what keeps data from being written, with mu held.
func (c *TLSConn) writableLocked() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	if err := c.session.Err(); err != nil && err != io.EOF {
		return err
	}
	if c.session.SentClose() {
		return errShutdown
	}
	return nil
}

// CloseWrite sends close_notify: the other side may go on, nothing more can be written. The TCP
// connection stays as it is, as with crypto/tls. Like there, a write deadline is set and taken away.
func (c *TLSConn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.tcp.SetWriteDeadline(time.Now().Add(closeTimeout))
	err := c.send(c.tcp.Write, func(ciphers *record.Ciphers) []byte { return c.session.AppendCloseNotify(ciphers, nil) })
	_ = c.tcp.SetWriteDeadline(time.Time{})
	if errors.Is(err, errShutdown) {
		return nil
	}
	return err
}

// Close closes the connection and forgets its keys. A close_notify goes before it if nobody writes
// just now and there is room for it.
func (c *TLSConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.writing.TryLock() {
		c.sendCloseNotifyLocked()
		c.writing.Unlock()
	}
	err := c.tcp.Close()
	c.mu.Lock()
	c.session.Wipe()
	c.mu.Unlock()
	return err
}

// sendCloseNotifyLocked sends a close_notify if there is room, with writing held.
func (c *TLSConn) sendCloseNotifyLocked() {
	c.mu.Lock()
	ciphers := cipherPool.Get().(*record.Ciphers)
	bye := c.session.AppendCloseNotify(ciphers, nil)
	cipherPool.Put(ciphers)
	c.mu.Unlock()
	if len(bye) > 0 && c.writeErr == nil && len(c.unsent) == 0 {
		sock.TryWrite(c.tcp, bye)
	}
}

// Detached is a TLSConn taken apart.
type Detached struct {
	// TCP is the connection below, a *sock.Conn or a *net.TCPConn.
	TCP net.Conn

	Session record.Session

	// Plain is what was opened and not read, the first data there is. Raw is what was read and not
	// opened behind it: whole records and a part of one. Either is nil when there is none, and smaller
	// than record.MaxRecord.
	Plain, Raw []byte
}

// Detach takes the connection apart; the caller owns the parts, and the TLSConn is as good as closed.
// Nobody may read or write meanwhile. It fails with what has ended the connection for good: a
// violation, a failed write, or Close.
func (c *TLSConn) Detach() (d Detached, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return Detached{}, net.ErrClosed
	}
	if c.writeErr != nil {
		return Detached{}, c.writeErr
	}
	if err := c.session.Err(); err != nil && err != io.EOF {
		return Detached{}, err
	}
	c.closed.Store(true)
	d = Detached{TCP: c.tcp, Session: c.session, Plain: bytes.Clone(c.plain.bytes()), Raw: bytes.Clone(c.raw.bytes())}
	c.session.Wipe()
	c.plain.drop()
	c.raw.drop()
	return d, nil
}

// NetConn is the TCP connection below.
func (c *TLSConn) NetConn() net.Conn { return c.tcp }

// LocalAddr is the TCP connection's.
func (c *TLSConn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr is the TCP connection's.
func (c *TLSConn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// SetDeadline sets the TCP connection's.
func (c *TLSConn) SetDeadline(t time.Time) error { return c.tcp.SetDeadline(t) }

// SetReadDeadline sets the TCP connection's; Read goes on after one has passed.
func (c *TLSConn) SetReadDeadline(t time.Time) error { return c.tcp.SetReadDeadline(t) }

// SetWriteDeadline sets the TCP connection's.
func (c *TLSConn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
