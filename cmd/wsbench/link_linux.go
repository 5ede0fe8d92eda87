package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

type linkState uint8

// down → connecting (dial) → upgrading (TCP and TLS stand, request sent) → open (valid 101) → closing (our
// Close sent) → down. With HTTP: down → connecting → open (TCP and TLS stand) → down. From every state an error, the
// other side's end or a timeout leads to down.
const (
	linkDown linkState = iota
	linkConnecting
	linkUpgrading
	linkOpen
	linkClosing
)

// stamp says when a message was due and when it was really sent, in nanoseconds of the run.
type stamp struct{ due, sent int64 }

// link is one connection of the load, of a WebSocket or of HTTP; it can be dialled again after its end. The run's loop
// owns it.
type link struct {
	slot int32
	gen  int32 // counts dials: events of an older connection are not ours

	state   linkState
	fd      int
	tls     *tls.Conn // nil with ws
	pending []byte    // bytes the kernel did not take yet
	watched uint32    // the events asked of epoll
	drained bool      // the last read emptied the socket: the next one need not ask
	held    *[]byte   // where TLS records are gathered while a message is being sealed
	broken  error     // a write failed; the read side reports it

	since    int64 // when the state was entered
	dialled  int64 // when the dial was due
	accept   string
	head     []byte // answer to the upgrade so far
	sawClose bool

	check    checker   // with HTTP only the numbers: requests sent, and the one to be answered next
	exchange *exchange // nil but with HTTP

	owed   int     // messages that are due and not sent
	due    int64   // when the next paced message is due to be sent
	stamps []stamp // of unanswered messages, by number modulo in-flight
}

func (l *link) outstanding() int { return int(l.check.sent - l.check.want) }

// unit is what is sent on the link.
func (l *link) unit() string {
	if l.exchange != nil {
		return "requests"
	}
	return "messages"
}

// unsent tells whether there is more to send than the kernel has taken.
func (l *link) unsent() bool {
	return len(l.pending) > 0 || l.exchange != nil && l.exchange.unsent > 0
}

// errAgain says that there is nothing to read now. It is a temporary net.Error, so that crypto/tls does
// not hold it for the end.
var errAgain net.Error = againError{}

type againError struct{}

func (againError) Error() string   { return "nothing to read now" }
func (againError) Timeout() bool   { return false }
func (againError) Temporary() bool { return true }

// read reads application bytes: errAgain if there are none now, io.EOF at the end.
func (l *link) read(p []byte) (int, error) {
	if l.tls == nil {
		return l.rawRead(p)
	}
	n, err := l.tls.Read(p)
	if err != nil && errors.Is(err, errAgain) {
		err = errAgain
	}
	return n, err
}

func (l *link) rawRead(p []byte) (int, error) {
	if l.broken != nil {
		return 0, l.broken
	}
	if l.drained {
		l.drained = false
		return 0, errAgain
	}
	n, err := unix.Read(l.fd, p)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, errAgain
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	l.drained = n < len(p)
	return n, nil
}

// rawWrite never blocks and never fails: what the kernel does not take is kept.
func (l *link) rawWrite(p []byte) {
	if l.held != nil {
		*l.held = append(*l.held, p...)
		return
	}
	if len(l.pending) == 0 && l.broken == nil {
		n, err := unix.Write(l.fd, p)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			l.broken = err
			return
		}
		p = p[max(n, 0):]
	}
	l.pending = append(l.pending, p...)
}

// flush writes what was kept and tells whether all is gone.
func (l *link) flush() bool {
	if len(l.pending) > 0 {
		n, err := unix.Write(l.fd, l.pending)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			l.broken = err
			return true
		}
		l.pending = l.pending[:copy(l.pending, l.pending[max(n, 0):])]
	}
	if len(l.pending) == 0 {
		l.pending = nil
	}
	return l.pending == nil
}

// loopConn is what crypto/tls reads from and writes to: a net.Conn while it shakes hands on a goroutine, the
// link's descriptor from then on.
type loopConn struct {
	conn net.Conn // until the link takes over
	link *link
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.link != nil {
		return c.link.rawRead(p)
	}
	return c.conn.Read(p)
}

func (c *loopConn) Write(p []byte) (int, error) {
	if c.link != nil {
		c.link.rawWrite(p)
		return len(p), nil
	}
	return c.conn.Write(p)
}

// Close does nothing once the link owns the descriptor.
func (c *loopConn) Close() error {
	if c.link != nil {
		return nil
	}
	return c.conn.Close()
}

func (c *loopConn) LocalAddr() net.Addr               { return nil }
func (c *loopConn) RemoteAddr() net.Addr              { return nil }
func (c *loopConn) SetDeadline(t time.Time) error     { return c.deadline(net.Conn.SetDeadline, t) }
func (c *loopConn) SetReadDeadline(t time.Time) error { return c.deadline(net.Conn.SetReadDeadline, t) }
func (c *loopConn) SetWriteDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetWriteDeadline, t)
}

func (c *loopConn) deadline(set func(net.Conn, time.Time) error, t time.Time) error {
	if c.link != nil {
		return nil
	}
	return set(c.conn, t)
}
