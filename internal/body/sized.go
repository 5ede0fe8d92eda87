package body

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// Sized reads a body of known length. The end comes with the last byte, not behind it.
type Sized struct {
	br   *bufio.Reader
	left int64
}

// NewSized reads length bytes, one at least, from br; nobody else may read from br until Read has
// returned an error.
func NewSized(br *bufio.Reader, length int64) Sized { return Sized{br: br, left: length} }

// Continue has the body read from another reader from now on. The one before has nothing buffered.
func (s *Sized) Continue(br *bufio.Reader) { s.br = br }

// Left is how many bytes are still to be read.
func (s *Sized) Left() int64 { return s.left }

// Read is io.Reader's.
func (s *Sized) Read(p []byte) (n int, err error) {
	n, err = s.br.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left == 0 {
		return n, io.EOF
	}
	return n, cutOff(err)
}

// ErrLength is a Content-Length that is no number.
var ErrLength = errors.New("malformed Content-Length")

// ParseLength reads a Content-Length: 1*DIGIT (RFC 9110 §8.6), nothing more lenient.
func ParseLength(value []byte) (int64, error) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, ErrLength
		}
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, ErrLength
	}
	return n, nil
}

// cutOff is what an end of the stream means before the end of a body.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
