package head

import "strconv"

// AnswerHead is the head of a backend's answer on its way to a client. A 101 goes another way:
// Response.Append.
type AnswerHead struct {
	// Response is the answer as it came. Where its body ends has been found out, so that it has no
	// two lengths that differ.
	Response *Response

	// Edit changes what the client gets. Nil changes nothing.
	Edit *Edit

	// Chunked says that the body goes to the client in chunks.
	Chunked bool

	// DropLength leaves Content-Length out: of an answer that must not have it (RFC 9110 §8.6), or
	// whose body goes to the client in another length.
	DropLength bool

	// Close announces that the connection ends behind the answer. Otherwise KeepAlive tells a client
	// that speaks HTTP/1.0 that it does not.
	Close, KeepAlive bool
}

// Append appends the head to dst: the status line of HTTP/1.1, then the backend's fields in their
// order and spelling, without those that are hop-by-hop or that Connection names (RFC 9110 §7.6.1).
// What frames the body is there once and no more, whatever Connection names: Transfer-Encoding when
// it is Chunked, where the backend had it, and Content-Length when it is not. Trailer, which announces
// fields behind the last chunk, goes along with chunks.
func (a *AnswerHead) Append(dst []byte) []byte {
	r := a.Response
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Reason...)
	dst = append(dst, crlf...)
	start := len(dst)

	named := ConnectionNames(r.Fields)
	length, coding := a.Chunked || a.DropLength, !a.Chunked // written, or not to be
	for f := range Fields(r.Fields) {
		switch k := kindOf(f.Name); {
		case k == kindContentLength:
			if !length {
				dst = AppendField(dst, f.Name, f.Value)
			}
			length = true
		case k == kindTransferEncoding:
			if !coding {
				dst = AppendField(dst, f.Name, "chunked")
			}
			coding = true
		case k.hopByHop() && (k != kindTrailer || !a.Chunked), named.Has(f.Name):
		default:
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	if !coding {
		dst = AppendField(dst, "Transfer-Encoding", "chunked")
	}
	switch {
	case a.Close:
		dst = AppendField(dst, "Connection", "close")
	case a.KeepAlive:
		dst = AppendField(dst, "Connection", "keep-alive")
	}
	return append(a.Edit.apply(dst, start), crlf...)
}
