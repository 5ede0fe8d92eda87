//go:build linux

package splice

import "time"

// tick is a moment in a loop's time, in units of tickLength since its wheel began.
type tick int64

// tickLength is how coarse the timers of a loop are. They end at the first tick that is not before
// their time.
const tickLength = 100 * time.Millisecond

// ticks is how many ticks d takes, at least one.
func ticks(d time.Duration) tick { return max(1, tick(d/tickLength)+1) }

// timer is a place in a wheel, part of what it is a timer of. The zero value is in none.
type timer struct {
	at         tick
	of         *looped
	next, prev *timer
}

// wheel is the timers of one loop: setting and removing one costs the same however many there are,
// and nothing is to do until the next one ends.
type wheel struct {
	start time.Time
	now   tick
	slots [512]timer // heads of rings; a slot has the timers whose tick is its index, modulo
	count int
	// soonest is not later than the first timer's end.
	soonest tick
}

func (w *wheel) init(now time.Time) {
	w.start = now
	for i := range w.slots {
		head := &w.slots[i]
		head.next, head.prev = head, head
	}
}

// add sets t to end after wait.
func (w *wheel) add(t *timer, of *looped, wait time.Duration) {
	t.of = of
	t.at = w.now + ticks(wait)
	head := &w.slots[uint64(t.at)%uint64(len(w.slots))]
	t.next, t.prev = head, head.prev
	t.prev.next, head.prev = t, t
	if w.count++; w.count == 1 || t.at < w.soonest {
		w.soonest = t.at
	}
}

// remove takes t out, if it is in.
func (w *wheel) remove(t *timer) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
	w.count--
}

// next is when advance has something to do; the zero time when there is no timer.
func (w *wheel) next() time.Time {
	if w.count == 0 {
		return time.Time{}
	}
	return w.start.Add(time.Duration(w.soonest) * tickLength)
}

// advance ends the timers whose time has come.
func (w *wheel) advance(clock time.Time, ended func(*looped)) {
	to := tick(clock.Sub(w.start) / tickLength)
	if w.count == 0 || to < w.soonest {
		w.now = max(w.now, to)
		return
	}
	// A slot is looked at once, however long the loop has slept.
	from := max(w.now+1, min(w.soonest, to-tick(len(w.slots))+1))
	w.now = to
	for at := from; at <= to; at++ {
		head := &w.slots[uint64(at)%uint64(len(w.slots))]
		for t := head.next; t != head; {
			// What ends may set or remove timers, also this slot's.
			following := t.next
			if t.at <= to {
				w.remove(t)
				ended(t.of)
				if following.next == nil {
					following = head.next
				}
			}
			t = following
		}
	}
	w.soonest = w.find()
}

// find is a lower bound of the first timer's end: the first slot with a timer, from now on.
func (w *wheel) find() tick {
	if w.count == 0 {
		return 0
	}
	for i := tick(1); i <= tick(len(w.slots)); i++ {
		head := &w.slots[uint64(w.now+i)%uint64(len(w.slots))]
		if head.next != head {
			return w.now + i
		}
	}
	return w.now + tick(len(w.slots))
}
