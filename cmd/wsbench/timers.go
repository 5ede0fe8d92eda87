package main

// What a timer does when it is due.
const (
	timerSend  = iota // one more message of the link is due
	timerRead         // the link holds decrypted bytes
	timerDial         // the link is to be dialled again
	timerEvent        // the backend is to write an event
)

// timer is something due on one link, or on one connection of the backend; it is void if the generation there has moved
// on.
type timer struct {
	at        int64 // nanoseconds of the run; of monotonic in the backend
	slot, gen int32
	what      int
}

// timerHeap is a binary heap by time. The zero value is empty.
type timerHeap struct{ t []timer }

// first says when the next timer is due.
func (h *timerHeap) first() (int64, bool) {
	if len(h.t) == 0 {
		return 0, false
	}
	return h.t[0].at, true
}

func (h *timerHeap) push(t timer) {
	h.t = append(h.t, t)
	i := len(h.t) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h.t[parent].at <= h.t[i].at {
			break
		}
		h.t[parent], h.t[i] = h.t[i], h.t[parent]
		i = parent
	}
}

// pop removes the first timer; there must be one.
func (h *timerHeap) pop() timer {
	top := h.t[0]
	last := len(h.t) - 1
	h.t[0] = h.t[last]
	h.t = h.t[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.t[child+1].at < h.t[child].at {
			child++
		}
		if h.t[i].at <= h.t[child].at {
			break
		}
		h.t[i], h.t[child] = h.t[child], h.t[i]
		i = child
	}
	return top
}
