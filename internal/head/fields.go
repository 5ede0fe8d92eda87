// Package head is the head of an HTTP/1.1 message as bytes: a start line and field lines, kept in
// the order and the spelling in which they arrived. A backend behind wsproxy sees what its client
// sent, and a client what the backend answered, so heads are read strictly here, where they end is
// found out, and those that go out are built from the raw blocks of those that came in.
package head

import (
	"bytes"
	"errors"
	"iter"
)

// Field is one field line: its name as spelled and its value without the white space around it.
// Both are parts of the block they were read from.
type Field struct {
	Name, Value []byte
}

// Is reports whether the field has the given name in any case (RFC 9110 §5.1).
func (f Field) Is(name string) bool { return EqualFold(f.Name, name) }

// Errors of Check. None quotes the bytes it complains about: they are the sender's.
var (
	ErrBareLineEnd = errors.New("line end that is not CRLF in header")
	ErrFolded      = errors.New("obsolete line folding in header")
	ErrName        = errors.New("field name is not a token")
	ErrValue       = errors.New("control character in field value")
)

// Check reports the first fault of a block of field lines, each ended by CRLF, by the strict
// reading of RFC 9112 §5: a sender that needs a lenient one is broken or hostile, and two readers
// of a lenient block do not agree on what it says. The empty line that ends a head may be part of
// block; bytes behind it are a fault.
func Check(block []byte) error {
	for len(block) > 0 {
		line, rest, found := bytes.Cut(block, crlf)
		if !found || bytes.ContainsAny(line, "\r\n") {
			return ErrBareLineEnd
		}
		if len(line) == 0 {
			if len(rest) > 0 {
				return ErrBareLineEnd
			}
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			return ErrFolded
		}
		name, value, found := bytes.Cut(line, colon)
		if !found || !IsToken(name) {
			return ErrName
		}
		for _, c := range value {
			if c < ' ' && c != '\t' || c == 0x7f {
				return ErrValue
			}
		}
		block = rest
	}
	return nil
}

// Fields yields the field lines of a block that Check has passed.
func Fields(block []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(block) > 0 {
			// CR stands nowhere but in line ends: Check has seen to that.
			line := block
			if i := bytes.IndexByte(block, '\r'); i >= 0 {
				line = block[:i]
			}
			if block = block[min(len(line)+len("\r\n"), len(block)):]; len(line) == 0 {
				return
			}
			name, value, _ := bytes.Cut(line, colon)
			if !yield(Field{Name: name, Value: trim(value)}) {
				return
			}
		}
	}
}

// Elements yields the members of a comma-separated list (RFC 9110 §5.6.1), trimmed, without the
// empty ones. A comma inside a quoted string separates nothing.
func Elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(value) > 0 {
			end, _ := listEnd(value)
			element := trim(value[:end])
			if len(element) > 0 && !yield(element) {
				return
			}
			value = value[min(end+1, len(value)):]
		}
	}
}

// listEnd is the index of the first comma outside a quoted string, or len(value). open tells of a
// quoted string that has no end.
func listEnd(value []byte) (end int, open bool) {
	for i := 0; i < len(value); i++ {
		switch {
		case open && value[i] == '\\':
			i++
		case value[i] == '"':
			open = !open
		case value[i] == ',' && !open:
			return i, false
		}
	}
	return len(value), open
}

// trim is b without the white space around it (OWS, RFC 9110 §5.6.3).
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// HasElement reports whether the list has the element, in any case.
func HasElement(value []byte, element string) bool {
	for e := range Elements(value) {
		if EqualFold(e, element) {
			return true
		}
	}
	return false
}

// IsToken reports whether b is a token (RFC 9110 §5.6.2).
func IsToken(b []byte) bool {
	for _, c := range b {
		if !tokenByte[c] {
			return false
		}
	}
	return len(b) > 0
}

// EqualFold compares ASCII in any case; a byte from 0x80 on equals itself only. bytes.EqualFold
// would let U+212A, the Kelvin sign, pass for a k.
func EqualFold(b []byte, s string) bool { return equalFold(b, s) }

func equalFold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

var (
	crlf  = []byte("\r\n")
	colon = []byte(":")

	tokenByte = func() (t [256]bool) {
		for c := '0'; c <= '9'; c++ {
			t[c] = true
		}
		for c := 'a'; c <= 'z'; c++ {
			t[c], t[c-'a'+'A'] = true, true
		}
		for _, c := range "!#$%&'*+-.^_`|~" {
			t[c] = true
		}
		return t
	}()
)
