package splice

import (
	"crypto/rand"

	"wsproxy/internal/frame"
)

// A driver reads into a buffer behind headroom and leaves tailroom free, so that a pipe can put
// what it held back before the new bytes, and a Close frame behind them, without a copy of either.
const (
	headroom = frame.MaxHead
	tailroom = frame.MaxClose
)

// farewell is a Close frame that a pipe is to send at its next frame boundary. The zero value is
// none.
type farewell struct {
	code   uint16
	reason string
}

// pipe is one direction of a link: it decides what of the bytes read from one end is written to
// the other. It does no I/O; whoever owns the link calls it.
//
//	flowing → over: a Close frame has passed, or the pipe's own has been sent (RFC 6455 §5.5.1), or
//	    nothing more can be written (broken)
//	flowing, over → lost: the stream broke RFC 6455 and cannot be followed any further
//	any → ended: nothing more will be read
//
// What is read once the pipe is over passes no more. It is read and followed all the same: for the
// end's own Close, and because an end that is closed with bytes unread is reset, and with it what
// it has not received yet.
type pipe struct {
	// Fixed at creation.
	toBackend bool

	// Owned by whoever owns the link.
	tracker                   frame.Tracker
	held                      [headroom]byte // the part of a header that has come
	heldSize                  uint8
	bye                       farewell
	over, broken, lost, ended bool

	// What has passed: bytes with the pipe's own Close, and, once it is over, whole frames and
	// messages. Until then the tracker knows.
	bytes, frames, messages uint64
}

// pass takes n bytes that have been read into buf behind headroom, and returns what is to be
// written: a part of buf, valid until the next call. An error is a violation of RFC 6455; what
// came before it is returned as well.
func (p *pipe) pass(buf []byte, n int) (out []byte, err error) {
	in := buf[headroom-int(p.heldSize) : headroom+n]
	copy(in, p.held[:p.heldSize])
	p.heldSize = 0

	followed, passed, leaving := 0, 0, false
	for followed < len(in) && !p.lost && !p.tracker.Closed() {
		if p.due() {
			leaving = true
			p.finish()
		}
		var step int
		if step, err = p.tracker.Next(in[followed:]); err != nil {
			p.lost = true
			break
		}
		if step == 0 {
			p.heldSize = uint8(copy(p.held[:], in[followed:]))
			break
		}
		followed += step
		if !p.over {
			passed = followed
		}
	}
	if p.tracker.Closed() {
		p.finish()
	}
	p.bytes += uint64(passed)
	out = in[:passed]
	if leaving {
		return p.appendClose(out), err
	}
	return p.bid(out), err
}

// due reports whether the pipe's own Close is to be sent now.
func (p *pipe) due() bool { return p.bye.code != 0 && !p.over && p.tracker.AtBoundary() }

// bid appends the pipe's own Close to out, which has room for it, when it is due.
func (p *pipe) bid(out []byte) []byte {
	if !p.due() {
		return out
	}
	p.finish()
	return p.appendClose(out)
}

// finish makes the pipe over: nothing that is read from now on has passed.
func (p *pipe) finish() {
	if !p.over {
		p.over = true
		p.frames, p.messages = p.tracker.Frames(), p.tracker.Messages()
	}
}

func (p *pipe) count() Count {
	if !p.over {
		return Count{Bytes: p.bytes, Frames: p.tracker.Frames(), Messages: p.tracker.Messages()}
	}
	return Count{Bytes: p.bytes, Frames: p.frames, Messages: p.messages}
}

func (p *pipe) appendClose(out []byte) []byte {
	size := len(out)
	if p.toBackend {
		var mask [4]byte
		_, _ = rand.Read(mask[:]) // never fails
		out = frame.AppendClose(out, p.bye.code, p.bye.reason, &mask)
	} else {
		out = frame.AppendClose(out, p.bye.code, p.bye.reason, nil)
	}
	p.bytes += uint64(len(out) - size)
	return out
}

// heard reports whether the end this pipe reads from has nothing left to say.
func (p *pipe) heard() bool { return p.tracker.Closed() || p.lost || p.ended }

// gone reports whether one of the pipe's ends has gone: it ended or broke.
func (p *pipe) gone() bool { return p.ended || p.broken }
