package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// An event of the workload events is one line of data, of a size that is known before:
//
//	data: TAG NUMBER TIME PADDING
//
// and an empty line. TAG is the request's, NUMBER counts from 0, TIME is when the backend wrote it (monotonic), both
// in 16 hexadecimal digits.
const (
	eventStart = "data: "
	eventEnd   = "\n\n"
	eventHead  = len(eventStart) + tagSize + 1 + 16 + 1 + 16 + 1 // bytes before the padding
	minEvent   = eventHead + len(eventEnd)
	maxEvent   = 64 << 10
)

// appendEvent appends an event of a size from minEvent to maxEvent. b is the body of the request's tag.
func appendEvent(dst []byte, b *body, number uint64, at int64, size int) []byte {
	dst = append(append(append(dst, eventStart...), b.head[:]...), ' ')
	var digits [8]byte
	for _, v := range []uint64{number, uint64(at)} {
		binary.BigEndian.PutUint64(digits[:], v)
		dst = append(hex.AppendEncode(dst, digits[:]), ' ')
	}
	dst = append(dst, eventPadding(b, number, size)...)
	return append(dst, eventEnd...)
}

func eventPadding(b *body, number uint64, size int) []byte {
	at := (uint64(b.offset) + number) % bodyPeriod
	return pattern[at : at+uint64(size-minEvent)]
}

// eventReader reads the events of one stream in any pieces.
type eventReader struct {
	tag  tag
	body body
	size int
	want uint64 // number of the event expected next

	held  []byte // of an event that came in pieces
	right []byte // scratch: what the event must be
	first int64  // when the first byte of the last event came
	wrote int64  // when the backend wrote it
	fault fault  // of the last event, kind "" if none
}

// begin starts over with the stream that answers another request.
func (r *eventReader) begin(t tag) {
	r.tag, r.body, r.want, r.held = t, newBody(t), 0, r.held[:0]
}

// next reads up to the end of an event and says how many bytes that took and whether it is whole; now is when p came.
// After a fault other than a missing or a repeated event it cannot be told where the next event begins.
func (r *eventReader) next(p []byte, now int64) (n int, whole bool) {
	if len(r.held) == 0 {
		r.first = now
	}
	n = min(len(p), r.size-len(r.held))
	event := p[:n]
	if n < r.size {
		r.held = append(r.held, event...)
		if len(r.held) < r.size {
			return n, false
		}
		event = r.held
	}
	r.judge(event)
	r.held = r.held[:0]
	return n, true
}

// judge checks a whole event and goes on behind it.
func (r *eventReader) judge(event []byte) {
	r.fault = fault{}
	got, ok := parseTag(event[len(eventStart) : len(eventStart)+tagSize])
	if ok && got.run == r.tag.run && got.link != r.tag.link {
		r.blame(faultForeign, "it is an event of link %d", got.link)
		return
	}
	start := len(eventStart) + tagSize + 1
	var digits [16]byte
	if _, err := hex.Decode(digits[:8], event[start:start+16]); err != nil {
		r.blame(faultCorrupt, "%q has no number", event[:eventHead])
		return
	}
	if _, err := hex.Decode(digits[8:], event[start+17:start+33]); err != nil {
		r.blame(faultCorrupt, "%q has no time", event[:eventHead])
		return
	}
	number := binary.BigEndian.Uint64(digits[:])
	r.wrote = int64(binary.BigEndian.Uint64(digits[8:]))
	r.right = appendEvent(r.right[:0], &r.body, number, r.wrote, r.size)
	if !bytes.Equal(event, r.right) {
		i := 0
		for event[i] == r.right[i] {
			i++
		}
		r.blame(faultCorrupt, "byte %d is %#02x, want %#02x", i, event[i], r.right[i])
		return
	}
	switch {
	case number < r.want:
		r.blame(faultDuplicate, "event %d came again", number)
		return
	case number > r.want:
		r.blame(faultMissing, "event %d came instead", number)
		r.fault.n = int(min(number-r.want, 1<<30))
	}
	r.want = number + 1
}

func (r *eventReader) blame(kind faultKind, format string, args ...any) {
	r.fault = fault{kind, 1, fmt.Sprintf("link %d: event %d: %s", r.tag.link, r.want, fmt.Sprintf(format, args...))}
}
