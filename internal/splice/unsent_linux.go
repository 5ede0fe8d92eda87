package splice

import (
	"sync"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// sealedSize has room for all that one read can bring, once it is sealed.
var sealedSize = record.SealedSize(scratchSize)

// unsent is what a socket had no room for: bytes in a pipe of the kernel's, then bytes in a buffer.
type unsent struct {
	pipe *sock.Pipe // nil for none
	buf  *[]byte    // pooled; nil for none
	from int        // where in buf the bytes begin
}

var unsents = sync.Pool{New: func() any { return new(unsent) }}

// Buffers of two sizes: most receivers that lag leave little of a read.
var smallUnsent, largeUnsent = 32 << 10, sealedSize

var smallUnsents, largeUnsents = bufferPool(smallUnsent), bufferPool(largeUnsent)

// append takes a copy of b. More than a buffer has room for are early bytes, which have been accepted.
func (u *unsent) append(b []byte) {
	if u.buf == nil {
		pool := smallUnsents
		if len(b) > smallUnsent-tailroom {
			pool = largeUnsents
		}
		u.buf = pool.Get().(*[]byte)
		*u.buf, u.from = (*u.buf)[:0], 0
	}
	*u.buf = append(*u.buf, b...)
}

// send gives to s what it takes, in order; nil when that is all.
func (u *unsent) send(s sock.Socket) error {
	if u.pipe != nil {
		if err := u.pipe.Drain(s, u.buf != nil); err != nil {
			return err
		}
	}
	if u.buf == nil {
		return nil
	}
	n, err := s.Write((*u.buf)[u.from:])
	u.from += n
	return err
}

// release ends the use of u, whatever is still in it, and returns its pipe.
func (u *unsent) release() *sock.Pipe {
	pipe := u.pipe
	if u.buf != nil {
		switch cap(*u.buf) {
		case smallUnsent:
			smallUnsents.Put(u.buf)
		case largeUnsent:
			largeUnsents.Put(u.buf)
		}
	}
	*u = unsent{}
	unsents.Put(u)
	return pipe
}
