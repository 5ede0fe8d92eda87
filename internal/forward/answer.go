package forward

import (
	"errors"
	"io"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/head"
	"wsproxy/internal/sock"
	"wsproxy/routing"
)

// maxInterim is how many 1xx answers may come before the final one. A long operation may be said to go on
// with many (102, RFC 2518 §10.1), but not for ever.
const maxInterim = 1000

var (
	errUpgrade = errors.New("101 to a request that is no upgrade")
	errInterim = errors.New("too many interim answers")
	errLength  = errors.New("malformed or contradictory Content-Length")
	errCoding  = errors.New("Transfer-Encoding other than chunked")
	errTwoEnds = errors.New("both Transfer-Encoding and Content-Length")
	errPanic   = errors.New("panic")
)

// bring reads the answer and writes it to the client. Once its head has been written, what goes wrong can
// only be shown by an answer that is broken off, and is no error.
func (x *exchange) bring() (keep bool, err error) {
	r, err := x.readHead()
	if err != nil {
		return false, err
	}
	if x.framing, err = frame(r, x.method); err != nil {
		return false, fail("read answer of", x.addr, routing.ErrAnswer, err)
	}
	x.mu.Lock()
	x.here = true
	cause := x.cause
	x.mu.Unlock()
	if cause != nil {
		return false, fail("ask", x.addr, ErrClient, cause)
	}
	if x.answer.Begins != nil {
		x.answer.Begins()
	}

	old := x.answer.HTTP10
	unending := x.body == untilClose || x.body == chunked
	x.closes = x.answer.Close || x.client.Closing() || x.upload != nil && !x.upload.whole.Load() || old && unending
	out := buffers.Get().(*buffer)
	defer func() { buffers.Put(out) }()
	b := (&head.AnswerHead{
		Response: &r, Edit: x.answer.Edit,
		Chunked:    unending && !old,
		DropLength: r.Status == fasthttp.StatusNoContent,
		Close:      x.closes, KeepAlive: old && !x.closes,
	}).Append(out[:0])
	// The head has been peeked whole; its fields are valid up to here.
	_, _ = x.br.Discard(r.Size)

	switch x.body {
	case noBody:
		x.complete = true
	case sized:
		x.complete = x.length == 0
		x.sized = body.NewSized(x.br, x.length)
	case chunked:
		x.chunks = body.NewChunks(x.br)
	}
	if err := x.relay(b); err != nil {
		return false, nil
	}
	return !x.closes, nil
}

// readHead waits for the head of the final answer and passes on the interim ones before it (RFC 9110
// §15.2).
func (x *exchange) readHead() (head.Response, error) {
	for range maxInterim {
		r, err := head.PeekResponse(x.br)
		switch {
		case err != nil:
			return r, x.failed("read answer of", err)
		case r.Status == fasthttp.StatusSwitchingProtocols:
			// What follows is no HTTP: this connection is closed with the exchange.
			return r, fail("read answer of", x.addr, routing.ErrAnswer, errUpgrade)
		case r.Status >= 200:
			return r, nil
		}
		if !x.answer.HTTP10 {
			buf := buffers.Get().(*buffer)
			_, err = x.client.Write((&head.AnswerHead{Response: &r, DropLength: true}).Append(buf[:0]))
			buffers.Put(buf)
			if err != nil {
				return r, fail("ask", x.addr, ErrClient, err)
			}
		}
		if _, err := x.br.Discard(r.Size); err != nil {
			return r, x.failed("read answer of", err)
		}
		x.waits(false)
	}
	return head.Response{}, fail("read answer of", x.addr, routing.ErrAnswer, errInterim)
}

// framing is how a body ends (RFC 9112 §6.3).
type framing struct {
	body   bodyKind
	length int64 // Content-Length, -1 without one; a body has it only if it is sized
	keep   bool  // the connection may carry another request behind the answer
}

type bodyKind int

const (
	noBody     bodyKind = iota
	sized               // Content-Length bytes
	chunked             // up to the trailer section
	untilClose          // up to the connection's end
)

// frame finds out where an answer ends. Two readers of an ambiguous one may not agree, and what one
// takes for a body is the next answer to the other: there is no guessing.
func frame(r head.Response, method []byte) (framing, error) {
	f := framing{length: -1, keep: r.Minor == 1}
	coded := false
	for field := range head.Fields(r.Fields) {
		switch {
		case field.Is("Content-Length"):
			n, err := body.ParseLength(field.Value)
			if err != nil || f.length >= 0 && f.length != n {
				return f, errLength
			}
			f.length = n
		case field.Is("Transfer-Encoding"):
			if coded || r.Minor == 0 || !head.EqualFold(field.Value, "chunked") {
				return f, errCoding
			}
			coded = true
		case field.Is("Connection"):
			f.keep = f.keep && !head.HasElement(field.Value, "close")
		}
	}
	switch {
	case coded && f.length >= 0:
		return f, errTwoEnds
	case string(method) == fasthttp.MethodHead || r.Status == fasthttp.StatusNotModified:
		f.body = noBody
	case r.Status == fasthttp.StatusNoContent:
		f.body = noBody
		// A backend that announces a body all the same may send it.
		f.keep = f.keep && !coded && f.length <= 0
	case coded:
		f.body = chunked
	case f.length >= 0:
		f.body = sized
	default:
		f.body = untilClose
		f.keep = false
	}
	return f, nil
}

// read reads the answer's body, decoded.
func (x *exchange) read(p []byte) (int, error) {
	switch x.body {
	case sized:
		return x.sized.Read(p)
	case chunked:
		return x.chunks.Read(p)
	}
	return x.br.Read(p)
}

// ready reports whether a read brings something at once.
func (x *exchange) ready() bool {
	if x.body == chunked {
		return x.chunks.Buffered()
	}
	return x.br.Buffered() > 0
}

// relay writes the head of the answer, with what has come of the body, and then the rest as it comes. It
// ends with errRests when the answer pauses and goes on by itself.
func (x *exchange) relay(first []byte) error {
	wait := x.complete || !x.ready()
	if wait && len(first) > 0 {
		if _, err := x.client.Write(first); err != nil {
			return err
		}
		first = nil
	}
	for full := false; !x.complete; {
		if wait && !full {
			// A stream that is silent holds no buffer but br.
			if err := x.pause(); err != nil && (err != io.EOF || x.body != untilClose) {
				if err == errRests {
					return err
				}
				// The next read need not say it again: behind a reset there is an end.
				return x.broken(err)
			}
		} else if wait {
			x.bound(x.answer.ReadTimeout)
		}
		n, readErr, writeErr := x.relayPiece(first)
		first, wait = nil, true
		switch {
		case writeErr != nil:
			return writeErr
		case readErr == io.EOF:
			x.complete = true
		case readErr != nil:
			return x.broken(readErr)
		}
		full = n >= x.br.Size()
	}
	return nil
}

// broken leaves the client an answer that shows that it is broken off.
func (x *exchange) broken(err error) error {
	if x.answer.HTTP10 && x.body != sized {
		// Nothing else tells an HTTP/1.0 client that this is not the end of the body.
		sock.Cut(x.client.NetConn())
	}
	return err
}

// relayPiece reads once and writes once, and first before it.
func (x *exchange) relayPiece(first []byte) (n int, readErr, writeErr error) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	n, readErr = x.read(buf.payload())
	piece := buf.payload()[:n]
	if x.body != sized && !x.answer.HTTP10 {
		piece = buf.chunk(n)
		if readErr == io.EOF {
			piece = x.appendEnd(piece)
		}
	}
	if len(first) > 0 {
		piece = append(first, piece...)
	}
	if len(piece) > 0 {
		writeErr = x.write(piece)
	}
	return n, readErr, writeErr
}

// appendEnd appends the last chunk and the trailer section. Trailers are passed on whether they were
// announced or not, but for those that have no place there.
func (x *exchange) appendEnd(b []byte) []byte {
	b = append(b, "0\r\n"...)
	for f := range head.Fields(x.chunks.Trailers()) {
		if trailing(f.Name) {
			b = head.AppendField(b, f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...)
}
