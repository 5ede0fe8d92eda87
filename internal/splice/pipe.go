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

	// scratchSize is the buffer of a loop. A stream of 64 KiB messages costs 0.7 of the CPU that it does
	// with half the size: fewer reads end right before a frame does. Twice the size gains no more, and
	// what one read brings is what an end that takes nothing can cost.
	scratchSize = headroom + 128<<10 + tailroom
)

// farewell is a Close frame that a pipe is to send at its next frame boundary.
type farewell struct {
	code   uint16
	reason string
}

// pipe is one direction of a link: it decides what of the bytes read from one end is written to
// the other. It does no I/O; whoever owns the link calls it.
//
//	flowing → over: a Close frame has passed, or the pipe's own has been sent (RFC 6455 §5.5.1), or
//	    nothing more can be written (broken)
//	flowing, over → lost: the stream broke RFC 6455 or the link's Policy and is not followed any further
//	any → ended: nothing more will be read
//
// What is read once the pipe is over passes no more. It is read and followed all the same: for the
// end's own Close, and because an end that is closed with bytes unread is reset, and with it what
// it has not received yet.
type pipe struct {
	// All is owned by whoever owns the link. The order keeps it small.
	tracker frame.Tracker
	watch   *watch    // the link's, nil for none
	bye     *farewell // the Close that the pipe is to send, nil for none
	bytes   uint64    // that have passed, with the pipe's own frames
	final   *Count    // what has passed once the pipe is over; until then the tracker knows

	held                      [headroom]byte // the part of a header that has come
	heldSize                  uint8
	toBackend                 bool // fixed at creation
	over, broken, lost, ended bool
	stirred                   bool // bytes of the sender's own have passed in the last call of pass
}

// pass takes n bytes that have been read into buf behind headroom, and returns what is to be
// written: a part of buf, valid until the next call. An error is a violation of RFC 6455 or of the
// link's Policy; what came before it is returned as well.
func (p *pipe) pass(buf []byte, n int) (out []byte, err error) {
	in := buf[headroom-int(p.heldSize) : headroom+n]
	copy(in, p.held[:p.heldSize])
	p.heldSize = 0

	followed, passed, leaving := 0, 0, false
	for followed < len(in) && !p.lost && !p.tracker.Closed() {
		if p.leaves() {
			leaving = true
			p.finish()
		}
		if pongs := p.pongs(); pongs != nil && p.tracker.AtBoundary() {
			size, maybe := frame.MatchPong(in[followed:], p.toBackend, &pongs.nonce)
			if maybe {
				p.heldSize = uint8(copy(p.held[:], in[followed:]))
				break
			}
			if size > 0 {
				pongs.ponged(p.watch.now)
				copy(in[size:], in[:passed]) // what has passed moves up and takes its place
				in = in[size:]
				continue
			}
		}
		begins := p.watch != nil && !p.over && p.tracker.AtBoundary()
		if begins && !p.watch.mayBegin(p, in[followed]) {
			if p.watch.policy.RateWait {
				p.watch.keep(p, in[followed:])
				break
			}
			err = ErrMessageRate
			p.lost = true
			break
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
		if begins {
			p.watch.took(p, in[followed])
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
	p.stirred = passed > 0
	out = in[:passed]
	if leaving {
		return p.appendClose(out), err
	}
	return p.bid(out), err
}

// skippable is how many of the bytes that come next pass whatever they are: payload of a frame whose
// header has passed.
func (p *pipe) skippable() uint64 {
	if p.over || p.lost || p.heldSize > 0 {
		return 0
	}
	return p.tracker.Left()
}

// skip notes that n bytes, at most skippable, have passed unseen.
func (p *pipe) skip(n int) {
	p.tracker.Skip(uint64(n))
	p.bytes += uint64(n)
	p.stirred = n > 0
}

// due reports whether a frame of the pipe's own, a Close or a Ping, is to be sent now.
func (p *pipe) due() bool {
	return (p.bye != nil || p.pingWanted()) && !p.over && p.tracker.AtBoundary()
}

// pings are the Pings to this pipe's receiver, and pongs those that its sender answers; nil for none.
func (p *pipe) pings() *heartbeat {
	if p.watch == nil {
		return nil
	}
	return p.watch.beats[1-p.index()]
}

func (p *pipe) pongs() *heartbeat {
	if p.watch == nil {
		return nil
	}
	return p.watch.beats[p.index()]
}

func (p *pipe) pingWanted() bool {
	pings := p.pings()
	return pings != nil && pings.wanted
}

// leaves reports whether the pipe's own Close is to be sent now.
func (p *pipe) leaves() bool { return p.bye != nil && p.due() }

// bid appends the frame of the pipe's own that is due, if one is, to out, which has room for it.
func (p *pipe) bid(out []byte) []byte {
	switch {
	case !p.due():
		return out
	case p.bye != nil:
		p.finish()
		return p.appendClose(out)
	default:
		return p.appendPing(out)
	}
}

// finish makes the pipe over: nothing that is read from now on has passed.
func (p *pipe) finish() {
	if !p.over {
		p.over = true
		p.final = &Count{Frames: p.tracker.Frames(), Messages: p.tracker.Messages()}
	}
}

func (p *pipe) count() Count {
	c := Count{Bytes: p.bytes, Frames: p.tracker.Frames(), Messages: p.tracker.Messages()}
	if p.over {
		c.Frames, c.Messages = p.final.Frames, p.final.Messages
	}
	return c
}

func (p *pipe) appendClose(out []byte) []byte {
	size := len(out)
	var mask [4]byte
	out = frame.AppendClose(out, p.bye.code, p.bye.reason, p.mask(&mask))
	p.bytes += uint64(len(out) - size)
	return out
}

func (p *pipe) appendPing(out []byte) []byte {
	size := len(out)
	var mask [4]byte
	pings := p.pings()
	out = frame.AppendPing(out, &pings.nonce, p.mask(&mask))
	pings.pinged(p.watch.policy, p.watch.now)
	p.bytes += uint64(len(out) - size)
	return out
}

// mask makes a key for a frame of the pipe's own and returns it, nil when such a frame has none.
func (p *pipe) mask(key *[4]byte) *[4]byte {
	if !p.toBackend {
		return nil
	}
	_, _ = rand.Read(key[:]) // never fails
	return key
}

// heard reports whether the end this pipe reads from has nothing left to say.
func (p *pipe) heard() bool { return p.tracker.Closed() || p.lost || p.ended }

// gone reports whether one of the pipe's ends has gone: it ended or broke.
func (p *pipe) gone() bool { return p.ended || p.broken }
