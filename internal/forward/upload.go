package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// inMemory is the size up to which a body of known length is sent in one piece with the head, once
// it is there: what small requests have costs no goroutine.
const inMemory = 8 << 10

// lingerTime bounds the wait for a client that still sends when its answer is over. Closing at once
// would reset the connection under the answer, which the client may not have read yet (RFC 9112 §9.6).
const lingerTime = 2 * time.Second

// past is a deadline that makes waiting reads and writes return.
var past = time.Unix(1, 0)

// body is the body of a client's request.
type body struct {
	stream io.Reader
	length int // bytes, or -1 for a chunked body
	header *fasthttp.RequestHeader
}

func newBody(ctx *fasthttp.RequestCtx) (body, error) {
	b := body{stream: ctx.RequestBodyStream(), length: ctx.Request.Header.ContentLength(), header: &ctx.Request.Header}
	if b.length < -1 {
		b.length = 0 // a request without either field has no body (RFC 9112 §6.3)
	}
	if b.length != 0 && b.stream == nil {
		return b, errors.New("body is not streamed by the server")
	}
	return b, nil
}

func (b body) inMemory() bool { return 0 <= b.length && b.length <= inMemory }

// appendTo appends a body that is in memory to dst.
func (b body) appendTo(dst []byte) ([]byte, error) {
	if b.length == 0 {
		return dst, nil
	}
	piece := buffers.Get().(*buffer)
	defer buffers.Put(piece)
	_, err := io.ReadFull(b.stream, piece[:b.length])
	return append(dst, piece[:b.length]...), err
}

// upload carries a body to the backend on a goroutine of its own, while the answer is awaited and
// relayed.
//
//	sending → discarding → ended    the backend takes no more: the client may read only when it has sent all
//	        → ended                 the body's end; the client's failure; end
//
// fasthttp must not touch the request while the goroutine reads it: that is from the start until
// whole is set or done closed.
type upload struct {
	// Fixed at creation.
	body    body
	conn    net.Conn // the exchange owns it
	timeout time.Duration
	done    chan struct{} // closed when the goroutine has ended

	// whole is set when the client's body has been read to its end.
	whole atomic.Bool

	mu        sync.Mutex // guards the fields below, and who sets deadlines on conn
	answering bool       // the answer's head is here: no deadline any more
	clientErr error      // why the client's body ended early

	// Owned by the goroutine until done is closed.
	backendErr error // why the backend got no more
}

func startUpload(b body, c net.Conn, timeout time.Duration) *upload {
	u := &upload{body: b, conn: c, timeout: timeout, done: make(chan struct{})}
	// The wait for the answer counts from the end of the body.
	_ = c.SetReadDeadline(time.Time{})
	go u.run()
	return u
}

// run sends the body piece by piece as it comes.
func (u *upload) run() {
	defer close(u.done)
	defer func() {
		// No handler's recover stands above this goroutine.
		if r := recover(); r != nil {
			u.abort(fmt.Errorf("panic: %v", r))
		}
	}()
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	left := u.body.length
	for {
		n, err := u.body.stream.Read(buf.payload())
		piece := buf.payload()[:n]
		whole := err == io.EOF
		if u.body.length < 0 {
			piece = buf.chunk(n)
		} else {
			// The stream ends alike when the body does and when the client goes away.
			left -= n
			whole = left == 0
			err = cutOff(err)
		}
		if err != nil && !whole {
			u.abort(err)
			return
		}
		if whole {
			if u.body.length < 0 {
				piece = appendTrailers(append(piece, "0\r\n"...), u.body.header)
			}
			// Before the backend can know: it may answer at once.
			u.whole.Store(true)
		}
		u.send(piece)
		if whole {
			u.sent()
			return
		}
	}
}

// appendTrailers appends the trailer section of a request. A backend that takes trailers for fields
// must not find one there that is the proxy's to set.
func appendTrailers(dst []byte, h *fasthttp.RequestHeader) []byte {
	for f := range head.Fields(h.TrailerHeader()) {
		if !head.Reserved(f.Name) {
			dst = head.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}

// send writes a piece of the body unless the backend takes no more.
func (u *upload) send(piece []byte) {
	if u.backendErr != nil || len(piece) == 0 {
		return
	}
	if u.timeout > 0 {
		u.mu.Lock()
		if !u.answering {
			_ = u.conn.SetWriteDeadline(time.Now().Add(u.timeout))
		}
		u.mu.Unlock()
	}
	if _, u.backendErr = u.conn.Write(piece); u.backendErr != nil {
		u.sent()
	}
}

// sent starts the clock of the answer: the backend has got all it is going to get.
func (u *upload) sent() {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.answering || u.timeout <= 0 || u.clientErr != nil:
	case u.backendErr != nil && timedOut(u.backendErr):
		_ = u.conn.SetReadDeadline(past)
	default:
		_ = u.conn.SetReadDeadline(time.Now().Add(u.timeout))
	}
}

// abort gives the client up, and wakes whoever reads the answer.
func (u *upload) abort(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clientErr = err
	_ = u.conn.SetReadDeadline(past)
}

// clientFailure is why the client's body ended early, nil if it did not.
func (u *upload) clientFailure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.clientErr
}

// answered takes all deadlines off the connection: the answer's head is here.
func (u *upload) answered() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answering = true
	if u.clientErr != nil {
		return u.clientErr
	}
	return u.conn.SetDeadline(time.Time{})
}

// end ends the upload and waits for its goroutine. complete tells that the client has got a whole
// answer, which it shall be able to read. The result tells that the backend got the whole request,
// so that its connection can carry another one; otherwise the connection is closed.
func (u *upload) end(ctx *fasthttp.RequestCtx, complete bool) (reusable bool) {
	if u.whole.Load() {
		// Only the last write may be under way, and if it waits, the backend does not care for it.
		_ = u.conn.SetWriteDeadline(past)
		<-u.done
		return u.backendErr == nil && u.conn.SetDeadline(time.Time{}) == nil
	}
	u.conn.Close()
	deadline := past
	if complete {
		deadline = time.Now().Add(lingerTime)
		if client, ok := ctx.Conn().(interface{ CloseWrite() error }); ok {
			_ = client.CloseWrite() // the wait for a client that has gone is short
		}
	}
	// fasthttp takes the deadline off when it goes on with the connection.
	_ = ctx.SetReadDeadline(deadline)
	<-u.done
	return false
}
