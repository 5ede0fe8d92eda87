package head

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Limits bound the head of a request. Zero means no limit.
type Limits struct {
	// Size is the most bytes of the whole head: all that is before the body.
	Size int

	// Target is the most bytes of the request target.
	Target int

	// Fields is the most field lines.
	Fields int

	// Underscores lets names of fields have an underscore. CGI and its heirs take it for a hyphen, so
	// that a name with one may pass for a name that the proxy has looked at.
	Underscores bool
}

// Errors of a Scanner, besides those of Check. None quotes the bytes it complains about.
var (
	// ErrRequestLine is a request line that is not three words with one space between them.
	ErrRequestLine = errors.New("malformed request line")

	// ErrMethodToken is a method that is no token, or longer than any method is.
	ErrMethodToken = errors.New("method is not a token")

	// ErrVersion is a third word that begins like a version and is none of the two.
	ErrVersion = errors.New("version is neither HTTP/1.0 nor HTTP/1.1")

	// ErrUnderscore is one in the name of a field, where the limits do not let it be.
	ErrUnderscore = errors.New("underscore in field name")

	// ErrHeadSize, ErrTargetSize and ErrFieldCount are more than Limits.Size, .Target and .Fields.
	ErrHeadSize   = errors.New("request head larger than the limit")
	ErrTargetSize = errors.New("request target longer than the limit")
	ErrFieldCount = errors.New("more fields than the limit")
)

// maxMethod is the most bytes of a method. The longest one registered has 17.
const maxMethod = 32

// Scanner follows the head of a request through a stream that comes in any pieces, and is as strict
// about it as Check (RFC 9112 §3, §5). It keeps no bytes. The zero value is at the beginning of a head.
//
//	start → method → target → version → lineEnd → line → name → value → lineEnd → line → … → lastEnd → ended
//	      → emptyEnd → method           one empty line may come first (§2.2)
//	any   → ended                       a fault
type Scanner struct {
	state  scanState
	size   int // bytes of the head so far
	part   int // bytes so far of the method, the target or the version
	fields int // lines so far
	err    error
}

type scanState uint8

const (
	scanStart    scanState = iota
	scanEmptyEnd           // behind the CR of an empty line before the request line
	scanMethod
	scanTarget
	scanVersion
	scanLineEnd // behind the CR of the request line or of a field line
	scanLine    // before a field line or the empty line
	scanName
	scanValue
	scanLastEnd // behind the CR of the empty line
	scanEnded
)

// Reset begins the next head.
func (s *Scanner) Reset() { *s = Scanner{} }

// Begun reports whether any byte of the head has come, an empty line before it included.
func (s *Scanner) Begun() bool { return s.size > 0 || s.state == scanEnded }

// Scan goes on with the next piece of the stream. n is how many bytes of p belong to the head: all,
// or when done those up to its empty line, that included. On an error n is the index of the byte at
// fault: the first that no head within the limits has at its place. l is the same for all pieces of a
// head. Behind its end, and behind an error, Scan says the same again until Reset.
func (s *Scanner) Scan(p []byte, l *Limits) (n int, done bool, err error) {
	if s.state == scanEnded {
		return 0, s.err == nil, s.err
	}
	within := p[:min(len(p), bound(l.Size)-s.size)]
	n, err = s.scan(within, l)
	s.size += n
	if err == nil && s.state != scanEnded && n < len(p) {
		err = ErrHeadSize
		if s.state == scanTarget && s.part == bound(l.Target) && plain(p[n:n+1], '!') == 1 {
			err = ErrTargetSize
		}
	}
	if err != nil {
		s.state, s.err = scanEnded, err
	}
	return n, s.state == scanEnded && err == nil, err
}

// scan is Scan within the limit of the size.
func (s *Scanner) scan(p []byte, l *Limits) (i int, err error) {
	for i < len(p) {
		switch c := p[i]; s.state {
		case scanStart:
			if s.state = scanMethod; c == '\r' {
				s.state = scanEmptyEnd
				i++
			}
		case scanEmptyEnd, scanLineEnd:
			if c != '\n' {
				return i, ErrBareLineEnd
			}
			s.state++ // scanMethod or scanLine
			i++
		case scanMethod:
			for i < len(p) && s.part < maxMethod && tokenByte[p[i]] {
				i++
				s.part++
			}
			if i == len(p) {
				return i, nil
			}
			switch c = p[i]; {
			case c == ' ' && s.part > 0:
				s.state, s.part = scanTarget, 0
				i++
			case c == ' ', c == '\r':
				return i, ErrRequestLine
			default:
				return i, fault(c, ErrMethodToken)
			}
		case scanTarget:
			n := plain(p[i:i+min(len(p)-i, bound(l.Target)-s.part)], '!')
			i += n
			if s.part += n; i == len(p) {
				return i, nil
			}
			switch c = p[i]; {
			case c > ' ' && c != 0x7f:
				return i, ErrTargetSize
			case c == ' ' && s.part > 0:
				s.state, s.part = scanVersion, 0
				i++
			default:
				return i, fault(c, ErrRequestLine)
			}
		case scanVersion:
			const version = "HTTP/1."
			switch {
			case s.part < len(version) && c == version[s.part], s.part == len(version) && (c == '0' || c == '1'):
				s.part++
			case s.part > len(version) && c == '\r':
				s.state = scanLineEnd
			case s.part < len("HTTP/"):
				return i, fault(c, ErrRequestLine)
			default:
				return i, fault(c, ErrVersion)
			}
			i++
		case scanLine:
			switch {
			case tokenByte[c]:
				if s.fields++; s.fields > bound(l.Fields) {
					return i, ErrFieldCount
				}
				s.state = scanName // which looks at c again: it may be an underscore
			case c == '\r':
				s.state = scanLastEnd
				i++
			case c == ' ', c == '\t':
				return i, ErrFolded
			default:
				return i, fault(c, ErrName)
			}
		case scanName:
			for i < len(p) && nameByte[p[i]] {
				i++
			}
			if i == len(p) {
				return i, nil
			}
			switch c = p[i]; {
			case c == ':':
				s.state = scanValue
			case c != '_':
				return i, fault(c, ErrName)
			case !l.Underscores:
				return i, ErrUnderscore
			}
			i++
		case scanValue:
			if i += plain(p[i:], ' '); i == len(p) {
				return i, nil
			}
			switch c = p[i]; c {
			case '\t':
			case '\r':
				s.state = scanLineEnd
			default:
				return i, fault(c, ErrValue)
			}
			i++
		case scanLastEnd:
			if c != '\n' {
				return i, ErrBareLineEnd
			}
			s.state = scanEnded
			return i + 1, nil
		}
	}
	return i, nil
}

// fault is what is wrong with c where err says that it does not belong: whatever LF is in the way of,
// it is a line end first.
func fault(c byte, err error) error {
	if c == '\n' {
		return ErrBareLineEnd
	}
	return err
}

func bound(limit int) int {
	if limit == 0 {
		return math.MaxInt
	}
	return limit
}

// nameByte is tokenByte without the underscore.
var nameByte = func() [256]bool {
	t := tokenByte
	t['_'] = false
	return t
}()

// plain is how many bytes at the start of b are least or more and not DEL. least is at most 0x80.
//
// It looks at eight bytes at a time: subtracting least from each sets the top bit of those that are
// less, unless they had it. A borrow may set it in bytes behind one that is less, never before.
func plain(b []byte, least byte) (n int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		del := w ^ 0x7f*ones // DEL is less than one now
		if found := ((w-uint64(least)*ones)&^w | (del-ones)&^del) & tops; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for n < len(b) && b[n] >= least && b[n] != 0x7f {
		n++
	}
	return n
}
