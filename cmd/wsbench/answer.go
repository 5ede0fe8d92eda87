package main

import (
	"bytes"
	"fmt"
	"strconv"
)

type answerState uint8

// head → body (Content-Length) → head; head → chunk size → chunk → chunk end → chunk size …, and after the chunk of
// size 0 trailers → head (RFC 9112 §7.1).
const (
	answerHead answerState = iota
	answerBody
	answerChunkSize
	answerChunk
	answerChunkEnd
	answerTrailers
)

const (
	maxResponseHead = 16 << 10
	maxChunkLine    = 4 << 10 // a chunk's size with its extensions, or one trailer
)

// answerReader reads the HTTP/1.1 answers of one connection in any pieces. Between done and the next call status, length
// and last tell about the answer that has ended.
type answerReader struct {
	state answerState
	line  []byte // of a head, chunk size or trailer that came in pieces
	left  int64  // bytes of this body or chunk still to come

	status int
	length int64 // as announced by Content-Length, -1 with chunks
	last   bool  // the server ends the connection behind it
}

// next reads from p: it says how many bytes that took, which of them belong to the body (valid as long as p), and
// whether the answer is whole. Interim answers (1xx) are passed over. After an error nothing can be read any more.
func (a *answerReader) next(p []byte) (n int, body []byte, done bool, err error) {
	switch a.state {
	case answerHead:
		n, line := a.until(p, "\r\n\r\n")
		if line == nil {
			return n, nil, false, a.bounded(maxResponseHead, "head")
		}
		done, err := a.begin(line)
		a.line = a.line[:0]
		return n, nil, done, err
	case answerBody, answerChunk:
		n = int(min(int64(len(p)), a.left))
		a.left -= int64(n)
		if a.left > 0 {
			return n, p[:n], false, nil
		}
		if a.state == answerChunk {
			a.state = answerChunkEnd
			return n, p[:n], false, nil
		}
		a.state = answerHead
		return n, p[:n], true, nil
	default:
		n, line := a.until(p, "\r\n")
		if line == nil {
			return n, nil, false, a.bounded(maxChunkLine, "line between chunks")
		}
		done, err := a.between(line[:len(line)-2])
		a.line = a.line[:0]
		return n, nil, done, err
	}
}

// until collects bytes up to and with an end; line is nil as long as it has not come.
func (a *answerReader) until(p []byte, end string) (n int, line []byte) {
	seen := len(a.line)
	if seen == 0 { // most come whole
		if i := bytes.Index(p, []byte(end)); i >= 0 {
			return i + len(end), p[:i+len(end)]
		}
	}
	a.line = append(a.line, p...)
	from := max(0, seen-len(end)+1)
	i := bytes.Index(a.line[from:], []byte(end))
	if i < 0 {
		return len(p), nil
	}
	whole := from + i + len(end)
	return whole - seen, a.line[:whole]
}

// bounded refuses what is longer than it may be and has not ended.
func (a *answerReader) bounded(limit int, what string) error {
	if len(a.line) > limit {
		return fmt.Errorf("%s of an answer longer than %d bytes", what, limit)
	}
	return nil
}

// begin reads a head and tells whether the answer ends with it.
func (a *answerReader) begin(head []byte) (done bool, err error) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	status, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if a.status, err = strconv.Atoi(string(status[:min(3, len(status))])); !ok || err != nil || a.status < 100 {
		return false, fmt.Errorf("status line %q", line)
	}
	a.length, a.last = -1, false
	chunked := false
	for field := range bytes.SplitSeq(fields, []byte("\r\n")) {
		name, value, _ := bytes.Cut(field, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil || a.length >= 0 {
				return false, fmt.Errorf("header %q of an answer", field)
			}
			a.length = int64(length)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
			if !chunked {
				return false, fmt.Errorf("header %q of an answer", field)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			a.last = bytes.EqualFold(value, []byte("close"))
		}
	}
	switch {
	case a.status == 101:
		return false, fmt.Errorf("answer with status 101 that nobody asked for")
	case a.status < 200:
		return false, nil
	case chunked && a.length >= 0:
		return false, fmt.Errorf("answer with chunks and Content-Length %d (RFC 9112 §6.2)", a.length)
	case a.status == 204 || a.status == 304 || a.length == 0:
		return true, nil
	case chunked:
		a.state = answerChunkSize
	case a.length > 0:
		a.state, a.left = answerBody, a.length
	default:
		return false, fmt.Errorf("answer of status %d without a length", a.status)
	}
	return false, nil
}

// between reads a line before, behind or after chunks, and tells whether the answer ends with it.
func (a *answerReader) between(line []byte) (done bool, err error) {
	switch a.state {
	case answerChunkEnd:
		if len(line) > 0 {
			return false, fmt.Errorf("%q behind a chunk", line)
		}
		a.state = answerChunkSize
	case answerChunkSize:
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 63)
		if err != nil {
			return false, fmt.Errorf("chunk size %q", line)
		}
		a.state, a.left = answerChunk, int64(n)
		if n == 0 {
			a.state = answerTrailers
		}
	case answerTrailers:
		if len(line) == 0 {
			a.state = answerHead
			return true, nil
		}
	}
	return false, nil
}
