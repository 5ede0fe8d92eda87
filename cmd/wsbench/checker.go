package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// event is what the checker found at the end of a frame.
type event uint8

const (
	evNone    event = iota // nothing yet, feed on
	evMessage              // a message ended; fault says what was wrong with it, if anything
	evPing                 // control holds the payload
	evPong
	evClose  // control holds code and reason
	evBroken // the stream breaks the protocol, fault says how; nothing behind it can be read
)

// faultKind sorts what can go wrong with an echo, an answer or an event.
type faultKind string

const (
	faultCorrupt   faultKind = "corrupt"   // other bytes, or another length
	faultMissing   faultKind = "missing"   // never came, though a later one did or the run ended
	faultDuplicate faultKind = "duplicate" // came again
	faultForeign   faultKind = "foreign"   // another link's message
	faultLate      faultKind = "late"      // did not come within the timeout
	faultEnded     faultKind = "ended"     // the link ended though nobody asked for it
	faultStatus    faultKind = "status"    // an answer with another status than 200
	faultProtocol  faultKind = "protocol"  // what came is not RFC 6455, or RFC 9112
)

// fault is one thing that went wrong; n counts the messages it concerns.
type fault struct {
	kind faultKind
	n    int
	text string
}

// checker reads what a server sends on one link, in any pieces, and compares each message with the
// one expected next. It copies nothing but message heads and control frames.
type checker struct {
	msgs *messages
	id   uint32

	want uint64 // number of the message expected next
	sent uint64 // messages sent so far: no number from here on can be right

	frame   headerReader
	header  frameHeader
	inFrame bool
	left    uint64 // payload bytes of this frame still to come

	inMessage bool
	pos       int // bytes of this message so far
	head      [payloadHead]byte
	body      []byte // what must follow the head; nil when the head is wrong
	answers   bool   // this message answers number want, rightly or not

	control []byte
	fault   fault // of the event just returned, kind "" if none
}

// next reads from p up to the next event and says how many bytes that took.
func (c *checker) next(p []byte) (int, event) {
	if !c.inFrame {
		n, done := c.frame.feed(p, &c.header)
		if !done {
			return n, evNone
		}
		if err := c.header.validate(c.inMessage, false); err != nil {
			c.fault = fault{faultProtocol, 1, err.Error()}
			return n, evBroken
		}
		c.beginFrame()
		if c.left == 0 {
			return n, c.endFrame()
		}
		return n, evNone
	}
	n := len(p)
	if uint64(n) > c.left {
		n = int(c.left)
	}
	if c.header.control() {
		c.control = append(c.control, p[:n]...)
	} else {
		c.compare(p[:n])
	}
	c.left -= uint64(n)
	if c.left == 0 {
		return n, c.endFrame()
	}
	return n, evNone
}

func (c *checker) beginFrame() {
	c.inFrame, c.left = true, c.header.length
	if c.header.control() {
		c.control = c.control[:0]
		return
	}
	if !c.inMessage {
		c.inMessage, c.pos, c.body, c.answers = true, 0, nil, true
		c.fault = fault{}
		if c.header.op != opBinary {
			c.blame(faultCorrupt, "opcode %#x, want %#x", c.header.op, opBinary)
		}
	}
}

func (c *checker) endFrame() event {
	c.inFrame = false
	switch c.header.op {
	case opPing:
		return evPing
	case opPong:
		return evPong
	case opClose:
		return evClose
	}
	if !c.header.fin {
		return evNone
	}
	c.inMessage = false
	if c.pos != c.msgs.size {
		c.blame(faultCorrupt, "%d bytes long, want %d", c.pos, c.msgs.size)
	}
	if c.answers {
		c.want++
	}
	return evMessage
}

// compare checks the next bytes of the current message.
func (c *checker) compare(p []byte) {
	if c.pos < payloadHead {
		n := copy(c.head[c.pos:], p)
		c.pos += n
		p = p[n:]
		if c.pos < payloadHead {
			return
		}
		c.judgeHead()
	}
	at := c.pos - payloadHead
	c.pos += len(p)
	if c.body == nil || len(p) == 0 {
		return
	}
	if at+len(p) > len(c.body) {
		p = p[:max(0, len(c.body)-at)] // too long: endFrame says so
		if len(p) == 0 {
			return
		}
	}
	if want := c.body[at : at+len(p)]; !bytes.Equal(p, want) {
		i := 0
		for p[i] == want[i] {
			i++
		}
		c.blame(faultCorrupt, "byte %d is %#02x, want %#02x", payloadHead+at+i, p[i], want[i])
	}
}

// judgeHead decides which message this is, and whether it is the one expected.
func (c *checker) judgeHead() {
	nonce := binary.BigEndian.Uint32(c.head[0:])
	id := binary.BigEndian.Uint32(c.head[4:])
	seq := binary.BigEndian.Uint64(c.head[8:])
	switch {
	case nonce != c.msgs.nonce || (id == c.id && seq >= c.sent):
		c.blame(faultCorrupt, "head %x, want run %08x, link %d", c.head, c.msgs.nonce, c.id)
	case id != c.id:
		c.answers = false
		c.blame(faultForeign, "it is message %d of link %d", seq, id)
	case seq < c.want:
		c.answers = false
		c.blame(faultDuplicate, "message %d came again", seq)
	case seq > c.want:
		c.fault = fault{faultMissing, int(seq - c.want),
			fmt.Sprintf("link %d: message %d missing: message %d came instead", c.id, c.want, seq)}
		c.want = seq
	}
	if c.fault.kind != "" && c.fault.kind != faultMissing {
		return
	}
	c.body = c.msgs.body(id, seq)
}

// blame records the first fault of a message.
func (c *checker) blame(kind faultKind, format string, args ...any) {
	if c.fault.kind != "" {
		return
	}
	what := fmt.Sprintf(format, args...)
	c.fault = fault{kind, 1, fmt.Sprintf("link %d: message %d: %s", c.id, c.want, what)}
}
