//go:build linux

package splice

import "time"

// tick is a moment in a loop's time, in units of tickLength since its wheel began.
type tick int64

// timer is a place in a wheel, part of what it is a timer of. The zero value is in none.
type timer struct {
	at         tick
	of         *looped
	next, prev *timer
}

// wheel is the timers of one loop: setting and removing one costs the same however many there are,
// and nothing is to do until the next one ends.
type wheel struct {
	start   time.Time
	elapsed time.Duration // from start to what the loop takes for now
	slots   [512]timer    // heads of rings; a slot has the timers whose tick is its index, modulo
	due     timer         // the head of those that are ending
	count   int
	// soonest is not later than the first timer's end.
	soonest tick
}

func (w *wheel) init(now time.Time) {
	w.start = now
	for i := range w.slots {
		w.slots[i].makeHead()
	}
	w.due.makeHead()
}

// set tells the wheel the time, before any timer is set: a loop may have slept for long.
func (w *wheel) set(clock time.Time) { w.elapsed = clock.Sub(w.start) }

// clock is the time that set was told.
func (w *wheel) clock() time.Time { return w.start.Add(w.elapsed) }

func (w *wheel) now() tick { return tick(w.elapsed / tickLength) }

// slot is the head of the ring of those that end at a tick, or whole turns of the wheel before or
// after it.
func (w *wheel) slot(at tick) *timer { return &w.slots[uint64(at)%uint64(len(w.slots))] }

// add sets t, which is in no wheel, to end after wait.
func (w *wheel) add(t *timer, of *looped, wait time.Duration) {
	t.of = of
	wait = min(wait, forever-tickLength-w.elapsed)
	t.at = max(w.now()+1, tick((w.elapsed+wait+tickLength-1)/tickLength))
	w.slot(t.at).append(t)
	if w.count++; w.count == 1 || t.at < w.soonest {
		w.soonest = t.at
	}
}

// remove takes t out, if it is in.
func (w *wheel) remove(t *timer) {
	if t.next == nil {
		return
	}
	t.unlink()
	w.count--
}

// next is when advance has something to do; the zero time when there is no timer.
func (w *wheel) next() time.Time {
	if w.count == 0 {
		return time.Time{}
	}
	return w.start.Add(time.Duration(w.soonest) * tickLength)
}

// advance ends the timers whose time has come; ended may set and remove any.
func (w *wheel) advance(ended func(*looped)) {
	now := w.now()
	if w.count == 0 || now < w.soonest {
		return
	}
	// A slot is looked at once, however long the loop has slept.
	for at := max(w.soonest, now-tick(len(w.slots))+1); at <= now; at++ {
		head := w.slot(at)
		for t := head.next; t != head; {
			following := t.next
			if t.at <= now {
				t.unlink()
				w.due.append(t)
			}
			t = following
		}
	}
	for t := w.due.next; t != &w.due; t = w.due.next {
		w.remove(t)
		ended(t.of)
	}
	w.soonest = w.find(now)
}

// find is a lower bound of the first timer's end: the first slot with a timer, from now on.
func (w *wheel) find(now tick) tick {
	end := now + tick(len(w.slots))
	for at := now + 1; at < end; at++ {
		if head := w.slot(at); head.next != head {
			return at
		}
	}
	return end
}

func (t *timer) makeHead() { t.next, t.prev = t, t }

// append puts t, which is in no ring, at the end of a head's.
func (head *timer) append(t *timer) {
	t.next, t.prev = head, head.prev
	t.prev.next, head.prev = t, t
}

func (t *timer) unlink() {
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
}
