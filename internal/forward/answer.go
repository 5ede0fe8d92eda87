package forward

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// maxInterim is how many 1xx answers may come before the final one.
const maxInterim = 8

var (
	errUpgrade = errors.New("101 to a request that is no upgrade")
	errInterim = errors.New("too many interim answers")
	errLength  = errors.New("malformed or contradictory Content-Length")
	errCoding  = errors.New("Transfer-Encoding other than chunked")
	errHead    = errors.New("head that fasthttp does not write")
	errTwoEnds = errors.New("both Transfer-Encoding and Content-Length")
)

// exchange is one request and its answer.
//
//	asking → answering → over    end is called: by fasthttp when it has written the answer,
//	       → over                or by Forward and Relay when there is none
type exchange struct {
	// Fixed at creation.
	transport *Transport
	ctx       *fasthttp.RequestCtx
	client    net.Conn
	addr      string // the backend's
	once      bool   // conn is never pooled
	release   func() // takes br back; nil means the transport does

	// Owned by the worker of fasthttp that runs the handler and writes the answer.
	conn     *conn
	br       *bufio.Reader // reads conn
	timed    bool          // conn has a deadline
	upload   *upload       // nil unless a body is sent
	framing                // of the answer
	source   io.Reader     // the answer's body, decoded
	rechunk  bool          // it goes to the client chunked
	buffered bool          // all of it is in br
	complete bool          // it has been read to its end, and written
	over     bool
}

// answer reads the answer's head and sets ctx.Response. The body follows when fasthttp writes it.
func (x *exchange) answer(method []byte) error {
	r, err := x.readHead()
	if err != nil {
		return err
	}
	if x.framing, err = frame(r, method); err != nil {
		return fail("read answer of", x.addr, routing.ErrAnswer, err)
	}
	if err := x.untime(); err != nil {
		return err
	}
	if err := setHead(&x.ctx.Response.Header, r); err != nil {
		return fail("read answer of", x.addr, routing.ErrAnswer, err)
	}
	if x.body == chunked && x.ctx.Request.Header.IsHTTP11() {
		announce(&x.ctx.Response.Header, r.Fields)
	}
	// The head has been peeked whole; its fields are valid up to here.
	_, _ = x.br.Discard(r.Size)
	x.setBody()
	return nil
}

// readHead waits for the head of the final answer. 1xx answers are dropped (RFC 9110 §15.2 lets a
// proxy do so with those it asked for itself; the server in front has answered Expect).
func (x *exchange) readHead() (head.Response, error) {
	for n := 0; ; n++ {
		r, err := head.PeekResponse(x.br)
		switch {
		case err != nil:
			return r, x.failed("read answer of", err)
		case r.Status == fasthttp.StatusSwitchingProtocols:
			// What follows is no HTTP: this connection is closed with the exchange.
			return r, fail("read answer of", x.addr, routing.ErrAnswer, errUpgrade)
		case r.Status >= 200:
			return r, nil
		case n == maxInterim:
			return r, fail("read answer of", x.addr, routing.ErrAnswer, errInterim)
		}
		if _, err := x.br.Discard(r.Size); err != nil {
			return r, x.failed("read answer of", err)
		}
	}
}

// untime takes the deadlines off the connection: a body may take as long as it likes.
func (x *exchange) untime() error {
	if x.upload != nil {
		if err := x.upload.answered(); err != nil {
			return fail("read request body for", x.addr, ErrClient, err)
		}
		return nil
	}
	if x.timed {
		if err := x.conn.SetDeadline(time.Time{}); err != nil {
			return x.failed("read answer of", err)
		}
	}
	return nil
}

// framing is how a body ends (RFC 9112 §6.3).
type framing struct {
	body   bodyKind
	length int  // Content-Length, -1 without one; a body has it only if it is sized
	keep   bool // the connection may carry another request behind the answer
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
			n, err := parseLength(field.Value)
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

// parseLength reads 1*DIGIT (RFC 9110 §8.6), nothing more lenient.
func parseLength(value []byte) (int, error) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, errLength
		}
	}
	return strconv.Atoi(string(value))
}

// headReader is what it takes to hand fasthttp a head.
type headReader struct {
	block []byte
	bytes bytes.Reader
	br    *bufio.Reader
}

var headReaders = sync.Pool{New: func() any { return &headReader{br: bufio.NewReaderSize(nil, 4<<10)} }}

// setHead makes r the head of the answer to the client, without its hop-by-hop fields and those
// that Connection names (RFC 9110 §7.6.1). It goes through fasthttp's reader because Add and Set
// drop Date. fasthttp writes Server, Content-Type, Content-Encoding and Content-Length first and
// Set-Cookie last, in its own spelling and of the first three one each; the rest keeps order and
// spelling.
func setHead(h *fasthttp.ResponseHeader, r head.Response) error {
	hr := headReaders.Get().(*headReader)
	defer headReaders.Put(hr)
	hr.block = appendHead(hr.block[:0], r)
	if hr.br.Size() < len(hr.block) {
		hr.br = bufio.NewReaderSize(nil, len(hr.block))
	}
	hr.bytes.Reset(hr.block)
	hr.br.Reset(&hr.bytes)
	closing := h.ConnectionClose()
	if err := h.Read(hr.br); err != nil {
		// fasthttp's errors quote what the backend sent.
		return errHead
	}
	// Read takes an answer without a length for one that ends with the connection.
	h.ResetConnectionClose()
	if closing {
		h.SetConnectionClose()
	}
	return nil
}

func appendHead(b []byte, r head.Response) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, r.Reason...)
	b = append(b, "\r\n"...)
	named := head.ConnectionNames(r.Fields)
	length := false
	var encoding []byte // all of it: of several fields fasthttp keeps the last
	for f := range head.Fields(r.Fields) {
		switch {
		case f.Is("Content-Length"):
			if length {
				continue
			}
			length = true
		case f.Is("Content-Encoding"):
			// Several fields are one list (RFC 9110 §5.3).
			if len(encoding) > 0 {
				encoding = append(encoding, ", "...)
			}
			encoding = append(encoding, f.Value...)
			continue
		case head.HopByHop(f.Name), named.Has(f.Name):
			continue
		}
		b = head.AppendField(b, f.Name, f.Value)
	}
	if len(encoding) > 0 {
		b = head.AppendField(b, []byte("Content-Encoding"), encoding)
	}
	return append(b, "\r\n"...)
}

// announce repeats what the backend's Trailer fields announce (RFC 9110 §6.6.2). fasthttp refuses
// names that have no place in a trailer section, and would move a field there that stands in the
// head as well: that one comes unannounced.
func announce(h *fasthttp.ResponseHeader, block []byte) {
	for f := range head.Fields(block) {
		if !f.Is("Trailer") {
			continue
		}
		for name := range head.Elements(f.Value) {
			if len(h.PeekBytes(name)) == 0 && !head.HopByHop(name) {
				_ = h.AddTrailerBytes(name)
			}
		}
	}
}
