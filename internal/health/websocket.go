package health

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/head"
)

// A WebSocket probe is what the proxy itself does, with its parts: a client from a library would take
// for good what the request path refuses, a folded header or a frame that breaks RFC 6455, and keep
// twice the buffers.

const (
	// maxSkipped is how many bytes of other frames may come before the Pong: a target may greet, or send
	// without pause.
	maxSkipped = 1 << 20

	// leaveTimeout is how long the target may take to answer a Close, within the time for a whole probe.
	// It has passed by then.
	leaveTimeout = time.Second
)

// webSocket makes a handshake, sends a Ping and waits for the Pong.
func (p *probe) webSocket() error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := p.requestHead("GET", "Connection", "Upgrade")
	request = head.AppendField(request, "Upgrade", "websocket")
	request = head.AppendField(request, "Sec-WebSocket-Version", "13")
	request = head.AppendField(request, "Sec-WebSocket-Key", key)
	if p.check.Subprotocol != "" {
		request = head.AppendField(request, "Sec-WebSocket-Protocol", p.check.Subprotocol)
	}
	r, err := p.ask(append(request, "\r\n"...))
	if err != nil {
		return err
	}
	if r.Status != 101 {
		return fmt.Errorf("status %d", r.Status)
	}
	if err := checkSwitch(&r, key, p.check.Subprotocol); err != nil {
		return fmt.Errorf("101: %w", err)
	}
	return p.ping()
}

// checkSwitch holds a 101 against what was asked for (RFC 6455 §4.1), as strictly as the request path
// does for a client that offers no extension.
func checkSwitch(r *head.Response, key, subprotocol string) error {
	if r.Minor != 1 {
		return errors.New("not HTTP/1.1")
	}
	var upgrade, connection, agreed bool
	accepts := 0
	for f := range head.Fields(r.Fields) {
		switch {
		case f.Is("Upgrade"):
			if upgrade = head.EqualFold(f.Value, "websocket"); !upgrade {
				return errors.New("field Upgrade is not websocket")
			}
		case f.Is("Connection"):
			for e := range head.Elements(f.Value) {
				connection = connection || head.EqualFold(e, "upgrade")
				if len(e) > len(handshakePrefix) && head.EqualFold(e[:len(handshakePrefix)], handshakePrefix) {
					return errors.New("field Connection names a field of the handshake")
				}
			}
		case f.Is("Sec-WebSocket-Accept"):
			if accepts++; string(f.Value) != acceptOf(key) {
				return errors.New("accept does not fit the key")
			}
		case f.Is("Sec-WebSocket-Protocol"):
			if agreed || subprotocol == "" || string(f.Value) != subprotocol {
				return errors.New("a subprotocol that was not offered")
			}
			agreed = true
		case f.Is("Sec-WebSocket-Extensions") && len(f.Value) > 0:
			return errors.New("an extension that was not offered")
		case f.Is("Transfer-Encoding"), f.Is("Content-Length") && string(f.Value) != "0":
			return errors.New("it has a body")
		}
	}
	switch {
	case !upgrade:
		return errors.New("no Upgrade")
	case !connection:
		return errors.New("field Connection has no upgrade")
	case accepts != 1:
		return fmt.Errorf("%d accepts, want one", accepts)
	case subprotocol != "" && !agreed:
		return errors.New("subprotocol not agreed to")
	}
	return nil
}

const handshakePrefix = "Sec-WebSocket-"

// acceptOf is the Sec-WebSocket-Accept that answers a key (RFC 6455 §4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// ping sends a Ping and reads frames up to its Pong.
func (p *probe) ping() error {
	var payload [frame.PingPayload]byte
	_, _ = rand.Read(payload[:])
	if _, err := p.conn.Write(frame.AppendPing(nil, &payload, newMask())); err != nil {
		return p.fault("send", "sending", err)
	}
	tracker := frame.New(false, frame.NoExtensions)
	want := 1 // bytes that must be there for the next step
	for skipped := 0; skipped < maxSkipped; {
		if _, err := p.br.Peek(want); err != nil {
			return p.fault("pong", "pong", err)
		}
		b, _ := p.br.Peek(p.br.Buffered())
		if tracker.AtBoundary() {
			size, maybe := frame.MatchPong(b, false, &payload)
			if size > 0 {
				_, _ = p.br.Discard(size)
				return nil
			}
			if maybe {
				want = len(b) + 1
				continue
			}
		}
		n, err := tracker.Next(b)
		switch {
		case err != nil:
			return fmt.Errorf("frame: %w", err)
		case n == 0: // within a header
			want = len(b) + 1
			continue
		case tracker.Closed():
			return fmt.Errorf("closed with %d before the pong", tracker.CloseCode())
		}
		_, _ = p.br.Discard(n)
		skipped += n
		want = 1
	}
	return fmt.Errorf("no pong within %d KiB of other frames", maxSkipped>>10)
}

// leave closes a WebSocket in good order (RFC 6455 §7.1.1), so that the target logs no error: it
// waits a moment for the answer, or the connection's end, and does not mind if there is none.
func (p *probe) leave() {
	if !p.hold(p.conn, time.Now().Add(min(leaveTimeout, p.check.Timeout))) {
		return
	}
	if _, err := p.conn.Write(frame.AppendClose(nil, 1000, "", newMask())); err != nil {
		return
	}
	tracker := frame.New(false, frame.NoExtensions)
	for want, skipped := 1, 0; skipped < maxSkipped && !tracker.Closed(); {
		if _, err := p.br.Peek(want); err != nil {
			return
		}
		b, _ := p.br.Peek(p.br.Buffered())
		n, err := tracker.Next(b)
		if err != nil {
			return
		}
		if want = 1; n == 0 {
			want = len(b) + 1
		}
		_, _ = p.br.Discard(n)
		skipped += n
	}
}

// newMask is a key that nobody can predict (RFC 6455 §5.3).
func newMask() *[4]byte {
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	return &mask
}
