// Package forward carries a request that is no upgrade to a backend and the answer back. Both
// bodies stream, at the same time, in constant memory.
//
// fasthttp reads requests and writes the heads of answers. HostClient takes no part: it sends whole
// requests before it reads, pools connections after a 101, and repeats what may have been executed.
// Bodies of answers go to the client's connection past fasthttp's buffer, so that each piece leaves
// as it came, whatever the connection is made of.
package forward

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// ErrClient is what Forward and Relay fail with on the client's side: it went away, or its body
// failed, before there was an answer. What fails on the backend's side is one of routing's errors;
// ErrAnswer is then an answer whose head is malformed, cut off, ambiguous about where it ends, or an
// upgrade nobody asked for.
var ErrClient = errors.New("client's request cut off")

// To says where a request goes.
type To struct {
	// Backend is asked. A connection to it is reused for it alone.
	Backend *routing.Backend

	// DialTimeout bounds connecting, TLS included. Zero means five seconds.
	DialTimeout time.Duration

	// ResponseTimeout bounds the wait for the answer's head, counted from the end of the request,
	// and while a body is sent the wait for the backend to take more of it. Zero waits for ever.
	// Bodies may take as long as they like.
	ResponseTimeout time.Duration

	// Head is the request's head. Its fields are those of ctx's request, gated: at most one of
	// Content-Length and Transfer-Encoding frames the body, and ctx reads it so.
	Head head.Request
}

// Forward sends ctx's request, its body from ctx.RequestBodyStream, and sets ctx.Response so that
// fasthttp streams the answer once the handler has returned. Whatever the response's head held is
// replaced, but for Connection: close. An error wraps one of the sentinels and its cause; nothing of
// an answer is set then.
//
// An answer may come while the client still sends. The request belongs to the exchange then, until
// fasthttp has written the answer: behind a nil error the handler leaves ctx.Request alone. Such a
// connection is announced and closed behind its answer, unless its body had been read by then.
//
// fasthttp's server must run with StreamRequestBody, DisablePreParseMultipartForm,
// DisableHeaderNamesNormalizing and the NoDefault settings.
func (t *Transport) Forward(ctx *fasthttp.RequestCtx, to To) error {
	x := &exchange{transport: t, ctx: ctx, client: ctx.Conn(), addr: to.Backend.Addr}
	handed := false
	// Also when something panics: the request must not be read once fasthttp has it back.
	defer func() {
		if !handed {
			x.end()
		}
	}()
	if err := x.ask(&to); err != nil {
		return err
	}
	if err := x.answer(to.Head.Method); err != nil {
		return err
	}
	handed = true
	return nil
}

// Relay answers ctx with the response that is about to be read from br, which reads from conn; the
// request had the given method and no body. It is for a connection that is used once: an opening
// handshake that was refused. Relay owns conn and closes it when the body has been relayed or on an
// error. Deadlines set on conn bound the wait for the head only. release is called once when nobody
// uses br any more, on an error before Relay returns. Errors are those of Forward.
func (t *Transport) Relay(ctx *fasthttp.RequestCtx, c net.Conn, br *bufio.Reader, method []byte, release func()) error {
	x := &exchange{
		transport: t, ctx: ctx, client: ctx.Conn(), addr: c.RemoteAddr().String(),
		conn: &conn{Conn: c}, br: br, once: true, release: release, timed: true,
	}
	handed := false
	defer func() {
		if !handed {
			x.end()
		}
	}()
	if err := x.answer(method); err != nil {
		return err
	}
	handed = true
	return nil
}

// ask sends the request on an idle connection or a new one, and waits for the first byte of an
// answer when the request has been sent whole.
func (x *exchange) ask(to *To) error {
	body, err := newBody(x.ctx)
	if err != nil {
		return fail("read request for", x.addr, ErrClient, err)
	}
	request := buffers.Get().(*buffer)
	defer buffers.Put(request)
	b := to.Head.Append(request[:0])
	if body.inMemory() {
		if b, err = body.appendTo(b); err != nil {
			return fail("read request body for", x.addr, ErrClient, err)
		}
	}

	x.conn = x.transport.take(to.Backend)
	for {
		if x.conn == nil {
			if x.conn, err = x.transport.dial(to.Backend, to.DialTimeout); err != nil {
				return err
			}
		}
		written, err := x.send(b, body, to.ResponseTimeout)
		if err == nil {
			return nil
		}
		reused := x.conn.reused
		x.conn.Close()
		x.conn = nil
		// A backend may close an idle connection while a request is on its way to it (RFC 9112 §9.5).
		// What it may have executed is sent again only if that changes nothing (RFC 9110 §9.2.2), and
		// on a new connection, which has no such excuse.
		if !reused || timedOut(err) || written && (!idempotent(to.Head.Method) || body.length != 0) {
			return x.failed("ask", err)
		}
	}
}

// send writes the request and, unless its body is still to come, waits for the answer to begin.
// written tells whether the backend may have seen any of it.
func (x *exchange) send(b []byte, body body, timeout time.Duration) (written bool, err error) {
	if timeout > 0 {
		x.timed = true
		if err := x.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
			return false, err
		}
	}
	n, err := x.conn.Write(b)
	if err != nil {
		return n > 0, err
	}
	if x.br == nil {
		x.br = x.transport.readers.Get().(*bufio.Reader)
	}
	x.br.Reset(x.conn)
	if body.length != 0 && !body.inMemory() {
		x.upload = startUpload(body, x.conn, timeout)
		return true, nil
	}
	if _, err := x.br.Peek(1); err != nil {
		return true, err
	}
	return true, nil
}

// failed is the error of an exchange that got no answer. It says which side failed.
func (x *exchange) failed(op string, err error) error {
	if x.upload != nil {
		if cause := x.upload.clientFailure(); cause != nil {
			return fail("read request body for", x.addr, ErrClient, cause)
		}
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

// idempotent reports whether a request may be sent twice (RFC 9110 §9.2.2).
func idempotent(method []byte) bool {
	switch string(method) {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace,
		fasthttp.MethodPut, fasthttp.MethodDelete:
		return true
	}
	return false
}

// failure is an error that names its operation, its object and its cause, and is of one of the
// kinds a caller tests for.
type failure struct {
	op, addr    string
	kind, cause error
}

func fail(op, addr string, kind, cause error) error {
	// net's errors repeat the operation and the addresses.
	var netErr *net.OpError
	if errors.As(cause, &netErr) {
		cause = netErr.Err
	}
	return &failure{op: op, addr: addr, kind: kind, cause: cause}
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s backend %s: %v: %v", f.op, f.addr, f.kind, f.cause)
}

func (f *failure) Unwrap() []error { return []error{f.kind, f.cause} }

// buffer carries a request's head or a piece of a body.
type buffer [32 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}
