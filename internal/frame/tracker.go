// Package frame is RFC 6455 framing as arithmetic: where frames begin and end in a stream that
// arrives in any pieces, and the few frames a proxy sends of its own. It does no I/O, starts no
// goroutine and never touches a payload.
package frame

import (
	"encoding/binary"
	"errors"
)

// MaxHead is the most that Tracker.Next ever leaves for later: the longest frame header but one
// byte (RFC 6455 §5.2).
const MaxHead = 2 + 8 + 4 - 1

// Opcodes (RFC 6455 §11.8).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// Bits of a frame's first two bytes.
const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitsRSV = 0x70
	bitMask = 0x80
)

// Violations of RFC 6455 that a Tracker reports. The sender of such a stream gets Close 1002.
var (
	ErrMasked         = errors.New("masked frame from a server")                      // §5.1
	ErrUnmasked       = errors.New("unmasked frame from a client")                    // §5.1
	ErrReserved       = errors.New("reserved bit that no extension gives a meaning")  // §5.2
	ErrOpcode         = errors.New("unknown opcode")                                  // §5.2
	ErrLength         = errors.New("payload length with the top bit set")             // §5.2
	ErrControlLength  = errors.New("control frame longer than 125 bytes")             // §5.5
	ErrControlPart    = errors.New("fragmented control frame")                        // §5.5
	ErrClosePayload   = errors.New("close frame with a payload of one byte")          // §5.5.1
	ErrNoContinuation = errors.New("new message before the last fragment of another") // §5.4
	ErrNoMessage      = errors.New("continuation of no message")                      // §5.4
	errIncomplete     = errors.New("header incomplete; never leaves this package")    //
)

// What a Tracker's Limits forbid. The sender of such a stream gets Close 1009.
var (
	ErrFrameSize   = errors.New("frame larger than allowed")
	ErrMessageSize = errors.New("message larger than allowed")
)

// Limits are what a Tracker enforces beside RFC 6455, or instead of it. Sizes are payload bytes as
// they are on the wire: what permessage-deflate makes of them is not looked at. The zero value
// forbids nothing.
type Limits struct {
	// MaxFrame is the largest frame, control frames included, and MaxMessage the largest message,
	// all its fragments together. Zero means no limit.
	MaxFrame, MaxMessage uint64

	// Lenient leaves RFC 6455's rules to the two ends: only lengths are followed, and Close frames
	// noticed. A length with the top bit set is refused all the same, since it leads nowhere.
	Lenient bool
}

// Extensions says what the opening handshake agreed on, as far as framing is concerned.
type Extensions uint8

const (
	// NoExtensions leaves every reserved bit and opcode without a meaning.
	NoExtensions Extensions = iota
	// Deflate is permessage-deflate alone: RSV1 on the first frame of a message (RFC 7692 §6).
	Deflate
	// Unknown is any other: only the two ends know what reserved bits and opcodes mean.
	Unknown
)

// Tracker follows the frames of one direction of a link. Its zero value follows a server's frames
// without extensions; New makes the others. It holds no memory beyond itself and may be copied.
type Tracker struct {
	// Fixed at creation. The order of all fields keeps the Tracker small.
	limits     *Limits // nil for none
	fromClient bool
	extensions Extensions

	// Where the stream stands.
	fragmented bool   // a data message awaits its continuation
	finishes   bool   // the frame under way ends a data message
	closing    bool   // the frame under way is a Close
	closed     bool   // a Close has passed whole
	code       uint16 // of the Close
	left       uint64 // payload bytes still to come of the frame under way
	size       uint64 // of the data message under way, its frame under way included

	// What has passed whole.
	frames, messages uint64
}

// New makes the Tracker of a direction: a client's frames are masked, a backend's are not.
func New(fromClient bool, extensions Extensions) Tracker {
	return Tracker{fromClient: fromClient, extensions: extensions}
}

// Restrict makes the Tracker enforce limits, which it shares with whoever else has them; nil for
// none. Call it before the first byte.
func (t *Tracker) Restrict(limits *Limits) { t.limits = limits }

// Next follows the stream to the end of the frame under way, or of p if that comes first, and
// returns how many bytes of p that is. It returns 0 and no error when p ends inside a frame's
// header (a Close frame's status code counts as part of it): the caller keeps those at most
// MaxHead bytes and gives them again with what follows. After an error, which always concerns a
// header none of which has been counted as passed, the stream cannot be followed any further.
func (t *Tracker) Next(p []byte) (n int, err error) {
	if t.left == 0 {
		n, err = t.header(p)
		if err == errIncomplete {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
	part := min(t.left, uint64(len(p)-n))
	t.left -= part
	n += int(part)
	if t.left == 0 {
		t.frameEnds()
	}
	return n, nil
}

// Left is how many bytes of the frame under way are still to come, all of them payload.
func (t *Tracker) Left() uint64 { return t.left }

// Skip follows the stream over n bytes, at most Left, without their being looked at.
func (t *Tracker) Skip(n uint64) {
	if t.left -= n; n > 0 && t.left == 0 {
		t.frameEnds()
	}
}

// header reads and checks the header at the start of p, and takes the status code of a Close
// frame with it. It returns the header's size; the code is part of the payload.
func (t *Tracker) header(p []byte) (size int, err error) {
	if len(p) < 2 {
		return 0, errIncomplete
	}
	fin, opcode := p[0]&bitFin != 0, p[0]&0x0f
	masked, length := p[1]&bitMask != 0, uint64(p[1]&^bitMask)
	if t.limits == nil || !t.limits.Lenient {
		if err := t.checkOpening(p[0], fin, opcode); err != nil {
			return 0, err
		}
		if err := t.checkSecond(fin, opcode, masked, length); err != nil {
			return 0, err
		}
	}

	size = 2
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	lengthEnd := size
	if masked {
		size += 4
	}
	if len(p) < size {
		return 0, errIncomplete
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if length = binary.BigEndian.Uint64(p[2:]); length>>63 != 0 {
			return 0, ErrLength
		}
	}
	if t.limits != nil {
		if err := t.checkSize(opcode, length); err != nil {
			return 0, err
		}
	}
	if t.closing = opcode == opClose; t.closing && length > 1 {
		if len(p) < size+2 {
			return 0, errIncomplete
		}
		t.code = binary.BigEndian.Uint16(p[size:])
		if masked {
			t.code ^= binary.BigEndian.Uint16(p[lengthEnd:])
		}
	}

	t.left = length
	t.finishes = opcode <= opBinary && fin
	if opcode <= opBinary {
		t.fragmented = !fin
		if opcode != opContinuation {
			t.size = 0 // a message that a lenient end never finished
		}
		t.size += length
	}
	return size, nil
}

// checkOpening checks what the first byte of a frame says against what came before.
func (t *Tracker) checkOpening(b byte, fin bool, opcode byte) error {
	if t.extensions != Unknown {
		allowed := byte(0)
		if t.extensions == Deflate && (opcode == opText || opcode == opBinary) {
			allowed = bitRSV1
		}
		if b&bitsRSV&^allowed != 0 {
			return ErrReserved
		}
		if opcode > opBinary && opcode < opClose || opcode > opPong {
			return ErrOpcode
		}
	}
	switch {
	case opcode == opContinuation && !t.fragmented:
		return ErrNoMessage
	case (opcode == opText || opcode == opBinary) && t.fragmented:
		return ErrNoContinuation
	}
	return nil
}

// checkSecond checks what the second byte of a frame says.
func (t *Tracker) checkSecond(fin bool, opcode byte, masked bool, length uint64) error {
	switch {
	case masked && !t.fromClient:
		return ErrMasked
	case !masked && t.fromClient:
		return ErrUnmasked
	case opcode < opClose || opcode > opPong:
		return nil
	case length > 125:
		return ErrControlLength
	case !fin:
		return ErrControlPart
	case opcode == opClose && length == 1:
		return ErrClosePayload
	}
	return nil
}

// checkSize holds a frame against the limits before any of it has passed.
func (t *Tracker) checkSize(opcode byte, length uint64) error {
	if most := t.limits.MaxFrame; most > 0 && length > most {
		return ErrFrameSize
	}
	most := t.limits.MaxMessage
	if most == 0 || opcode > opBinary {
		return nil
	}
	if opcode == opContinuation {
		most -= min(most, t.size)
	}
	if length > most {
		return ErrMessageSize
	}
	return nil
}

func (t *Tracker) frameEnds() {
	t.frames++
	if t.finishes {
		t.messages++
		t.finishes, t.size = false, 0
	}
	if t.closing {
		t.closing, t.closed = false, true
	}
}

// BeginsMessage reports whether a frame that begins with b is the first of a text or binary message.
func BeginsMessage(b byte) bool {
	opcode := b & 0x0f
	return opcode == opText || opcode == opBinary
}

// AtBoundary reports whether the stream stands between two frames: where a control frame may be
// put in, also between the fragments of a message (RFC 6455 §5.4).
func (t *Tracker) AtBoundary() bool { return t.left == 0 }

// Closed reports whether a Close frame has passed whole. Nothing behind it means anything
// (RFC 6455 §5.5.1), and none of it should be given to Next.
func (t *Tracker) Closed() bool { return t.closed }

// CloseCode is the status code of the Close frame that has passed: NoStatus when it had none, 0
// when none has passed.
func (t *Tracker) CloseCode() uint16 {
	if t.closed && t.code == 0 {
		return NoStatus
	}
	if !t.closed {
		return 0
	}
	return t.code
}

// Frames is how many frames have passed whole, control frames included.
func (t *Tracker) Frames() uint64 { return t.frames }

// Messages is how many text and binary messages have passed whole.
func (t *Tracker) Messages() uint64 { return t.messages }
