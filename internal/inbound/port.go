// Package inbound is a client's connection while it speaks HTTP/1.1.
//
// fasthttp reads the heads of requests from it, one at a time and nothing behind one: the body is read
// where it is needed, at its own pace, what follows an opening handshake is still there for the link, and
// answers may be written past fasthttp, whose buffers are empty whenever a handler runs. Between requests
// a connection waits without a goroutine and without a buffer, where it lives in a loop.
package inbound

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/head"
	"wsproxy/tlsterm"
)

// Config is a Port's. Every duration has to be set; a negative one is for ever.
type Config struct {
	// Head bounds the heads of requests.
	Head head.Limits

	// HeaderTimeout is how long a client may take for a head from its first byte on, and before it sends
	// the first byte of its first.
	HeaderTimeout time.Duration

	// KeepAlive is how long a connection may wait for its next request.
	KeepAlive time.Duration

	// BodyTimeout is how long a client may pause within a body, SendTimeout how long it may take nothing of
	// an answer.
	BodyTimeout, SendTimeout time.Duration

	// MinRate is how many bytes a second a head or a body must bring, on an average that forgives five
	// seconds. Negative means that any will do.
	MinRate int64

	// Serve serves a connection that has waited long enough to be taken from its goroutine, and has
	// something to read now. It gets a goroutine of its own, and closes the connection as what serves
	// Accept's does.
	Serve func(net.Conn)
}

// Port is what the connections of a server have in common. Stop ends it.
type Port struct {
	// Fixed at creation.
	parkAfter time.Duration
	readers   sync.Pool // *bufio.Reader of readerSize

	cfg      atomic.Pointer[Config]
	stopped  atomic.Bool
	waiting  waiting
	attended attended
}

// readerSize is the buffer of a connection that is being read. Longer heads pass through it piece by
// piece; it bounds the lines and the trailer section of a chunked body.
const readerSize = 4 << 10

// parkAfter is how long a goroutine waits for the next request. A connection in use has it come sooner
// than that, and would pay for each with a goroutine's start.
const parkAfter = 250 * time.Millisecond

// NewPort makes a Port.
func NewPort(cfg Config) *Port {
	p := &Port{parkAfter: parkAfter}
	p.Configure(cfg)
	p.readers.New = func() any { return bufio.NewReaderSize(nil, readerSize) }
	return p
}

// Configure puts another Config in force: for heads and bodies that begin from now on, and for what is
// waited for from now on.
func (p *Port) Configure(cfg Config) { p.cfg.Store(&cfg) }

// Listen makes each connection that ln, one of tlsterm's, accepts a *Conn.
func (p *Port) Listen(ln net.Listener) net.Listener { return &listener{ln, p} }

// Stop closes the connections that wait for a request, and those that would from now on. It may be
// called again.
func (p *Port) Stop() {
	p.stopped.Store(true)
	for _, c := range p.waiting.stop() {
		c.Conn.Close()
	}
}

// Closing reports whether the port has been stopped, so that the connection ends with its next answer.
func (c *Conn) Closing() bool { return c.port.stopped.Load() }

// Waiting is how many connections wait without a goroutine.
func (p *Port) Waiting() int { return p.waiting.count() }

type listener struct {
	net.Listener
	port *Port
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn, ok := nc.(tlsterm.Conn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("accept %s: connection is none of tlsterm's", l.Addr())
	}
	return newConn(l.port, conn), nil
}
