package splice

import (
	"sync"
	"sync/atomic"

	"wsproxy/internal/sock"
)

// slot is the place of a descriptor: who hears of its events, a Conn that waits for them or the link
// that has taken its socket over. Whoever owns the descriptor owns its slot, so that it takes no
// lock; both pointers are atomic for the loop that looks meanwhile.
//
// The generation changes with each socket, and events carry it: those of one that has been closed,
// in the same batch perhaps, find nobody, although the next socket has the same number.
type slot struct {
	generation atomic.Uint32
	conn       atomic.Pointer[sock.Conn]
	link       atomic.Pointer[looped]
}

// maxGeneration bounds generations, so that no key is the one that sock uses itself.
const maxGeneration = 1<<31 - 1

// table has the slots of an engine by descriptor. It grows and never moves a slot.
type table struct {
	chunks atomic.Pointer[[]*chunk]
	mu     sync.Mutex // held to grow
}

const chunkSize = 256

type chunk [chunkSize]slot

// at is the slot of a descriptor, made if there is none yet.
func (t *table) at(s sock.Socket) *slot {
	n := s.Number()
	if sl := t.number(n); sl != nil {
		return sl
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var chunks []*chunk
	if old := t.chunks.Load(); old != nil {
		chunks = *old
	}
	if n/chunkSize < len(chunks) {
		return &chunks[n/chunkSize][n%chunkSize]
	}
	// A copy: others read the old one.
	grown := make([]*chunk, n/chunkSize+1)
	for i := copy(grown, chunks); i < len(grown); i++ {
		grown[i] = new(chunk)
	}
	t.chunks.Store(&grown)
	return &grown[n/chunkSize][n%chunkSize]
}

// number is the slot of a descriptor's number, nil if there is none.
func (t *table) number(n int) *slot {
	if n < 0 {
		return nil
	}
	if c := t.chunk(n / chunkSize); c != nil {
		return &c[n%chunkSize]
	}
	return nil
}

// chunk is the one with an index, nil behind the last.
func (t *table) chunk(i int) *chunk {
	if chunks := t.chunks.Load(); chunks != nil && i < len(*chunks) {
		return (*chunks)[i]
	}
	return nil
}

// each calls f with every slot.
func (t *table) each(f func(*slot)) {
	for i := 0; ; i++ {
		c := t.chunk(i)
		if c == nil {
			return
		}
		for j := range c {
			f(&c[j])
		}
	}
}

// renew makes the slot that of a new socket and returns the socket's key, its number and generation.
func (sl *slot) renew(s sock.Socket) uint64 {
	sl.generation.Store((sl.generation.Load() + 1) & maxGeneration)
	return sl.key(s)
}

// key is the one that renew has returned last.
func (sl *slot) key(s sock.Socket) uint64 {
	return uint64(sl.generation.Load())<<32 | uint64(uint32(s.Number()))
}

// arrived is the link that the slot is of, nil for none and for one that is still on its way.
func (sl *slot) arrived() *looped {
	if l := sl.link.Load(); l != nil && l.arrived.Load() {
		return l
	}
	return nil
}

func numberOf(key uint64) int { return int(uint32(key)) }

func generationOf(key uint64) uint32 { return uint32(key >> 32) }

// clear leaves the slot to nobody: the descriptor is about to be closed.
func (sl *slot) clear() {
	sl.conn.Store(nil)
	sl.link.Store(nil)
}
