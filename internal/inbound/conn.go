package inbound

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"wsproxy/internal/head"
	"wsproxy/internal/sock"
	"wsproxy/tlsterm"
)

// ErrSlow is a head or a body that does not come in time.
var ErrSlow = errors.New("request too slow")

// Conn is a client's connection as fasthttp serves it:
//
//	waiting → head → handled → waiting    handled: the handler runs, reads the body and answers
//	                         → detached   it is a link's
//	                         → resting    the answer goes on without a goroutine, until Resume
//	        → parked → waiting            without a goroutine, after a while
//
// fasthttp calls Read, Write and Close; the handler that it has called has all the rest. Where nothing
// else is said a method is for the goroutine that serves the connection.
type Conn struct {
	tlsterm.Conn
	port *Port

	// Owned by the goroutine that serves the connection.
	br        *bufio.Reader // nil while nothing is read and nothing has been
	scanner   head.Scanner
	limits    *head.Limits         // of the present head
	since     time.Time            // of the wait for a head
	tls       *tls.ConnectionState // nil until somebody asks, and while nothing is read
	client    netip.AddrPort       // zero until somebody asks
	pace      pace                 // of what is read, a head or the body
	fault     error                // why no head can be read any more
	body      Body
	shaken    bool // the handshakes below are over
	asked     bool // there has been a request
	delivered bool // of the present head, fasthttp has some
	done      bool // and all of it
	paced     bool // pace is about what is being read
	answered  bool // some of an answer has been written
	muted     bool // fasthttp's answer goes nowhere

	parks       atomic.Bool            // the next Close parks
	rests       atomic.Pointer[func()] // the next Close calls it instead
	interrupted atomic.Bool            // the body is read no more

	wait      place // owned by Port.waiting
	attends   place // owned by Port.attended
	attendant Attendant
	missed    bool
}

func newConn(p *Port, conn tlsterm.Conn) *Conn {
	c := &Conn{Conn: conn, port: p, since: time.Now()}
	c.body.conn = c
	return c
}

// Read gives fasthttp the bytes of heads, each checked as it passes by head.Scanner: a fault is what Fault
// gives. What ends a connection before a head has begun reads as io.EOF, upon which fasthttp closes it
// without a word.
func (c *Conn) Read(p []byte) (int, error) {
	if c.fault != nil {
		return 0, c.fault
	}
	if !c.scanner.Begun() || c.done {
		now := time.Now()
		if c.done {
			c.nextHead(now)
		}
		if err := c.awaitHead(now); err != nil {
			c.release()
			return 0, io.EOF
		}
		c.limits = &c.port.cfg.Load().Head
	}
	for {
		if err := c.fill(); err != nil {
			if !c.delivered {
				// An empty line is no request, and nobody waits for an answer.
				c.fault = io.EOF
				return 0, io.EOF
			}
			return c.fail(p, err)
		}
		b, _ := c.br.Peek(min(c.br.Buffered(), len(p)))
		n, done, err := c.scanner.Scan(b, c.limits)
		fresh := b[:n]
		if !c.delivered {
			// An empty line before a head is not part of it (RFC 9112 §2.2). fasthttp would take the end of
			// nothing else for that of a connection.
			fresh = bytes.TrimLeft(fresh, "\r\n")
		}
		size := copy(p, fresh)
		_, _ = c.br.Discard(n)
		c.delivered = c.delivered || size > 0
		if err != nil {
			if size > 0 {
				c.fault = err
				return size, nil
			}
			return c.fail(p, err)
		}
		if c.done = done; size > 0 {
			return size, nil
		}
	}
}

// fail has fasthttp ask for an answer to a head that goes wrong. It would not if it had read nothing.
func (c *Conn) fail(p []byte, err error) (int, error) {
	switch {
	case timedOut(err):
		err = ErrSlow
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	c.fault = err
	if c.delivered {
		return 0, err
	}
	c.delivered = true
	return copy(p, "x"), nil
}

// nextHead makes ready for the next request. A body that has not been read would be taken for one.
func (c *Conn) nextHead(now time.Time) {
	c.scanner.Reset()
	c.done, c.delivered, c.answered, c.muted, c.paced = false, false, false, false, false
	c.asked = true
	c.since = now
	if !c.body.Whole() {
		c.fault = io.EOF
	}
	c.body = Body{conn: c}
}

// awaitHead waits for the first byte of a head.
func (c *Conn) awaitHead(now time.Time) error {
	if c.fault != nil {
		return c.fault
	}
	if !c.shaken {
		if err := c.Conn.Handshake(); err != nil {
			return err
		}
		now = time.Now()
		c.shaken, c.since = true, now // the handshake had a time of its own
	}
	if c.br == nil {
		c.br = c.port.readers.Get().(*bufio.Reader)
		c.br.Reset((*source)(c))
	}
	if c.br.Buffered() > 0 {
		return nil
	}
	cfg := c.port.cfg.Load()
	patience := cfg.KeepAlive
	if !c.asked {
		patience = cfg.HeaderTimeout
	}
	var until time.Time
	if patience >= 0 {
		until = c.since.Add(patience)
	}
	park := now.Add(c.port.parkAfter)
	if c.Conn.CanWait() && (until.IsZero() || park.Before(until)) {
		_ = c.Conn.SetReadDeadline(park)
		_, err := c.br.Peek(1)
		if err == nil || !timedOut(err) {
			return err
		}
		if c.Conn.CanWait() {
			c.wait.until = until
			c.parks.Store(true)
			return err
		}
	}
	_ = c.Conn.SetReadDeadline(until)
	_, err := c.br.Peek(1)
	return err
}

// fill waits for more of a head.
func (c *Conn) fill() error {
	if c.br.Buffered() > 0 {
		return nil
	}
	if !c.paced {
		var until time.Time
		cfg := c.port.cfg.Load()
		if limit := cfg.HeaderTimeout; limit >= 0 {
			until = time.Now().Add(limit)
		}
		c.pace, c.paced = newPace(cfg.MinRate, -1, until), true
	}
	_, err := c.br.Peek(1)
	return err
}

// Fault is why the head that fasthttp could not read is none: one of head's errors, ErrSlow, or that of
// the connection. Nil means that it is fasthttp's own opinion.
func (c *Conn) Fault() error { return c.fault }

// source is what the reader of a Conn reads.
type source Conn

func (s *source) Read(p []byte) (int, error) {
	if !s.paced {
		return s.Conn.Read(p)
	}
	began := time.Now()
	_ = s.Conn.SetReadDeadline(s.pace.deadline(began))
	if s.interrupted.Load() {
		_ = s.Conn.SetReadDeadline(began)
	}
	n, err := s.Conn.Read(p)
	s.pace.received(n, time.Since(began))
	return n, err
}

// tlsPiece is what a client with TLS has to take within SendTimeout: what its connection writes at once,
// since nobody sees less of it go.
const tlsPiece = 32 << 10

// Write writes an answer. It fails when the client takes nothing of it for SendTimeout.
func (c *Conn) Write(p []byte) (written int, err error) {
	if c.muted {
		return len(p), nil
	}
	c.answered = true
	for {
		if timeout := c.port.cfg.Load().SendTimeout; timeout >= 0 {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		piece := p[written:]
		if c.TLS() != nil {
			piece = piece[:min(len(piece), tlsPiece)]
		}
		n, err := c.Conn.Write(piece)
		written += n
		switch {
		case err == nil && written == len(p):
			return written, nil
		case err == nil:
			continue
		case n > 0 && timedOut(err) && c.TLS() == nil:
			continue // with TLS, a part of a record could not be continued
		case timedOut(err):
			// What the client has not taken would wait for it in the system, for minutes.
			sock.Reset(c.Conn)
		}
		return written, err
	}
}

// Mute has what fasthttp writes from now on, until the next request, go nowhere: the answer has been
// written.
func (c *Conn) Mute() { c.muted = true }

// Answered reports whether some of an answer to the present request has been written.
func (c *Conn) Answered() bool { return c.answered }

// Client is as tlsterm.Conn has it, valid once a head has begun.
func (c *Conn) Client() netip.AddrPort {
	if !c.client.IsValid() {
		c.client = c.Conn.Client()
	}
	return c.client
}

// TLS is what the handshake has come to, nil for a plain connection.
func (c *Conn) TLS() *tls.ConnectionState {
	if over, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok && c.tls == nil {
		state := over.ConnectionState()
		c.tls = &state
	}
	return c.tls
}

// Detach takes the connection away from fasthttp, which believes that it goes on and may close it. The
// caller owns what is returned, as tlsterm.Conn's Detach has it, and the bytes that have been read from
// it and not been used.
func (c *Conn) Detach() (conn net.Conn, early []byte) {
	if c.br != nil && c.br.Buffered() > 0 {
		b, _ := c.br.Peek(c.br.Buffered())
		early = bytes.Clone(b)
	}
	c.release()
	c.Mute()
	conn = c.Conn.Detach()
	_ = conn.SetDeadline(time.Time{})
	return conn, early
}

// release gives the buffer back with what is in it, and forgets what can be asked for again.
func (c *Conn) release() {
	c.tls = nil
	if c.br != nil {
		c.br.Reset(nil)
		c.port.readers.Put(c.br)
		c.br = nil
	}
}

// Close closes the connection, unless Read has ended because it is to be parked, or the handler has called
// Rest.
func (c *Conn) Close() error {
	if f := c.rests.Swap(nil); f != nil {
		c.muted = false // fasthttp has written what it had to
		if c.br != nil && c.br.Buffered() == 0 {
			c.release()
		}
		(*f)()
		return nil
	}
	if c.parks.Swap(false) && c.port.park(c) {
		return nil
	}
	return c.Conn.Close()
}

// timedOut reports whether a deadline has passed.
func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
