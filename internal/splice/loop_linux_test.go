package splice

import (
	"bytes"
	"testing"
	"time"
)

// Two links' clients leave, so that both events come in one batch. When the first one has ended, the
// other has gone as well, and a new link has the numbers of its descriptors, and with them its slots.
func TestStaleEventFindsNobody(t *testing.T) {
	for _, resets := range []bool{false, true} {
		b := newBench(t)
		type ends struct{ farClient, client, farBackend, backend End }
		var spare ends
		spare.farClient, spare.client = pair(t)
		spare.farBackend, spare.backend = pair(t)

		var a [2]hand
		var young hand
		ended := [2]int{}
		end := func(i int) func() {
			return func() {
				if ended[i]++; ended[1-i] > 0 {
					return // it is the second
				}
				other := a[1-i]
				numbers := [2]int64{number(other.client.Socket), number(other.backend.Socket)}
				b.finish(other.looped)
				young = b.put(spare.farClient, spare.client, spare.farBackend, spare.backend, nil)
				// Take duplicates onto the lowest numbers that are free: those of both links.
				if n := number(young.client.Socket); n > max(numbers[0], numbers[1], number(a[i].farBackend)) {
					t.Errorf("the new link's descriptor %d is not an old one", n)
				}
				// As the last of the batch would: everything is behind its events.
				young.client.readable, young.client.ended = false, false
				young.backend.readable, young.backend.ended = false, false
			}
		}
		a[0], a[1] = b.link(end(0)), b.link(end(1))
		b.quiet()
		b.engine.cfg.FinTimeout = 1 // what is done below ends a link in one turn
		for i := range a {
			// The backend has left: one end more, and the link is over.
			a[i].farBackend.CloseWrite()
			b.quiet()
			a[i].looped.toClient.ended = true
		}
		for i := range a {
			if resets {
				a[i].farClient.Reset()
			} else {
				a[i].farClient.CloseWrite()
			}
		}
		b.pollFor(2)
		b.turn()
		if ended != [2]int{1, 1} {
			t.Fatalf("Ended was called %v times, want once for each link", ended)
		}
		if young.client.readable || young.client.ended || young.backend.readable || young.backend.ended {
			t.Error("an event of a link that has ended has come to the next one")
		}
		if b.sockets.Load() != 2 {
			t.Errorf("%d sockets, want 2", b.sockets.Load())
		}
		b.expectEcho(young)
	}
}

func TestFloodOnOneLinkLetsTheOthersHaveTheirTurn(t *testing.T) {
	b := newBench(t)
	flooded, calm := b.link(nil), b.link(nil)
	b.quiet()
	const piece = 16 // what one read brings
	b.scratch = make([]byte, headroom+piece+tailroom)
	flood := wire(fin|binaryData, fromClient, make([]byte, 20_000))
	hello := wire(fin|text, fromClient, []byte("hello"))
	got := make([]byte, len(flood)+1)

	b.write(flooded.farClient, flood)
	b.poll()
	b.turn() // the flood is the only event now
	first := flooded.toBackend.bytes
	b.write(calm.farClient, hello)
	b.poll()
	b.turn()
	if n, err := calm.farBackend.Read(got); !bytes.Equal(got[:n], hello) {
		t.Errorf("behind one turn the calm link's backend has % x, %v; want its message", got[:n], err)
	}
	// In a turn a link is read for its events and for being in ready.
	if most := uint64(2 * readsInRow * piece); first > most || flooded.toBackend.bytes > 2*most {
		t.Errorf("a link carried %d bytes in its first turn and %d in two, want at most %d in each",
			first, flooded.toBackend.bytes, most)
	}
	// No event brings the rest.
	b.quiet()
	n := 0
	for part, err := 0, error(nil); err == nil; n += part {
		part, err = flooded.farBackend.Read(got[n:])
	}
	if !bytes.Equal(got[:n], flood) {
		t.Errorf("the flood's receiver has %d bytes, want all %d", n, len(flood))
	}
}

// The first event after a long sleep sets a timer from now on, and not from when the loop fell asleep.
func TestFinTimeoutIsWholeAfterALongSleep(t *testing.T) {
	b := newBench(t)
	b.engine.cfg.FinTimeout = time.Hour
	h := b.link(nil)
	b.quiet()
	b.wheel.start = b.wheel.start.Add(-24 * time.Hour) // it has slept for a day
	h.farClient.CloseWrite()
	b.quiet()
	b.turn()
	if b.sockets.Load() != 2 {
		t.Fatal("a link was cut off at once whose client has only half-closed")
	}
	if wait := time.Until(b.wheel.next()); wait < time.Minute/2 {
		// The wheel turns once in 51 seconds, and then looks.
		t.Errorf("the loop wakes up in %v", wait)
	}
}
