package main

import (
	"encoding/binary"
	"fmt"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// maxHeader is the longest frame header: two bytes, a 64-bit length and a masking key.
const maxHeader = 14

// frameHeader is one frame header as read from the wire.
type frameHeader struct {
	fin    bool
	rsv    byte // the three reserved bits, shifted down
	op     byte
	masked bool
	key    uint32 // masking key, its first byte in the low bits
	length uint64
}

func (h *frameHeader) control() bool { return h.op >= opClose }

// appendHeader appends a frame header. key is used, and the mask bit set, only if masked.
func appendHeader(dst []byte, fin bool, op byte, length uint64, masked bool, key uint32) []byte {
	first, second := op, byte(0)
	if fin {
		first |= 0x80
	}
	if masked {
		second = 0x80
	}
	switch {
	case length < 126:
		dst = append(dst, first, second|byte(length))
	case length < 1<<16:
		dst = append(dst, first, second|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(length))
	default:
		dst = append(dst, first, second|127)
		dst = binary.BigEndian.AppendUint64(dst, length)
	}
	if masked {
		dst = binary.LittleEndian.AppendUint32(dst, key)
	}
	return dst
}

// appendClose appends a whole Close frame without a reason.
func appendClose(dst []byte, code uint16, masked bool, key uint32) []byte {
	dst = appendHeader(dst, true, opClose, 2, masked, key)
	at := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, code)
	if masked {
		xorMask(dst[at:], key, 0)
	}
	return dst
}

// headerReader collects a frame header that arrives in any pieces.
type headerReader struct {
	buf [maxHeader]byte
	n   uint8
}

// feed takes bytes of p up to the header's end and says how many. When the header is whole it stands
// in h, done is true and the reader is ready for the next one.
func (r *headerReader) feed(p []byte, h *frameHeader) (taken int, done bool) {
	for {
		need := r.need()
		if int(r.n) == need {
			r.parse(h)
			r.n = 0
			return taken, true
		}
		if taken == len(p) {
			return taken, false
		}
		n := copy(r.buf[r.n:need], p[taken:])
		r.n += uint8(n)
		taken += n
	}
}

// need returns how long the header is as far as its bytes so far tell.
func (r *headerReader) need() int {
	if r.n < 2 {
		return 2
	}
	need := 2
	switch r.buf[1] & 0x7F {
	case 126:
		need += 2
	case 127:
		need += 8
	}
	if r.buf[1]&0x80 != 0 {
		need += 4
	}
	return need
}

func (r *headerReader) parse(h *frameHeader) {
	b := r.buf[:r.n]
	*h = frameHeader{fin: b[0]&0x80 != 0, rsv: b[0] >> 4 & 7, op: b[0] & 0xF, masked: b[1]&0x80 != 0}
	h.length = uint64(b[1] & 0x7F)
	b = b[2:]
	switch h.length {
	case 126:
		h.length = uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	case 127:
		h.length = binary.BigEndian.Uint64(b)
		b = b[8:]
	}
	if h.masked {
		h.key = binary.LittleEndian.Uint32(b)
	}
}

// validate says what in a header breaks RFC 6455 §5.2 and §5.5. inMessage tells whether a fragmented
// message has begun; fromClient whether the frame must be masked.
func (h *frameHeader) validate(inMessage, fromClient bool) error {
	switch {
	case h.rsv != 0:
		return fmt.Errorf("frame with reserved bits %03b", h.rsv)
	case h.masked != fromClient:
		return fmt.Errorf("frame masked: %t, want %t", h.masked, fromClient)
	case h.length > 1<<62:
		return fmt.Errorf("frame of %d bytes", h.length)
	case h.control():
		if h.op > opPong {
			return fmt.Errorf("frame with opcode %#x", h.op)
		}
		if !h.fin || h.length > 125 {
			return fmt.Errorf("control frame %#x fragmented or of %d bytes", h.op, h.length)
		}
	case h.op > opBinary:
		return fmt.Errorf("frame with opcode %#x", h.op)
	case (h.op == opContinuation) != inMessage:
		return fmt.Errorf("frame with opcode %#x, inside a message: %t", h.op, inMessage)
	}
	return nil
}

// xorMask masks or unmasks p in place; pos is how far into the frame's payload p begins.
func xorMask(p []byte, key uint32, pos int) {
	if shift := pos & 3 * 8; shift != 0 {
		key = key>>shift | key<<(32-shift)
	}
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
		p = p[32:]
	}
	for i := range p {
		p[i] ^= byte(key >> (i & 3 * 8))
	}
}
