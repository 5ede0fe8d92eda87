package forward

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"

	"wsproxy/internal/head"
)

// chunkHead and chunkTail are the room that a buffer keeps before and behind a piece of a body for
// its framing as a chunk: four digits and two line ends.
const (
	chunkHead = len("8000\r\n")
	chunkTail = len("\r\n")
)

// payload is where a piece of a body goes.
func (b *buffer) payload() []byte { return b[chunkHead : len(b)-chunkTail] }

// chunk is the n bytes at the start of the payload as one chunk (RFC 9112 §7.1). None is no chunk:
// that would end the body.
func (b *buffer) chunk(n int) []byte {
	if n == 0 {
		return b[:0]
	}
	start := chunkHead - len("\r\n")
	copy(b[start:], "\r\n")
	for size := n; size > 0; size >>= 4 {
		start--
		b[start] = "0123456789abcdef"[size&15]
	}
	end := chunkHead + n
	copy(b[end:], "\r\n")
	return b[start : end+chunkTail]
}

var (
	errChunkSize = errors.New("malformed chunk size")
	errChunkEnd  = errors.New("chunk longer than its size")
	errTrailers  = errors.New("trailer section larger than the limit")
)

// chunkReader decodes a chunked body. It is strict about line ends and digits and drops extensions
// (RFC 9112 §7.1.1). Read returns io.EOF once the trailer section has been read as well, and never
// waits for more while it has something to return.
type chunkReader struct {
	br *bufio.Reader

	left   int  // of the chunk that is being read
	inside bool // a chunk's data has begun, its line end is still to come
	last   bool // the last chunk has come, the trailer section follows

	// trailers is the block of trailer fields, checked, once Read has returned io.EOF.
	trailers []byte
}

func (c *chunkReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case n > 0 && !c.buffered():
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
		}
	}
	return n, nil
}

// buffered reports whether the next step needs no waiting.
func (c *chunkReader) buffered() bool {
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
func (c *chunkReader) nextChunk() error {
	if c.inside {
		var end [2]byte
		if _, err := io.ReadFull(c.br, end[:]); err != nil {
			return err
		}
		if string(end[:]) != "\r\n" {
			return errChunkEnd
		}
	}
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return errChunkSize
		}
		return err
	}
	if c.left, err = chunkSize(line); err != nil {
		return err
	}
	c.inside, c.last = c.left > 0, c.left == 0
	return nil
}

// chunkSize reads the line before a chunk's data.
func chunkSize(line []byte) (size int, err error) {
	line, found := bytes.CutSuffix(line, []byte("\r\n"))
	if !found {
		return 0, errChunkSize
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
			return 0, errChunkSize
		}
		size = size<<4 | int(c)
	}
	// Old servers pad the size with spaces; an extension begins with a semicolon.
	rest := bytes.TrimLeft(line[digits:], " \t")
	if digits == 0 || len(rest) > 0 && rest[0] != ';' {
		return 0, errChunkSize
	}
	for _, c := range rest {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, errChunkSize
		}
	}
	return size, nil
}

// readTrailers reads the fields behind the last chunk and the empty line (RFC 9112 §7.1.2).
func (c *chunkReader) readTrailers() error {
	for {
		line, err := c.br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(c.trailers)+len(line) > c.br.Size() {
			return errTrailers
		}
		if err != nil {
			return err
		}
		if string(line) == "\r\n" {
			return head.Check(c.trailers)
		}
		c.trailers = append(c.trailers, line...)
	}
}

// sizedReader reads a body of known length. The end comes with the last byte, not behind it.
type sizedReader struct {
	br   *bufio.Reader
	left int
}

func (s *sizedReader) Read(p []byte) (n int, err error) {
	n, err = s.br.Read(p[:min(len(p), s.left)])
	s.left -= n
	if s.left == 0 {
		return n, io.EOF
	}
	return n, cutOff(err)
}

// cutOff is what an end of the stream means before the end of a body.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
