package splice

import (
	"reflect"
	"runtime"
	"testing"
	"time"

	"wsproxy/internal/sock"
)

func TestLoopAllocatesNothingForAMessage(t *testing.T) {
	b := newBench(t)
	links := []hand{b.link(nil), b.link(nil), b.link(nil)}
	b.quiet()
	up := wire(fin|binaryData, fromClient, make([]byte, 128))
	down := wire(fin|binaryData, fromBackend, make([]byte, 128))
	large := wire(fin|binaryData, fromClient, make([]byte, 40_000))
	scratch := b.scratch
	got := make([]byte, len(large))
	pass := func(from, to sock.Socket, message []byte) {
		b.write(from, message)
		for n := 0; n < len(message); {
			b.quiet()
			part, err := to.Read(got[n:])
			if err != nil && err != sock.ErrAgain {
				t.Fatal(err)
			}
			n += part
		}
	}
	allocated := testing.AllocsPerRun(200, func() {
		for _, h := range links {
			pass(h.farClient, h.farBackend, up)
			pass(h.farBackend, h.farClient, down)
		}
		// Pieces so small that the links are in ready for many turns.
		b.scratch = scratch[:headroom+1000+tailroom]
		for _, h := range links {
			pass(h.farClient, h.farBackend, large)
		}
		b.scratch = scratch
	})
	if allocated != 0 {
		t.Errorf("%v allocations for nine messages, want 0", allocated)
	}
}

// A receiver that does not read costs one buffer of one size, for as long as it does not.
func TestOnlyAStalledLinkHoldsABuffer(t *testing.T) {
	b := newBench(t)
	h := b.link(nil)
	message := wire(fin|binaryData, fromBackend, make([]byte, 30_000))
	received, at := uint64(0), 0
	for h.client.unsent == nil {
		n, err := h.farBackend.Write(message[at:])
		if err != nil && err != sock.ErrAgain {
			t.Fatal(err)
		}
		at = (at + n) % len(message)
		b.quiet()
	}
	// A Close of the link's own waits behind what is unsent.
	b.close(h.looped, goingAway, Drained)
	if cap(*h.client.unsent.buf) > largeUnsent || h.backend.unsent != nil {
		t.Errorf("the link holds a buffer of %d bytes, want at most one of %d", cap(*h.client.unsent.buf), largeUnsent)
	}
	got := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); !h.toClient.over || received < h.toClient.bytes; {
		if n, err := h.farBackend.Write(message[at:]); err == nil || err == sock.ErrAgain {
			at = (at + n) % len(message) // the Close waits for a frame's end
		}
		n, err := h.farClient.Read(got)
		if err != nil && err != sock.ErrAgain || time.Now().After(deadline) {
			t.Fatalf("after %d bytes of %d: %v", received, h.toClient.bytes, err)
		}
		received += uint64(n)
		b.quiet()
	}
	if h.client.unsent != nil || h.backend.unsent != nil {
		t.Error("a link without unsent bytes holds a buffer")
	}
}

func TestIdleLinksHoldLittleMemory(t *testing.T) {
	const links, most = 1000, 700
	s := setup{driver: Epoll}
	e := s.engine(t, forGood)
	type far struct{ client, backend sock.Socket }
	fars := make([]far, links)
	defer func() {
		for i := range fars {
			fars[i].client.Close()
			fars[i].backend.Close()
		}
	}()
	up := wire(fin|binaryData, fromClient, make([]byte, 4096))
	down := wire(fin|binaryData, fromBackend, make([]byte, 4096))
	got := make([]byte, 1<<13)
	pass := func(from, to sock.Socket, message []byte) {
		if _, err := from.Write(message); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(message); {
			part, err := to.Read(got[n:])
			if err != nil && err != sock.ErrAgain {
				t.Fatal(err)
			}
			if n += part; part == 0 {
				runtime.Gosched()
			}
		}
	}
	join := func(i int) {
		farClient, client := pair(t)
		farBackend, backend := pair(t)
		var err error
		if fars[i].client, err = sock.Take(farClient); err != nil {
			t.Fatal(err)
		}
		if fars[i].backend, err = sock.Take(farBackend); err != nil {
			t.Fatal(err)
		}
		if err := e.Splice(Spec{Client: client, Backend: backend, Owner: ownerFunc(func(Result) {})}); err != nil {
			t.Fatal(err)
		}
		pass(fars[i].client, fars[i].backend, up)
		pass(fars[i].backend, fars[i].client, down)
	}
	join(0) // what the first one makes for good
	before := heapInUse()
	for i := 1; i < links; i++ {
		join(i)
	}
	each := int64(heapInUse()-before) / (links - 1)
	t.Logf("%d bytes a link; a looped has %d", each, reflect.TypeFor[looped]().Size())
	if each > most {
		t.Errorf("%d bytes of heap for an idle link, want at most %d", each, most)
	}
}
