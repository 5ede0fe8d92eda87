// Package upgrade makes a link of an HTTP request: it checks the client's opening handshake, asks a
// backend, checks what that answers, and hands both connections to the splice engine. No byte
// passes either way before a validated 101.
package upgrade

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// Why an opening handshake is refused before a backend is asked.
var (
	// ErrMethod is a handshake that is not GET (RFC 6455 §4.2.1).
	ErrMethod = errors.New("a websocket handshake is a GET request")

	// ErrVersion is a Sec-WebSocket-Version other than 13 (§4.2.2, §4.4).
	ErrVersion = errors.New("Sec-WebSocket-Version is not 13")

	// ErrHandshake is one that breaks RFC 6455 in another way; what wraps it says how.
	ErrHandshake = errors.New("bad websocket handshake")
)

// Handshake is what a client offers. Its slices are parts of the request.
type Handshake struct {
	key        []byte
	protocols  [][]byte
	extensions [][]byte // names without parameters
}

// Wanted reports whether a request is an opening handshake, good or bad: it asks for an upgrade to
// websocket. A request for any other protocol is answered without (RFC 9110 §7.8).
func Wanted(h *fasthttp.RequestHeader) bool {
	for f := range head.Fields(h.RawHeaders()) {
		if f.Is("Upgrade") && head.HasElement(f.Value, "websocket") {
			return true
		}
	}
	return false
}

// Check reads an opening handshake by RFC 6455 §4.2.1. The header must have passed front's gate.
func Check(h *fasthttp.RequestHeader) (hs Handshake, err error) {
	if !h.IsGet() {
		return hs, ErrMethod
	}
	if !h.IsHTTP11() {
		return hs, fmt.Errorf("%w: not HTTP/1.1", ErrHandshake)
	}
	var connection, closes bool
	var keys, versions [][]byte
	for f := range head.Fields(h.RawHeaders()) {
		switch {
		case f.Is("Connection"):
			connection = connection || head.HasElement(f.Value, "upgrade")
			closes = closes || head.HasElement(f.Value, "close")
		case f.Is("Transfer-Encoding"), f.Is("Content-Length") && !zero(f.Value):
			// What follows a handshake is frames. Reading it as a body, or a body as frames, is how
			// requests are smuggled.
			return hs, fmt.Errorf("%w: it has a body", ErrHandshake)
		case f.Is("Sec-WebSocket-Key"):
			keys = append(keys, f.Value)
		case f.Is("Sec-WebSocket-Version"):
			versions = append(versions, f.Value)
		case f.Is("Sec-WebSocket-Protocol"):
			for e := range head.Elements(f.Value) {
				hs.protocols = append(hs.protocols, e)
			}
		case f.Is("Sec-WebSocket-Extensions"):
			for e := range head.Elements(f.Value) {
				hs.extensions = append(hs.extensions, extensionName(e))
			}
		}
	}
	switch {
	case !connection:
		return hs, fmt.Errorf("%w: Connection has no upgrade; a proxy on the way may have dropped it", ErrHandshake)
	case closes:
		return hs, fmt.Errorf("%w: Connection has close", ErrHandshake)
	case len(versions) != 1 || string(versions[0]) != "13":
		return hs, ErrVersion
	case len(keys) != 1 || !validKey(keys[0]):
		return hs, fmt.Errorf("%w: Sec-WebSocket-Key is not 16 bytes in base64", ErrHandshake)
	}
	hs.key = keys[0]
	return hs, nil
}

// zero reports whether a Content-Length says that there is no body.
func zero(length []byte) bool { return len(bytes.Trim(length, "0")) == 0 }

func validKey(key []byte) bool {
	var raw [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key)
	return err == nil && n == 16
}

func extensionName(element []byte) []byte {
	name, _, _ := bytes.Cut(element, []byte(";"))
	return bytes.TrimRight(name, " \t")
}

// accept is the Sec-WebSocket-Accept that answers the key (RFC 6455 §4.2.2).
func (hs *Handshake) accept() string {
	h := sha1.New()
	h.Write(hs.key)
	h.Write([]byte("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
