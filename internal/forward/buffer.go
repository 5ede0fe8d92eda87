package forward

import "sync"

// buffer carries a request's head, an answer's, or a piece of a body.
type buffer [64 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// chunkHead and chunkTail are the room that a buffer keeps before and behind a piece of a body for its
// framing as a chunk: four digits and two line ends.
const (
	chunkHead = len("ffff\r\n")
	chunkTail = len("\r\n")
)

// payload is where a piece of a body goes.
func (b *buffer) payload() []byte { return b[chunkHead : len(b)-chunkTail] }

// chunk is the n bytes at the start of the payload as one chunk (RFC 9112 §7.1). None is no chunk:
// that would end the body.
func (b *buffer) chunk(n int) []byte {
	if n == 0 {
		return b[:0]
	}
	start := chunkHead - len("\r\n")
	copy(b[start:], "\r\n")
	for size := n; size > 0; size >>= 4 {
		start--
		b[start] = "0123456789abcdef"[size&15]
	}
	end := chunkHead + n
	copy(b[end:], "\r\n")
	return b[start : end+chunkTail]
}
