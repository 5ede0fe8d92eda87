package forward

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/dial"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/internal/sock"
	"wsproxy/routing"
)

// exchange is one request and its answer.
//
//	asking → answering → over    ask, bring and end, called in turn by one goroutine
//	             ↓↑
//	           resting           without one
type exchange struct {
	// Fixed at creation.
	transport *Transport
	client    *inbound.Conn
	answer    *Answer
	method    []byte
	addr      string // the backend's
	pool      routing.Pool
	once      bool   // conn is never pooled
	release   func() // takes br back; nil means the transport does

	// Owned by the goroutine that serves the client, or whoever has taken the exchange out of its rest.
	conn     *conn
	br       *bufio.Reader // reads conn
	upload   *upload       // nil unless a body is sent by a goroutine of its own
	expects  bool          // the client may wait with the body until it is told to go on
	framing                // of the answer
	chunks   body.Chunks   // the answer's body, by its framing
	sized    body.Sized
	complete bool // it has been read to its end, and written
	closes   bool // the client's connection ends with the answer
	rest

	mu      sync.Mutex // guards the fields below, and who sets deadlines for reading from conn
	bounded bool       // there is a deadline
	asked   bool       // the backend has got all it is going to get of the request
	here    bool       // the answer's head has come
	over    bool       // conn is not the exchange's any more
	cause   error      // why the client gets no answer
}

var errLeft = errors.New("client has left")

// ClientLeft gives the exchange up, as inbound asks for it.
func (x *exchange) ClientLeft() { x.giveUp(errLeft) }

// giveUp wakes whoever reads the answer. It may be called by any goroutine at any time.
func (x *exchange) giveUp(cause error) {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	x.cause = cause
	_ = x.conn.SetReadDeadline(past)
	x.mu.Unlock()
	x.wake(nil)
}

// bound bounds the next wait for the backend; a timeout that is not positive does not.
func (x *exchange) bound(timeout time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.boundLocked(timeout)
}

// waits has the wait for the answer's head begin, or begin again: for an answer to a request that has been
// sent. While its body is being sent there is no hurry.
func (x *exchange) waits(sent bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = x.asked || sent
	switch {
	case x.here:
	case x.asked:
		x.boundLocked(x.answer.ResponseTimeout)
	default:
		x.boundLocked(0)
	}
}

func (x *exchange) boundLocked(timeout time.Duration) {
	if x.cause != nil || timeout <= 0 && !x.bounded {
		return
	}
	if x.bounded = timeout > 0; !x.bounded {
		_ = x.conn.SetReadDeadline(time.Time{})
		return
	}
	_ = x.conn.SetReadDeadline(time.Now().Add(timeout))
}

// ask sends the request on an idle connection or a new one, and waits for the first byte of an answer when
// the request has been sent whole.
func (x *exchange) ask(to *To) error {
	if !x.once {
		x.conn = x.transport.take(to.Backend)
	}
	if x.conn == nil {
		if err := x.dial(to); err != nil {
			return &unsent{err}
		}
	}
	request := x.client.Body()
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	b := to.Head.Append(buf[:0])
	if request.Here() && request.Length() <= int64(len(buf)) {
		size := len(b)
		b = append(b, make([]byte, request.Length())...)
		if _, err := io.ReadFull(request, b[size:]); err != nil {
			return fail("read request body for", x.addr, ErrClient, err)
		}
	}
	streams := !request.Whole()
	if streams && expects(to.Head.Fields) {
		x.expects = true
		request.Patient()
	}

	for {
		if x.conn == nil {
			if err := x.dial(to); err != nil {
				if request.Length() == 0 {
					return &unsent{err}
				}
				return err
			}
		}
		written, err := x.send(b, streams)
		if err == nil {
			return nil
		}
		x.client.Unattend()
		reused := x.conn.reused
		x.conn.Close()
		x.conn = nil
		// A backend may close an idle connection while a request is on its way to it (RFC 9112 §9.5).
		// What it may have executed is sent again only if that changes nothing (RFC 9110 §9.2.2), and
		// on a new connection, which has no such excuse.
		if !reused || timedOut(err) || written && (!idempotent(to.Head.Method) || streams) {
			return x.failed("ask", err)
		}
	}
}

// dial makes a new connection.
func (x *exchange) dial(to *To) error {
	nc, err := x.transport.config.Dial(to.Backend, dial.Request{
		Home: sock.HomeOf(x.client), Timeout: to.DialTimeout, Preface: to.Preface, Sources: to.Sources,
	})
	if err != nil {
		return err
	}
	x.conn = &conn{Conn: nc, backend: to.Backend}
	return nil
}

// send writes the request and, unless its body is still to come, waits for the answer to begin. written
// tells whether the backend may have seen any of it.
func (x *exchange) send(b []byte, streams bool) (written bool, err error) {
	if timeout := x.answer.ResponseTimeout; timeout > 0 {
		_ = x.conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	n, err := x.conn.Write(b)
	if err != nil {
		return n > 0, err
	}
	x.dropReader()
	x.br = x.transport.reader(x.conn)
	if streams {
		x.upload = startUpload(x)
		return true, nil
	}
	x.waits(true)
	x.client.Attend(x)
	_, err = x.br.Peek(1)
	return true, err
}

// failed is the error of an exchange that got no answer. It says which side failed.
func (x *exchange) failed(op string, err error) error {
	x.mu.Lock()
	cause := x.cause
	x.mu.Unlock()
	if cause != nil {
		return fail("ask", x.addr, ErrClient, cause)
	}
	kind := routing.ErrAnswer
	switch {
	case timedOut(err):
		kind = routing.ErrTimeout
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return fail(op, x.addr, kind, err)
}

// end lets the connection and the reader go, when the upload has ended.
func (x *exchange) end() {
	if x.conn != nil {
		keep := x.keep && x.complete && !x.once && (x.br == nil || x.br.Buffered() == 0)
		if x.upload != nil {
			keep = x.upload.end() && keep
		}
		x.client.Unattend()
		x.mu.Lock()
		x.over = true
		x.mu.Unlock()
		if keep && x.conn.SetDeadline(time.Time{}) == nil {
			x.transport.put(x.conn, &x.pool)
		} else {
			x.conn.Close()
		}
	}
	if x.release != nil {
		x.release()
		return
	}
	x.dropReader()
}

// dropReader gives the reader back, with what is in it.
func (x *exchange) dropReader() {
	if x.br != nil {
		x.br.Reset(nil)
		x.transport.readers.Put(x.br)
		x.br = nil
	}
}

// expects reports whether a client asks if it is to send its body (RFC 9110 §10.1.1).
func expects(fields []byte) bool {
	for f := range head.Fields(fields) {
		if f.Is("Expect") {
			return true
		}
	}
	return false
}

// idempotent reports whether a request may be sent twice (RFC 9110 §9.2.2).
func idempotent(method []byte) bool {
	switch string(method) {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace,
		fasthttp.MethodPut, fasthttp.MethodDelete:
		return true
	}
	return false
}
