package head

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Response is the head of a backend's answer, as it arrived.
type Response struct {
	// Status is the code of the status line, 100 to 999; Reason the text behind it, often empty.
	Status int
	Reason []byte

	// Minor is the protocol's minor version: 0 or 1.
	Minor int

	// Fields is the block of field lines, without the empty line.
	Fields []byte

	// Size is how many bytes the whole head takes, the empty line included.
	Size int
}

// Append appends the head of a 101 to dst as the client is to get it: the status line and the
// backend's fields in their order and spelling, without those that are hop-by-hop or frame a body,
// changed by edit unless that is nil. Connection and Upgrade stand where the backend had them.
func (r *Response) Append(dst []byte, edit *Edit) []byte {
	dst = append(dst, "HTTP/1.1 101 "...)
	dst = append(dst, r.Reason...)
	dst = append(dst, crlf...)
	start := len(dst)
	named := ConnectionNames(r.Fields)
	var w upgradeFields
	for f := range Fields(r.Fields) {
		switch k := kindOf(f.Name); {
		case w.append(&dst, f, k):
		case k.hopByHop(), k == kindContentLength, named.Has(f.Name):
		default:
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return append(edit.apply(dst, start), crlf...)
}

// Errors of PeekResponse, besides those of Check and of the reader.
var (
	ErrTooLarge   = errors.New("head larger than the limit")
	ErrStatusLine = errors.New("malformed status line")
)

// PeekResponse waits for a whole head on br and reads it strictly, without consuming it: r.Fields
// is valid until the next read from br, and br.Discard(r.Size) goes on behind the head. A head
// that does not fit into br's buffer is ErrTooLarge; an end before it is complete is
// io.ErrUnexpectedEOF, or io.EOF when nothing came at all.
func PeekResponse(br *bufio.Reader) (r Response, err error) {
	seen := 0
	for {
		// Peek for one byte more than there is reads once; Buffered tells how much came.
		_, err := br.Peek(seen + 1)
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return r, ErrTooLarge
			}
			if errors.Is(err, io.EOF) && seen > 0 {
				return r, io.ErrUnexpectedEOF
			}
			return r, err
		}
		b, _ := br.Peek(br.Buffered())
		// A head in bare LF would never end: its sender is to hear so, not to be waited for.
		if bareLF(b, seen) {
			return r, ErrBareLineEnd
		}
		// The empty line may have begun in the last bytes that were looked at before.
		if i := bytes.Index(b[max(0, seen-3):], []byte("\r\n\r\n")); i >= 0 {
			return parseResponse(b[:max(0, seen-3)+i+4])
		}
		seen = len(b)
	}
}

// bareLF reports whether the part of a head from seen on has an LF without its CR. Bytes behind the
// head's end are none of it.
func bareLF(b []byte, seen int) bool {
	for i := seen; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		if i == 0 || b[i-1] != '\r' {
			return true
		}
		if i >= 3 && b[i-2] == '\n' {
			return false // the empty line: the head ends here
		}
	}
	return false
}

func parseResponse(b []byte) (Response, error) {
	line, fields, _ := bytes.Cut(b, crlf)
	r := Response{Fields: fields[:len(fields)-len(crlf)], Size: len(b)}
	// status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 §4). Servers that
	// leave out the second space are many, and no two readers differ about them.
	const version = "HTTP/1."
	if len(line) < len(version)+5 || string(line[:len(version)]) != version || line[8] != ' ' {
		return r, ErrStatusLine
	}
	if r.Minor = int(line[7] - '0'); line[7] != '0' && line[7] != '1' {
		return r, ErrStatusLine
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return r, ErrStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Reason = line[12:]; len(r.Reason) > 0 {
		if r.Reason[0] != ' ' {
			return r, ErrStatusLine
		}
		r.Reason = r.Reason[1:]
	}
	if r.Status < 100 {
		return r, ErrStatusLine
	}
	for _, c := range r.Reason {
		if c < ' ' && c != '\t' || c == 0x7f {
			return r, ErrStatusLine
		}
	}
	return r, Check(r.Fields)
}
