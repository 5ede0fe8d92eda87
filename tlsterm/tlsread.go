package tlsterm

import (
	"io"
	"net"
	"sync"

	"wsproxy/internal/record"
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
	if startsWhole(c.raw.bytes()) {
		if n, err = c.open(p, nil); n > 0 || err != nil {
			return n, err
		}
	}
	for {
		if err := c.readable(); err != nil {
			return 0, err
		}
		// What comes is read into p, which the caller holds anyway while nothing comes.
		size, readErr := c.tcp.Read(p[:min(len(p), record.MaxRecord)])
		if size > 0 {
			if n, err = c.open(p, p[:size]); n > 0 || err != nil {
				return n, err
			}
		}
		if readErr != nil {
			return 0, c.ended(readErr)
		}
	}
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

// open opens what raw and more hold, and gives into p what fits. more may be a part of p. An error
// comes again on the next call when there is data before it.
func (c *TLSConn) open(p, more []byte) (n int, err error) {
	in := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(in)
	from := append(append((*in)[:0], c.raw.bytes()...), more...)
	c.raw.drop()
	out, used, err := c.unseal(p[:0:len(p)], from) // what stands behind p is not ours
	if len(out) == 0 && err == nil && startsWhole(from[used:]) {
		// p is too small for the record.
		var step int
		c.plain.buf = partBuffers.Get().(*[]byte)
		out, step, err = c.unseal((*c.plain.buf)[:0], from[used:])
		used += step
		c.plain.from, c.plain.to = 0, len(out)
		out = p[:c.plain.take(p)]
	}
	c.raw.keep(from[used:])
	if len(out) > 0 {
		return len(out), nil
	}
	return 0, err
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

// take moves the first bytes into p.
func (b *part) take(p []byte) (n int) {
	n = copy(p, b.bytes())
	if b.from += n; b.from == b.to {
		b.drop()
	}
	return n
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

	// recordBuffers hold what is written at once, and what one read can bring beside a part of a record.
	recordBuffers = sync.Pool{New: func() any {
		b := make([]byte, max(record.SealedSize(writeSize), 2*record.MaxRecord))
		return &b
	}}

	// cipherPool is for blocking connections, which have no goroutine of their own to keep ciphers for.
	cipherPool = sync.Pool{New: func() any { return record.NewCiphers(64) }}
)
