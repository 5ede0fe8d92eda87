// Package body reads the bodies of HTTP/1.1 messages to where they end (RFC 9112 §6), strictly: what
// one reader takes for a body is the next message to another. Requests and answers are read alike.
package body

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"wsproxy/internal/head"
)

// ErrMalformed is a chunked body that is none. The other errors wrap it; one about the fields of the
// trailer section wraps that of head.Check as well. A body that is cut off is io.ErrUnexpectedEOF.
var (
	ErrMalformed = errors.New("malformed chunked body")

	ErrChunkSize = fmt.Errorf("%w: chunk size", ErrMalformed)
	ErrChunkEnd  = fmt.Errorf("%w: chunk longer than its size", ErrMalformed)
	ErrTrailers  = fmt.Errorf("%w: trailer section larger than the limit", ErrMalformed)
)

// Chunks decodes a chunked body. It is strict about line ends and digits and drops extensions
// (RFC 9112 §7.1.1). Read returns io.EOF once the trailer section has been read as well, and never
// waits for more while it has something to return. Behind an error of the reader below that is not the
// end, a timeout for one, it goes on where it was.
type Chunks struct {
	br *bufio.Reader // not read beyond the body's end by more than it buffers

	left   int  // of the chunk that is being read
	inside bool // a chunk's data has begun, its line end is still to come
	last   bool // the last chunk has come, the trailer section follows

	trailers []byte
}

// NewChunks decodes what br reads; nobody else may read from br until Read has returned an error. The
// size of br's buffer bounds the lines and the trailer section.
func NewChunks(br *bufio.Reader) Chunks { return Chunks{br: br} }

// Continue has the body read from another reader from now on. The one before has nothing buffered.
func (c *Chunks) Continue(br *bufio.Reader) { c.br = br }

// Trailers is the block of trailer fields, checked, once Read has returned io.EOF.
func (c *Chunks) Trailers() []byte { return c.trailers }

// Read is io.Reader's.
func (c *Chunks) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case n > 0 && !c.Buffered():
			return n, nil
		case c.last:
			if err := c.readTrailers(); err != nil {
				return n, cutOff(err)
			}
			return n, io.EOF
		case c.left == 0:
			if err := c.nextChunk(); err != nil {
				return n, cutOff(err)
			}
		default:
			m, err := c.br.Read(p[n:min(len(p), n+c.left)])
			n += m
			c.left -= m
			if err != nil {
				return n, cutOff(err)
			}
			if end, _ := c.br.Peek(min(c.br.Buffered(), len("\r\n"))); c.left == 0 && string(end) == "\r\n" {
				// With the data, so that nothing is left of a chunk that came whole.
				_, _ = c.br.Discard(len(end))
				c.inside = false
			}
		}
	}
	return n, nil
}

// Buffered reports whether the next step needs no waiting: Read would return something at once.
func (c *Chunks) Buffered() bool {
	b, _ := c.br.Peek(c.br.Buffered())
	switch {
	case c.last:
		return bytes.HasPrefix(b, []byte("\r\n"))
	case c.left > 0:
		return len(b) > 0
	case c.inside:
		return len(b) > 2 && bytes.IndexByte(b[2:], '\n') >= 0
	}
	return bytes.IndexByte(b, '\n') >= 0
}

// nextChunk reads up to the data of the next chunk.
func (c *Chunks) nextChunk() error {
	if c.inside {
		end, err := c.br.Peek(len("\r\n"))
		if err != nil {
			return err
		}
		if string(end) != "\r\n" {
			return ErrChunkEnd
		}
		_, _ = c.br.Discard(len(end))
		c.inside = false
	}
	line, err := c.line()
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return ErrChunkSize
		}
		return err
	}
	if c.left, err = chunkSize(line); err != nil {
		return err
	}
	c.inside, c.last = c.left > 0, c.left == 0
	return nil
}

// line reads a line, valid until the next read, or nothing: what there is of it stays for the next call.
func (c *Chunks) line() ([]byte, error) {
	for seen := 0; ; {
		b, _ := c.br.Peek(c.br.Buffered())
		if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
			line := b[:seen+i+1]
			_, _ = c.br.Discard(len(line))
			return line, nil
		}
		seen = len(b)
		if _, err := c.br.Peek(seen + 1); err != nil {
			return nil, err
		}
	}
}

// chunkSize reads the line before a chunk's data.
func chunkSize(line []byte) (size int, err error) {
	line, found := bytes.CutSuffix(line, []byte("\r\n"))
	if !found {
		return 0, ErrChunkSize
	}
	digits := 0
	for ; digits < len(line); digits++ {
		c := line[digits]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			c = 16
		}
		if c == 16 {
			break
		}
		if size > math.MaxInt>>4 {
			return 0, ErrChunkSize
		}
		size = size<<4 | int(c)
	}
	// Old servers pad the size with spaces; an extension begins with a semicolon.
	rest := bytes.TrimLeft(line[digits:], " \t")
	if digits == 0 || len(rest) > 0 && rest[0] != ';' {
		return 0, ErrChunkSize
	}
	for _, c := range rest {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, ErrChunkSize
		}
	}
	return size, nil
}

// readTrailers reads the fields behind the last chunk and the empty line (RFC 9112 §7.1.2).
func (c *Chunks) readTrailers() error {
	for {
		line, err := c.line()
		if errors.Is(err, bufio.ErrBufferFull) || len(c.trailers)+len(line) > c.br.Size() {
			return ErrTrailers
		}
		if err != nil {
			return err
		}
		if string(line) == "\r\n" {
			if err := head.Check(c.trailers); err != nil {
				return fmt.Errorf("%w: trailer section: %w", ErrMalformed, err)
			}
			return nil
		}
		c.trailers = append(c.trailers, line...)
	}
}
