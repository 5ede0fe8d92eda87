package main

import (
	"bytes"
	"fmt"
	"testing"
)

func TestHeaderReaderTakesAnyCut(t *testing.T) {
	for _, length := range []uint64{0, 1, 125, 126, 65535, 65536, 1 << 40} {
		for _, masked := range []bool{false, true} {
			wire := appendHeader(nil, true, opBinary, length, masked, 0x04030201)
			want := frameHeader{fin: true, op: opBinary, masked: masked, length: length}
			if masked {
				want.key = 0x04030201
			}
			wire = append(wire, 'x', 'y') // payload, not to be touched
			for cut := range wire {
				var (
					r headerReader
					h frameHeader
				)
				n, done := r.feed(wire[:cut], &h)
				if !done {
					var more int
					more, done = r.feed(wire[n:], &h)
					n += more
				}
				if !done || n != len(wire)-2 || h != want {
					t.Errorf("length %d, masked %t, cut at %d: took %d, done %t, %+v, want %d and %+v", length, masked, cut, n, done, h, len(wire)-2, want)
				}
			}
		}
	}
}

func TestXorMaskAgreesWithDefinition(t *testing.T) {
	const key = 0x44332211
	keyBytes := []byte{0x11, 0x22, 0x33, 0x44}
	for n := range 70 {
		for pos := range 9 {
			got, want := make([]byte, n), make([]byte, n)
			for i := range got {
				got[i] = byte(i * 7)
				want[i] = got[i] ^ keyBytes[(pos+i)%4]
			}
			xorMask(got, key, pos)
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes from %d: % x, want % x", n, pos, got, want)
			}
		}
	}
}

func TestCheckerTellsWhatDiffers(t *testing.T) {
	msgs := newMessages(200, 42)
	const id = 7
	message := func(id uint32, seq uint64) []byte { return msgs.appendTo(nil, id, seq) }
	frame := func(payload []byte) []byte {
		return append(appendHeader(nil, true, opBinary, uint64(len(payload)), false, 0), payload...)
	}
	changed := message(id, 0)
	changed[100] ^= 1
	wrongHead := message(id, 0)
	wrongHead[15] = 200
	split := append(appendHeader(nil, false, opBinary, 50, false, 0), message(id, 0)[:50]...)
	split = append(split, appendHeader(nil, true, opPing, 2, false, 0)...)
	split = append(split, "hi"...)
	split = append(split, appendHeader(nil, true, opContinuation, 150, false, 0)...)
	split = append(split, message(id, 0)[50:]...)

	for _, tt := range []struct {
		name   string
		stream []byte
		events string // in order; evNone left out
		kind   faultKind
		n      int
		text   string
		want   uint64 // next expected afterwards
	}{
		{"right", frame(message(id, 0)), "[1]", "", 0, "", 1},
		{"in fragments around a ping", split, "[2 1]", "", 0, "", 1},
		{"a byte changed", frame(changed), "[1]", faultCorrupt, 1,
			fmt.Sprintf("link 7: message 0: byte 100 is %#02x, want %#02x", changed[100], changed[100]^1), 1},
		{"head changed", frame(wrongHead), "[1]", faultCorrupt, 1,
			"link 7: message 0: head 0000002a0000000700000000000000c8, want run 0000002a, link 7", 1},
		{"too short", frame(message(id, 0)[:150]), "[1]", faultCorrupt, 1, "link 7: message 0: 150 bytes long, want 200", 1},
		{"shorter than its head", frame(message(id, 0)[:5]), "[1]", faultCorrupt, 1, "link 7: message 0: 5 bytes long, want 200", 1},
		{"empty", frame(nil), "[1]", faultCorrupt, 1, "link 7: message 0: 0 bytes long, want 200", 1},
		{"too long", frame(append(message(id, 0), 1)), "[1]", faultCorrupt, 1, "link 7: message 0: 201 bytes long, want 200", 1},
		{"twice", append(frame(message(id, 0)), frame(message(id, 0))...), "[1 1]", faultDuplicate, 1, "link 7: message 1: message 0 came again", 1},
		{"one left out", frame(message(id, 2)), "[1]", faultMissing, 2, "link 7: message 0 missing: message 2 came instead", 3},
		{"another link's", frame(message(8, 0)), "[1]", faultForeign, 1, "link 7: message 0: it is message 0 of link 8", 0},
		{"text", append(appendHeader(nil, true, opText, 200, false, 0), message(id, 0)...), "[1]", faultCorrupt, 1, "link 7: message 0: opcode 0x1, want 0x2", 1},
		{"close", []byte{0x88, 2, 3, 0xE9}, "[4]", "", 0, "", 0},
		{"masked", appendHeader(nil, true, opBinary, 200, true, 1), "[5]", faultProtocol, 1, "frame masked: true, want false", 0},
		{"reserved bit", []byte{0xC2, 0}, "[5]", faultProtocol, 1, "frame with reserved bits 100", 0},
		{"continuation of nothing", []byte{0x80, 0}, "[5]", faultProtocol, 1, "frame with opcode 0x0, inside a message: false", 0},
	} {
		for _, piece := range []int{1, 3, 1 << 20} {
			c := checker{msgs: msgs, id: id, sent: 10}
			var (
				events []event
				last   fault
			)
			for rest := tt.stream; len(rest) > 0; {
				chunk := rest[:min(piece, len(rest))]
				rest = rest[len(chunk):]
				for len(chunk) > 0 {
					n, ev := c.next(chunk)
					chunk = chunk[n:]
					if ev != evNone {
						events = append(events, ev)
						if c.fault.kind != "" {
							last, c.fault = c.fault, fault{}
						}
					}
					if ev == evBroken {
						chunk, rest = nil, nil
					}
				}
			}
			if got := fmt.Sprint(events); got != tt.events || last != (fault{tt.kind, tt.n, tt.text}) || c.want != tt.want {
				t.Errorf("%s in pieces of %d: events %s, fault %+v, next %d, want %s, {%s %d %s}, %d",
					tt.name, piece, got, last, c.want, tt.events, tt.kind, tt.n, tt.text, tt.want)
			}
		}
	}
}

func TestTimersComeInOrder(t *testing.T) {
	var h timerHeap
	for _, at := range []int64{5, 1, 4, 1, 9, 2, 6, 3} {
		h.push(timer{at: at})
	}
	last := int64(0)
	for range 8 {
		at := h.pop().at
		if at < last {
			t.Errorf("timer %d after %d", at, last)
		}
		last = at
	}
	if _, ok := h.first(); ok {
		t.Error("a timer is left")
	}
}
