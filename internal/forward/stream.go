package forward

import (
	"errors"
	"fmt"
	"io"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
	"wsproxy/internal/sock"
)

// setBody arranges for the body of the answer: fasthttp calls WriteTo behind the head, and Close
// whatever happened.
func (x *exchange) setBody() {
	resp := &x.ctx.Response
	oldClient := !x.ctx.Request.Header.IsHTTP11()
	sending := x.upload != nil && !x.upload.whole.Load()
	if sending || oldClient && (x.body == chunked || x.body == untilClose) {
		// With this set, fasthttp does not look at the request's stream before it calls Close.
		resp.Header.SetConnectionClose()
	}

	resp.ResetBody()
	switch x.body {
	case noBody:
		resp.SkipBody = true
		x.complete = true
	case sized:
		x.complete = x.length == 0
		x.source = &sizedReader{br: x.br, left: x.length}
	case chunked:
		x.rechunk = !oldClient
		x.source = &chunkReader{br: x.br}
	case untilClose:
		x.rechunk = !oldClient
		x.source = x.br
	}

	switch {
	case x.complete && !sending:
		x.end()
		return
	case x.body == sized && x.length <= x.br.Buffered() && !sending:
		// Head and body leave in one write.
		x.buffered = true
	default:
		resp.ImmediateHeaderFlush = true
	}
	x.setStream(resp)
}

// setStream makes x the body of the answer without leaving its framing to fasthttp, which sends
// chunks to HTTP/1.0 clients and cuts the others into pieces of 4 KiB. A length of zero that is
// taken back leaves a body stream with no framing in the head but what stands there already.
func (x *exchange) setStream(resp *fasthttp.Response) {
	switch {
	case x.rechunk:
		resp.SetBodyStream(x, -1) // writes Transfer-Encoding
		resp.Header.Del(fasthttp.HeaderContentLength)
	case x.length >= 0:
		resp.SetBodyStream(x, x.length)
	default:
		resp.SetBodyStream(x, 0)
		resp.Header.Del(fasthttp.HeaderContentLength)
	}
}

// SupportsBodyWriteTo makes fasthttp call WriteTo.
func (x *exchange) SupportsBodyWriteTo() bool { return true }

// Read is there because a body stream is an io.Reader. fasthttp's server does not call it.
func (x *exchange) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// WriteTo writes the body of the answer to the client, and to w, fasthttp's buffer, only a body that
// is here already. After an error fasthttp closes the connection, and the client has a body without
// its end.
func (x *exchange) WriteTo(w io.Writer) (n int64, err error) {
	returned := false
	defer func() {
		// fasthttp recovers from a panic and lets its reader go before it closes the stream.
		if !returned {
			x.end()
		}
	}()
	if x.buffered {
		b, _ := x.br.Peek(x.length)
		m, werr := w.Write(b)
		_, _ = x.br.Discard(m)
		n, err = int64(m), werr
	} else if !x.complete {
		n, err = x.relay()
	}
	x.complete = err == nil
	returned = true
	if x.body != sized {
		// fasthttp compares with the length that it has been told.
		n = 0
	}
	return n, err
}

// relay writes what comes as it comes.
func (x *exchange) relay() (n int64, err error) {
	full := false
	for {
		if !full {
			// A stream that is silent holds no buffer but br. The read reports the error.
			_, _ = x.br.Peek(1)
		}
		m, readErr, writeErr := x.relayPiece()
		n += int64(m)
		switch {
		case writeErr != nil:
			return n, writeErr
		case readErr == io.EOF:
			return n, nil
		case readErr != nil:
			if !x.rechunk && x.body != sized {
				// Nothing else tells an HTTP/1.0 client that this is not the end of the body.
				sock.Reset(x.client)
			}
			return n, fmt.Errorf("relay answer of backend %s: %w", x.addr, readErr)
		}
		full = m >= x.br.Size()
	}
}

// relayPiece reads once and writes once.
func (x *exchange) relayPiece() (n int, readErr, writeErr error) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	n, readErr = x.source.Read(buf.payload())
	piece := buf.payload()[:n]
	if x.rechunk {
		piece = buf.chunk(n)
		if readErr == io.EOF {
			piece = x.appendEnd(piece)
		}
	}
	if len(piece) > 0 {
		_, writeErr = x.client.Write(piece)
	}
	return n, readErr, writeErr
}

// appendEnd appends the last chunk and the trailer section. Trailers are passed on whether they were
// announced or not, but for those that have no place there (RFC 9110 §6.5.1).
func (x *exchange) appendEnd(b []byte) []byte {
	b = append(b, "0\r\n"...)
	if c, ok := x.source.(*chunkReader); ok {
		for f := range head.Fields(c.trailers) {
			if x.ctx.Response.Header.AddTrailerBytes(f.Name) == nil && !head.HopByHop(f.Name) {
				b = head.AppendField(b, f.Name, f.Value)
			}
		}
	}
	return append(b, "\r\n"...)
}

// Close ends the exchange. fasthttp calls it behind WriteTo and before it touches the request again,
// or without WriteTo when the response is replaced or cannot be written.
func (x *exchange) Close() error {
	x.end()
	return nil
}

// end waits for the upload, lets the connection and the reader go, and does nothing when it is
// called again.
func (x *exchange) end() {
	if x.over {
		return
	}
	x.over = true
	if x.conn != nil {
		keep := x.keep && x.complete && !x.once && x.br.Buffered() == 0
		if x.upload != nil {
			keep = x.upload.end(x.ctx, x.complete) && keep
		}
		if keep {
			x.transport.put(x.conn)
		} else {
			x.conn.Close()
		}
	}
	switch {
	case x.release != nil:
		x.release()
	case x.br != nil:
		x.br.Reset(nil)
		x.transport.readers.Put(x.br)
	}
}
