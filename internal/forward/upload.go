package forward

import (
	"io"
	"sync/atomic"
	"time"

	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
)

// past is a deadline that makes waiting reads and writes return.
var past = time.Unix(1, 0)

// upload carries a body to the backend on a goroutine of its own, while the answer is awaited and brought.
//
//	sending → discarding → ended    the backend takes no more: the client may read only when it has sent all
//	        → ended                 the body's end; the client's failure; end
//
// Nobody else may read from the client until done is closed.
type upload struct {
	// Fixed at creation.
	x    *exchange
	body *inbound.Body
	done chan struct{} // closed when the goroutine has ended

	whole   atomic.Bool // the body has been read to its end
	hurried atomic.Bool // nobody waits for the last write any more

	// Owned by the goroutine until done is closed.
	backendErr error // why the backend got no more
}

func startUpload(x *exchange) *upload {
	u := &upload{x: x, body: x.client.Body(), done: make(chan struct{})}
	if x.expects {
		// The body may never come if the backend says nothing.
		x.bound(x.answer.ResponseTimeout)
	} else {
		x.waits(false)
	}
	go u.run()
	return u
}

// run sends the body piece by piece as it comes.
func (u *upload) run() {
	defer close(u.done)
	defer func() {
		// No handler's recover stands above this goroutine.
		if fault := recover(); fault != nil {
			u.x.giveUp(errPanic)
		}
	}()
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	chunked := u.body.Length() < 0
	for begun := !u.x.expects; ; {
		n, err := u.body.Read(buf.payload())
		if !begun && n > 0 {
			begun = true
			u.x.waits(false) // no longer for the word to go on
		}
		piece := buf.payload()[:n]
		if chunked {
			piece = buf.chunk(n)
		}
		if err != nil && err != io.EOF {
			u.x.giveUp(err)
			return
		}
		if err == io.EOF {
			if chunked {
				piece = appendTrailers(append(piece, "0\r\n"...), u.body.Trailers())
			}
			// Before the backend can know: it may answer at once.
			u.whole.Store(true)
			u.x.client.Attend(u.x)
		}
		u.send(piece)
		if err == io.EOF {
			u.sent()
			return
		}
	}
}

// appendTrailers appends the trailer section of a request. A backend that takes trailers for fields must
// not find one there that is the proxy's to set.
func appendTrailers(dst, trailers []byte) []byte {
	for f := range head.Fields(trailers) {
		if !head.Reserved(f.Name) && trailing(f.Name) {
			dst = head.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}

// trailing reports whether a field may stand in a trailer section: none may that frames a message, says
// where it goes or who sent it, or belongs to a connection (RFC 9110 §6.5.1).
func trailing(name []byte) bool {
	if head.HopByHop(name) {
		return false
	}
	for _, not := range [...]string{
		"Content-Length", "Host", "Authorization", "Cookie", "Set-Cookie", "Cache-Control", "Expect", "Max-Forwards", "Pragma", "Range",
		"Content-Encoding", "Content-Type", "Content-Range", "Location", "Age", "Date", "Expires", "Vary", "WWW-Authenticate",
	} {
		if head.EqualFold(name, not) {
			return false
		}
	}
	return true
}

// send writes a piece of the body unless the backend takes no more.
func (u *upload) send(piece []byte) {
	if u.backendErr != nil || len(piece) == 0 {
		return
	}
	if !u.whole.Load() {
		// While the backend takes nothing, nobody reads from the client either.
		u.x.client.Attend(u.x)
		defer u.x.client.Unattend()
	}
	if timeout := u.x.answer.ResponseTimeout; timeout > 0 {
		_ = u.x.conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	if u.hurried.Load() {
		_ = u.x.conn.SetWriteDeadline(past)
	}
	if _, u.backendErr = u.x.conn.Write(piece); u.backendErr != nil {
		u.sent()
	}
}

// sent starts the clock of the answer: the backend has got all it is going to get.
func (u *upload) sent() {
	x := u.x
	x.waits(true)
	if u.backendErr == nil || !timedOut(u.backendErr) {
		return
	}
	// It has had its time.
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.here && x.cause == nil {
		_ = x.conn.SetReadDeadline(past)
	}
}

// end ends the upload and waits for its goroutine. The result tells that the backend got the whole
// request, so that its connection can carry another one.
func (u *upload) end() (reusable bool) {
	if u.whole.Load() {
		// Only the last write may be under way, and if it waits, the backend does not care for it.
		u.hurried.Store(true)
		_ = u.x.conn.SetWriteDeadline(past)
		<-u.done
		return u.backendErr == nil
	}
	u.x.conn.Close()
	u.x.client.Interrupt()
	<-u.done
	return false
}
