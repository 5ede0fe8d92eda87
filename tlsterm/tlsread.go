package tlsterm

import (
	"io"
	"net"
	"sync"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// Read reads data.
func (c *TLSConn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if n = c.plain.take(p); n > 0 {
		return n, nil
	}
	for {
		// A header alone may be a violation, and none that announces too much may be waited for.
		if len(c.raw.bytes()) >= record.HeaderSize {
			if n, err = c.open(p); n > 0 || err != nil {
				return n, err
			}
		}
		if err := c.readable(); err != nil {
			return 0, err
		}
		if err := c.more(p); err != nil {
			return 0, c.ended(err)
		}
	}
}

// more reads what is there into raw. Between records it waits with p, which the caller holds anyway,
// and takes a buffer when something has come.
func (c *TLSConn) more(p []byte) error {
	if len(c.raw.bytes()) > 0 {
		return c.raw.readFrom(c.tcp)
	}
	n, err := c.tcp.Read(p[:min(len(p), record.MaxRecord)])
	c.raw.keep(p[:n])
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// readable gives what has ended the receiving direction.
func (c *TLSConn) readable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	return c.session.Err()
}

// ended is the error for one of the TCP connection.
func (c *TLSConn) ended(err error) error {
	switch {
	case err != io.EOF:
		return err
	case len(c.raw.bytes()) > 0:
		return io.ErrUnexpectedEOF
	case c.client:
		return record.ErrTruncated
	}
	return io.EOF
}

// open opens what there is in raw, and gives into p what fits. An error comes again on the next call
// when there is data before it.
func (c *TLSConn) open(p []byte) (n int, err error) {
	out, used, err := c.unseal(p[:0:len(p)], c.raw.bytes()) // what stands behind p is not ours
	c.raw.skip(used)
	if len(out) == 0 && err == nil && startsWhole(c.raw.bytes()) {
		// p is too small for the record.
		c.plain.buf = partBuffers.Get().(*[]byte)
		out, used, err = c.unseal((*c.plain.buf)[:0], c.raw.bytes())
		c.raw.skip(used)
		c.plain.from, c.plain.to = 0, len(out)
		out = p[:c.plain.take(p)]
	}
	if len(out) > 0 {
		return len(out), nil
	}
	return 0, err
}

// Idle reports whether the connection can carry another request, as sock.Idle does, and takes in what
// has come besides data: a TLS 1.3 server sends session tickets and KeyUpdates when it likes. It does
// not wait; a part of a record counts as data. How many records without data there may be in a row,
// package record says.
func (c *TLSConn) Idle() bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if len(c.plain.bytes()) > 0 || c.readable() != nil {
			return false
		}
		if len(c.raw.bytes()) == 0 && sock.Idle(c.tcp) {
			return true
		}
		if !startsWhole(c.raw.bytes()) && c.raw.readFrom(trying{c.tcp}) != nil {
			return false
		}
		c.plain.buf = partBuffers.Get().(*[]byte)
		out, used, err := c.unseal((*c.plain.buf)[:0], c.raw.bytes())
		c.raw.skip(used)
		c.plain.from, c.plain.to = 0, len(out)
		c.plain.skip(0)
		if err != nil {
			return false
		}
	}
}

// OnReadable has f called as that of sock.Conn does. It reports false when it cannot, or when something
// has been read of the connection below that nobody has read here: nothing more may come then.
func (c *TLSConn) OnReadable(f func()) bool {
	return !c.holds() && sock.OnReadable(c.tcp, f)
}

// holds reports whether something has been read from the connection below that nobody has read here.
func (c *TLSConn) holds() bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	return len(c.plain.bytes()) > 0 || len(c.raw.bytes()) > 0
}

// trying reads a connection without waiting.
type trying struct{ conn net.Conn }

func (r trying) Read(p []byte) (int, error) {
	if n := sock.TryRead(r.conn, p); n > 0 {
		return n, nil
	}
	return 0, io.ErrNoProgress
}

// startsWhole reports whether b begins with a whole record.
func startsWhole(b []byte) bool {
	size := record.RecordSize(b)
	return size > 0 && size <= len(b)
}

func (c *TLSConn) unseal(dst, src []byte) (out []byte, n int, err error) {
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		return dst, 0, net.ErrClosed
	}
	ciphers := cipherPool.Get().(*record.Ciphers)
	out, n, err = c.session.Open(ciphers, dst, src)
	cipherPool.Put(ciphers)
	c.mu.Unlock()
	if err != nil {
		c.sendAlert()
	}
	return out, n, err
}

// part is bytes between two calls of Read, in a pooled buffer while there are some.
type part struct {
	buf      *[]byte
	from, to int
}

func (b *part) bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return (*b.buf)[b.from:b.to]
}

// keep keeps p, in place of what there was, record.MaxRecord bytes at most.
func (b *part) keep(p []byte) {
	if len(p) == 0 {
		b.drop()
		return
	}
	if b.buf == nil {
		b.buf = partBuffers.Get().(*[]byte)
	}
	b.from, b.to = 0, copy(*b.buf, p)
}

// readFrom adds what one read brings, in a buffer of its own if there is none. There is room, since what is
// kept meanwhile is less than a record and its header has been checked.
func (b *part) readFrom(r io.Reader) error {
	if b.buf == nil {
		b.buf = partBuffers.Get().(*[]byte)
	}
	b.from, b.to = 0, copy(*b.buf, b.bytes())
	n, err := r.Read((*b.buf)[b.to:])
	b.to += n
	if b.to == 0 {
		b.drop()
	}
	if n > 0 {
		return nil
	}
	return err
}

// take moves the first bytes into p.
func (b *part) take(p []byte) (n int) {
	n = copy(p, b.bytes())
	b.skip(n)
	return n
}

// skip drops the first n bytes, and the buffer when none is left.
func (b *part) skip(n int) {
	if b.from += n; b.from == b.to {
		b.drop()
	}
}

func (b *part) drop() {
	if b.buf != nil {
		partBuffers.Put(b.buf)
		*b = part{}
	}
}

// writeSize is how much data goes into one write to the TCP connection.
const writeSize = 32 << 10

var (
	// partBuffers hold one record, sealed or opened.
	partBuffers = sync.Pool{New: func() any { b := make([]byte, record.MaxRecord); return &b }}

	// writeBuffers hold what is written at once.
	writeBuffers = sync.Pool{New: func() any { b := make([]byte, record.SealedSize(writeSize)); return &b }}

	// cipherPool is for connections that no loop carries, which have nobody of their own to keep ciphers for.
	// With fewer keys than are in use nearly every record needs its cipher made anew, a kilobyte of garbage:
	// there is room for both keys of some two hundred connections, as in a loop.
	cipherPool = sync.Pool{New: func() any { return record.NewCiphers(512) }}
)
