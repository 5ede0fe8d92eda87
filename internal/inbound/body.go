package inbound

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"wsproxy/internal/body"
)

// ErrBodySize is a body of more bytes than are allowed, as far as they have come.
var ErrBodySize = errors.New("request body too large")

// Body is the body of the request that is being handled. One goroutine may read it while another
// answers.
type Body struct {
	conn    *Conn
	length  int64
	limit   int64
	read    int64
	sized   body.Sized
	chunks  body.Chunks
	begun   bool
	patient bool
	open    atomic.Bool // it has not been read to its end
}

// Begin says that the request which is being handled has a body of length bytes, -1 for a chunked one of
// limit bytes at most, 0 for any number.
func (c *Conn) Begin(length, limit int64) {
	b := &c.body
	b.length, b.limit = length, limit
	b.open.Store(length != 0)
}

// Body is that of the request. Without a Begin it is empty. It is valid until the handler returns.
func (c *Conn) Body() *Body { return &c.body }

// Length is how many bytes it has, or -1 for a chunked one.
func (b *Body) Length() int64 { return b.length }

// Whole reports whether it has been read to its end and the connection can go on behind it. It may be
// called from any goroutine.
func (b *Body) Whole() bool { return !b.open.Load() && !b.conn.interrupted.Load() }

// Patient lets the client take as long as BodyTimeout for the first byte, whatever the rate: it has asked
// whether to go on, and it may be the backend who lets it wait. It is called before the first Read.
func (b *Body) Patient() { b.patient = true }

// Here reports whether all of a body of known length has arrived with its head and can be read without
// waiting.
func (b *Body) Here() bool {
	return b.length >= 0 && !b.begun && b.length <= int64(b.conn.br.Buffered())
}

// Trailers is the block of fields behind a chunked body that has been read to its end.
func (b *Body) Trailers() []byte { return b.chunks.Trailers() }

// Read gives the body decoded, and io.EOF with its last byte or behind it. Errors are ErrSlow,
// ErrBodySize, io.ErrUnexpectedEOF for a client that leaves, those of package body and those of the
// connection.
func (b *Body) Read(p []byte) (n int, err error) {
	if !b.open.Load() {
		return 0, io.EOF
	}
	b.begin()
	if b.length < 0 {
		n, err = b.chunks.Read(p)
	} else {
		n, err = b.sized.Read(p)
	}
	if b.read += int64(n); b.limit > 0 && b.read > b.limit {
		return 0, ErrBodySize
	}
	switch {
	case err == io.EOF:
		b.open.Store(false)
	case err != nil && timedOut(err):
		err = ErrSlow
	}
	return n, err
}

func (b *Body) begin() {
	if b.begun {
		return
	}
	b.begun = true
	c := b.conn
	cfg := c.port.cfg.Load()
	c.pace, c.paced = newPace(cfg.MinRate, cfg.BodyTimeout, time.Time{}), true
	c.pace.patient = b.patient
	if b.length < 0 {
		b.chunks = body.NewChunks(c.br)
	} else {
		b.sized = body.NewSized(c.br, b.length)
	}
}

// Interrupt ends a Read of the body that waits, and every later one. No other request can be read from
// the connection. It may be called by any goroutine.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}
