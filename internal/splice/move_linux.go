package splice

import "wsproxy/internal/sock"

// The payload of a very large frame is moved from socket to socket through a pipe of the kernel's,
// without a copy. The Tracker knows how much of it there is, so that nothing is moved unseen but
// payload.
const (
	// moveLeast is the least that is worth it. With 8 MiB messages moving takes 0.7 of a copy's CPU, with
	// 1 MiB it is even; with 64 KiB ones it took 1.6 to 2 times as much, since each needs its header read
	// by itself and four system calls instead of the half of two.
	moveLeast = 512 << 10

	// moveMost is the most that is moved at once, so that a busy link leaves the others their turn.
	moveMost = 1 << 20

	// mostPipes bounds the pipes of a loop, two descriptors each; sparePipes those that it keeps.
	mostPipes, sparePipes = 64, 4
)

// pipes are a loop's.
type pipes struct {
	spare []*sock.Pipe
	made  int
}

// get gives an empty pipe, nil when there is none to be had.
func (ps *pipes) get() *sock.Pipe {
	if n := len(ps.spare); n > 0 {
		p := ps.spare[n-1]
		ps.spare = ps.spare[:n-1]
		return p
	}
	if ps.made >= mostPipes {
		return nil
	}
	p, err := sock.NewPipe()
	if err != nil {
		return nil // descriptors have run out; copying needs none
	}
	ps.made++
	return p
}

// put takes a pipe back; nil is none.
func (ps *pipes) put(p *sock.Pipe) {
	if p == nil {
		return
	}
	if p.Len() > 0 || len(ps.spare) >= sparePipes {
		p.Close()
		ps.made--
		return
	}
	ps.spare = append(ps.spare, p)
}

func (ps *pipes) close() {
	for _, p := range ps.spare {
		p.Close()
	}
	ps.spare = nil
}

// move moves payload of p's from src to dst. It reports whether the pump is to go on as if it had
// read; false is for a copy.
func (lp *loop) move(l *looped, p *pipe, src, dst *side) bool {
	if p.broken || dst.last != stay || !dst.Open() {
		return false
	}
	through := lp.pipes.get()
	if through == nil {
		return false
	}
	most := int(min(p.skippable(), moveMost))
	n, err := through.Fill(src.Socket, most)
	if err != nil {
		lp.pipes.put(through)
		src.readable = false
		if err != sock.ErrAgain {
			lp.end(l, p, dst, err)
		}
		return true
	}
	l.skipped(p, n)
	switch err := through.Drain(dst.Socket, n == most && !p.tracker.AtBoundary()); err {
	case nil:
		lp.pipes.put(through)
	case sock.ErrAgain:
		lp.stall(dst)
		dst.unsent.pipe = through
	default:
		lp.pipes.put(through)
		l.broke(p)
	}
	lp.bid(l, p, dst)
	return true
}
