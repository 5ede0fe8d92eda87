package splice

import (
	"bytes"
	"testing"
)

// exchangeLarge sends a frame of 2 MiB through a link and verifies it.
func (b *bench) exchangeLarge(h hand) {
	b.t.Helper()
	message := wire(fin|binaryData, fromClient, bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16))
	got, part := []byte(nil), make([]byte, 1<<20)
	for sent := 0; len(got) < len(message); {
		n, _ := h.farClient.Write(message[sent:])
		sent += n
		b.quiet()
		n, _ = h.farBackend.Read(part)
		got = append(got, part[:n]...)
		b.quiet()
	}
	if !bytes.Equal(got, message) {
		b.t.Error("a large frame has changed on its way")
	}
	if n := h.toBackend.tracker.Messages(); n != 1 || h.toBackend.bytes != uint64(len(message)) {
		b.t.Errorf("%d messages, %d bytes have passed; want 1, %d", n, h.toBackend.bytes, len(message))
	}
}

func TestVeryLargeFramesAreMoved(t *testing.T) {
	b := newBench(t)
	b.exchangeLarge(b.link(nil))
	if b.pipes.made == 0 || b.pipes.made != len(b.pipes.spare) {
		t.Errorf("%d pipes were made, %d are spare; want some, and all spare", b.pipes.made, len(b.pipes.spare))
	}
}

func TestWithoutPipesLargeFramesAreCopied(t *testing.T) {
	b := newBench(t)
	b.pipes.made = mostPipes
	b.exchangeLarge(b.link(nil))
	if len(b.pipes.spare) != 0 {
		t.Error("a pipe was made beyond the bound")
	}
}

// Bytes in a pipe that an end has no room for end with the link, and so does the pipe.
func TestPipeOfAStalledLinkEndsWithIt(t *testing.T) {
	before := openDescriptors(t)
	b := newBench(t)
	h := b.link(nil)
	message := wire(fin|binaryData, fromClient, make([]byte, 64<<20))
	for sent := 0; h.backend.unsent == nil || h.backend.unsent.pipe == nil; b.quiet() {
		n, err := h.farClient.Write(message[sent:])
		if sent += n; sent == len(message) {
			t.Fatalf("all has been taken: %v", err)
		}
	}
	b.finish(h.looped)
	h.farClient.Close()
	h.farBackend.Close()
	b.shut()
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are open, want %d as before", after, before)
	}
}
