package upgrade

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/frame"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/internal/sock"
	"wsproxy/routing"
)

// Answer is a backend's answer to an opening handshake, with the connection it came on: a checked
// 101, or a refusal. Exactly one of Upgrader.Link, Take and Close ends its use.
type Answer struct {
	conn     net.Conn
	br       *bufio.Reader // the head is still unread
	response head.Response

	extensions frame.Extensions
	left       atomic.Bool // the client has, before the answer came
}

// Status is the answer's status code: 101, or what the backend refuses with.
func (a *Answer) Status() int { return a.response.Status }

// Take gives the connection and the reader on it, whose next byte is the first of the answer, to
// the caller, who calls release when the reader is not used any more.
func (a *Answer) Take() (conn net.Conn, br *bufio.Reader, release func()) {
	br = a.br
	a.br = nil
	return a.conn, br, func() { putReader(br) }
}

// Close drops the connection: a backend that has agreed to a handshake is never asked again on it.
func (a *Answer) Close() {
	a.conn.Close()
	putReader(a.br)
}

// maxInterim is how many 1xx answers may come before the one that counts.
const maxInterim = 8

// Ask sends a handshake to a backend and waits for its answer, under the route's timeouts: that for
// dialling covers TLS and ends when the handshake has been sent, then begins that for the answer. preface
// goes before it all, see dial.Request. The connection to it lives where client's does, so that one loop
// can have both. The error wraps one of routing's, or is ErrClientGone.
func (u *Upgrader) Ask(client *inbound.Conn, route *routing.Route, b *routing.Backend, hs *Handshake, req *head.Request, preface []byte) (*Answer, error) {
	if err := sock.Watch(client); err != nil {
		return nil, ErrClientGone
	}
	buf := headBuffers.Get().(*[]byte)
	*buf = req.Append((*buf)[:0])
	conn, err := u.cfg.Dialer.Dial(b, dial.Request{
		Home: sock.HomeOf(client), Timeout: route.DialTimeout, Preface: preface, First: *buf,
		Sources: route.Sources(),
	})
	headBuffers.Put(buf)
	if err != nil {
		return nil, err
	}
	a := &Answer{conn: conn, br: u.getReader(conn)}
	if err := a.await(client, b, route.HandshakeTimeout, hs); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// await reads the answer, as long as the client waits for it.
func (a *Answer) await(client *inbound.Conn, b *routing.Backend, timeout time.Duration, hs *Handshake) error {
	if err := a.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return askError("ask", b, err, routing.ErrDial)
	}
	client.Attend(a)
	err := a.read(b, hs)
	client.Unattend()
	if a.left.Load() {
		return ErrClientGone
	}
	return err
}

// ClientLeft ends the wait, as inbound asks for it.
func (a *Answer) ClientLeft() {
	a.left.Store(true)
	_ = a.conn.SetReadDeadline(time.Unix(1, 0))
}

// read reads the answer, but for interim ones, and takes the deadline away.
func (a *Answer) read(b *routing.Backend, hs *Handshake) (err error) {
	for range maxInterim + 1 {
		if a.response, err = head.PeekResponse(a.br); err != nil {
			return askError("read answer of", b, err, routing.ErrAnswer)
		}
		if a.response.Status == 101 {
			if err := a.check(hs); err != nil {
				return fmt.Errorf("101 of backend %s: %w: %w", b.Addr, routing.ErrAnswer, err)
			}
			return a.conn.SetReadDeadline(time.Time{})
		}
		if a.response.Status >= 200 {
			return a.conn.SetReadDeadline(time.Time{})
		}
		if _, err := a.br.Discard(a.response.Size); err != nil {
			return askError("read answer of", b, err, routing.ErrAnswer)
		}
	}
	return fmt.Errorf("answer of backend %s: %w: too many 1xx", b.Addr, routing.ErrAnswer)
}

// askError says what went wrong with a backend; whatever it was, a timeout is one.
func askError(operation string, b *routing.Backend, err, kind error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		kind = routing.ErrTimeout
	}
	return fmt.Errorf("%s backend %s: %w: %w", operation, b.Addr, kind, err)
}

// check holds a 101 against what was offered (RFC 6455 §4.1): one that a client must refuse is
// refused here, while an error can still be answered.
func (a *Answer) check(hs *Handshake) error {
	var upgrade, connection bool
	accepts, protocols := 0, 0
	if a.response.Minor != 1 {
		return errors.New("not HTTP/1.1")
	}
	for f := range head.Fields(a.response.Fields) {
		switch {
		case f.Is("Upgrade"):
			if !head.EqualFold(f.Value, "websocket") {
				return errors.New("field Upgrade is not websocket")
			}
			upgrade = true
		case f.Is("Connection"):
			for e := range head.Elements(f.Value) {
				connection = connection || head.EqualFold(e, "upgrade")
				if handshakeField(e) {
					return errors.New("field Connection names a field that is not the backend's to drop")
				}
			}
		case f.Is("Sec-WebSocket-Accept"):
			if accepts++; string(f.Value) != hs.accept() {
				return errors.New("Sec-WebSocket-Accept does not fit the key")
			}
		case f.Is("Sec-WebSocket-Protocol"):
			if protocols++; !offered(hs.protocols, f.Value) {
				return errors.New("a subprotocol that the client did not offer")
			}
		case f.Is("Sec-WebSocket-Extensions"):
			for e := range head.Elements(f.Value) {
				if !offered(hs.extensions, extensionName(e)) {
					return errors.New("an extension that the client did not offer")
				}
				a.agree(extensionName(e))
			}
		case f.Is("Transfer-Encoding"), f.Is("Content-Length") && !zero(f.Value):
			return errors.New("it has a body")
		}
	}
	switch {
	case !upgrade:
		return errors.New("no Upgrade")
	case !connection:
		return errors.New("field Connection has no upgrade")
	case accepts != 1:
		return fmt.Errorf("%d Sec-WebSocket-Accept, want one", accepts)
	case protocols > 1:
		return errors.New("more than one subprotocol")
	}
	return nil
}

// offered compares as the client will: case counts, and a client fails a link over the difference.
func offered(offers [][]byte, answer []byte) bool {
	return slices.ContainsFunc(offers, func(offer []byte) bool { return bytes.Equal(offer, answer) })
}

// handshakeField reports whether a field is one of the opening handshake's.
func handshakeField(name []byte) bool {
	const prefix = "Sec-WebSocket-"
	return len(name) > len(prefix) && head.EqualFold(name[:len(prefix)], prefix)
}

// agree notes what an agreed extension means for framing.
func (a *Answer) agree(name []byte) {
	if string(name) == "permessage-deflate" && a.extensions == frame.NoExtensions {
		a.extensions = frame.Deflate
		return
	}
	a.extensions = frame.Unknown
}

// early are the bytes that came behind the 101, copied: the reader goes back to its pool.
func (a *Answer) early() []byte {
	_, _ = a.br.Discard(a.response.Size) // it has been peeked whole
	b, _ := a.br.Peek(a.br.Buffered())
	return bytes.Clone(b)
}

var headBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// readers are pooled by the size of an Upgrader's head limit, which a reload does not change for
// the ones in use: putReader drops those of another size.
func (u *Upgrader) getReader(conn net.Conn) *bufio.Reader {
	if br, ok := readers.Get().(*bufio.Reader); ok && br.Size() == u.cfg.HeaderSize {
		br.Reset(conn)
		return br
	}
	return bufio.NewReaderSize(conn, u.cfg.HeaderSize)
}

func putReader(br *bufio.Reader) {
	br.Reset(nil)
	readers.Put(br)
}

var readers sync.Pool
