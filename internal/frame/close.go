package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// Status codes of Close frames that wsproxy sends or names (RFC 6455 §7.4.1 and the IANA registry
// of WebSocket close codes).
const (
	GoingAway     = 1001 // this end shuts down, or the other end of the link went away
	ProtocolError = 1002 // what the receiver sent is not RFC 6455
	NoStatus      = 1005 // a Close without a code; never sent
	Policy        = 1008 // the receiver sends more often than it may
	TooBig        = 1009 // the receiver sent a frame or message that is too large
	Restart       = 1012 // its route or its backend is no more; coming back finds another
	TryAgain      = 1013 // there is too much to do
	BadGateway    = 1014 // the backend ended without a Close
)

// MaxClose is the size of the largest frame that AppendClose makes.
const MaxClose = 2 + 4 + maxControl

// maxControl is the largest payload of a control frame (RFC 6455 §5.5).
const maxControl = 125

// AppendClose appends a Close frame with a status code and a reason to dst. With a mask it is a
// client's frame, which must be masked with a key nobody can predict (RFC 6455 §5.3); nil makes a
// server's. The reason is UTF-8; the characters that would not fit into a control frame are cut off.
func AppendClose(dst []byte, code uint16, reason string, mask *[4]byte) []byte {
	if cut := maxControl - 2; len(reason) > cut {
		for !utf8.RuneStart(reason[cut]) {
			cut-- // half a character would make the whole frame invalid (§5.5.1, §8.1)
		}
		reason = reason[:cut]
	}
	dst = append(dst, bitFin|opClose, byte(2+len(reason)))
	if mask != nil {
		dst[len(dst)-1] |= bitMask
		dst = append(dst, mask[:]...)
	}
	payload := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = append(dst, reason...)
	if mask != nil {
		for i := range dst[payload:] {
			dst[payload+i] ^= mask[i%4]
		}
	}
	return dst
}
