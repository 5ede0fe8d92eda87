package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestEventReaderTellsWhatDiffers(t *testing.T) {
	const size = 100
	asked := tag{0x2a, 7, 0}
	event := func(tg tag, number uint64) []byte {
		b := newBody(tg)
		return appendEvent(nil, &b, number, 1000+int64(number), size)
	}
	ours := func(number uint64) []byte { return event(asked, number) }
	with := func(at int, c byte) []byte {
		e := ours(0)
		e[at] = c
		return e
	}
	for _, tt := range []struct {
		name   string
		stream []byte
		wrote  string // times of the whole events
		kind   faultKind
		n      int
		text   string
	}{
		{"right", joined(ours(0), ours(1), ours(2)), "[1000 1001 1002]", "", 0, ""},
		{"unfinished", ours(0)[:size-1], "[]", "", 0, ""},
		{"one left out", joined(ours(0), ours(2)), "[1000 1002]", faultMissing, 1, "link 7: event 1: event 2 came instead"},
		{"one again", joined(ours(0), ours(0)), "[1000 1000]", faultDuplicate, 1, "link 7: event 1: event 0 came again"},
		{"another link's", event(tag{0x2a, 8, 0}, 0), "[0]", faultForeign, 1, "link 7: event 0: it is an event of link 8"},
		{"a byte of the tag changed", with(8, 'f'), "[1000]", faultCorrupt, 1, "link 7: event 0: byte 8 is 0x66, want 0x30"},
		{"a byte of the padding changed", with(size-4, '!'), "[1000]", faultCorrupt, 1, "link 7: event 0: byte 96 is 0x21, want "},
		{"no end", with(size-1, ' '), "[1000]", faultCorrupt, 1, "link 7: event 0: byte 99 is 0x20, want 0x0a"},
		{"no number", with(40, 'x'), "[0]", faultCorrupt, 1, "has no number"},
		{"no time", with(60, 'x'), "[0]", faultCorrupt, 1, "has no time"},
	} {
		for _, piece := range []int{1, 3, 99, 100, 101, 1 << 20} {
			r := eventReader{size: size}
			r.begin(asked)
			var (
				last  fault
				wrote = []int64{}
			)
			for rest := tt.stream; len(rest) > 0; {
				chunk := rest[:min(piece, len(rest))]
				rest = rest[len(chunk):]
				for len(chunk) > 0 {
					n, whole := r.next(chunk, 1)
					chunk = chunk[n:]
					if whole {
						wrote = append(wrote, r.wrote)
						last = r.fault
					}
				}
			}
			if fmt.Sprint(wrote) != tt.wrote || last.kind != tt.kind || last.n != tt.n || !strings.Contains(last.text, tt.text) {
				t.Errorf("%s in pieces of %d: events written at %v, fault %+v, want %s, {%s %d %s}", tt.name, piece, wrote, last, tt.wrote, tt.kind, tt.n, tt.text)
			}
		}
	}
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestAnEventCountsFromItsFirstByte(t *testing.T) {
	b := newBody(tag{})
	events := joined(appendEvent(nil, &b, 0, 0, minEvent), appendEvent(nil, &b, 1, 0, minEvent))
	r := eventReader{size: minEvent}
	r.begin(tag{})
	r.next(events[:10], 100)
	if _, whole := r.next(events[10:minEvent], 200); !whole || r.first != 100 || r.fault.kind != "" {
		t.Errorf("whole %t, first byte at %d, fault %+v, want it at 100", whole, r.first, r.fault)
	}
	if _, whole := r.next(events[minEvent:], 300); !whole || r.first != 300 {
		t.Errorf("second event: whole %t, first byte at %d, want 300", whole, r.first)
	}
}
