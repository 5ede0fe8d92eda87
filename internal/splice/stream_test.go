package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"wsproxy/internal/frame"
)

// First bytes of frames.
const (
	fin          = 0x80
	continuation = 0x0
	text         = 0x1
	binaryData   = 0x2
	closeFrame   = 0x8
	ping         = 0x9
	pong         = 0xA
)

// Which end a stream comes from.
const (
	fromClient  = true
	fromBackend = false
)

// wire builds a frame. A client's is masked, with a key that is not zero.
func wire(head byte, client bool, payload []byte) []byte {
	b := []byte{head, 0}
	switch n := len(payload); {
	case n <= 125:
		b[1] = byte(n)
	case n <= 0xffff:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !client {
		return append(b, payload...)
	}
	b[1] |= 0x80
	key := [4]byte{0x5e, 0xed, 0x0f, 0xa1}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// wireClose builds a Close frame.
func wireClose(client bool, code uint16, reason string) []byte {
	return wire(fin|closeFrame, client, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// parsed is a frame as its receiver reads it.
type parsed struct {
	head    byte
	masked  bool
	payload []byte // unmasked
}

// String is the frame in a test's complaint.
func (f parsed) String() string {
	if code, reason, ok := f.closes(); ok {
		return fmt.Sprintf("Close(%d %q masked=%v)", code, reason, f.masked)
	}
	return fmt.Sprintf("frame(%#02x %d bytes masked=%v)", f.head, len(f.payload), f.masked)
}

// closes returns a Close frame's code and reason.
func (f parsed) closes() (code uint16, reason string, ok bool) {
	if f.head != fin|closeFrame {
		return 0, "", false
	}
	if len(f.payload) < 2 {
		return frame.NoStatus, "", true
	}
	return binary.BigEndian.Uint16(f.payload), string(f.payload[2:]), true
}

func readFrame(r io.Reader) (f parsed, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return f, err
	}
	f.head, f.masked = b[0], b[1]&0x80 != 0
	length := uint64(b[1] & 0x7f)
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		clear(b[:])
		if _, err := io.ReadFull(r, b[8-size:]); err != nil {
			return f, err
		}
		length = binary.BigEndian.Uint64(b[:])
	}
	var key [4]byte
	if f.masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, length)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	for i := range f.payload {
		f.payload[i] ^= key[i%4]
	}
	return f, nil
}

// send writes b whole.
func send(t *testing.T, to io.Writer, b []byte) {
	t.Helper()
	if _, err := to.Write(b); err != nil {
		t.Errorf("sending %d bytes: %v", len(b), err)
	}
}

// sendCut writes b in pieces of the sizes that cut returns.
func sendCut(t *testing.T, to io.Writer, b []byte, cut func() int) {
	t.Helper()
	for len(b) > 0 {
		n := min(len(b), cut())
		if _, err := to.Write(b[:n]); err != nil {
			t.Errorf("sending %d of the last %d bytes: %v", n, len(b), err)
			return
		}
		b = b[n:]
	}
}

// expect reads as many bytes as want has, and complains unless they are the same.
func expect(t *testing.T, from io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, min(len(want), 1<<20))
	for at := 0; at < len(want); {
		part := got[:min(len(got), len(want)-at)]
		n, err := io.ReadFull(from, part)
		if !bytes.Equal(part[:n], want[at:at+n]) {
			t.Errorf("bytes %d to %d of %d differ from those sent", at, at+n, len(want))
			return
		}
		if err != nil {
			t.Errorf("after %d of %d bytes: %v", at+n, len(want), err)
			return
		}
		at += n
	}
}

// expectClose reads a Close frame with a code; what is masked comes from the proxy to a backend.
func expectClose(t *testing.T, from io.Reader, code uint16, masked bool) {
	t.Helper()
	f, err := readFrame(from)
	if err != nil {
		t.Errorf("reading the Close frame: %v", err)
		return
	}
	if got, _, ok := f.closes(); !ok || got != code || f.masked != masked {
		t.Errorf("received %v, want a Close %d masked=%v", f, code, masked)
	}
}

// expectEnd reads an orderly end, with nothing before it.
func expectEnd(t *testing.T, from io.Reader) {
	t.Helper()
	var b [64]byte
	if n, err := from.Read(b[:]); n != 0 || err != io.EOF {
		t.Errorf("received % x, %v; want an orderly end", b[:n], err)
	}
}

// expectBroken reads an end that is no orderly one, with nothing before it.
func expectBroken(t *testing.T, from io.Reader) {
	t.Helper()
	var b [64]byte
	n, err := from.Read(b[:])
	if n != 0 || err == nil || err == io.EOF || isTimeout(err) {
		t.Errorf("received % x, %v; want a broken end", b[:n], err)
	}
}

// isTimeout reports whether what a test waited for has not come.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// randomStream is a stream of frames of the given sizes: text, binary, whole and in fragments,
// with Pings and Pongs in between. A frame's payload is random as it is on the wire.
func randomStream(rng *rand.Rand, client bool, sizes []int) (stream []byte, want Count) {
	source := rand.NewChaCha8([32]byte{byte(rng.Uint32()), byte(rng.Uint32())})
	add := func(head byte, size int) {
		at := len(stream)
		stream = append(stream, wire(head, client, nil)...)
		switch masked := stream[at+1]; {
		case size > 0xffff:
			stream[at+1] = masked | 127
			stream = binary.BigEndian.AppendUint64(stream[:at+2], uint64(size))
		case size > 125:
			stream[at+1] = masked | 126
			stream = binary.BigEndian.AppendUint16(stream[:at+2], uint16(size))
		default:
			stream[at+1] = masked | byte(size)
			stream = stream[:at+2]
		}
		if client {
			size += 4 // the masking key
		}
		at = len(stream)
		stream = append(stream, make([]byte, size)...)
		_, _ = source.Read(stream[at:]) // never fails
		want.Frames++
	}
	fragmented := false
	for _, size := range sizes {
		head := byte(text + rng.IntN(2))
		if fragmented {
			head = continuation
		}
		if fragmented = rng.IntN(3) == 0; !fragmented {
			head |= fin
			want.Messages++
		}
		add(head, size)
		if rng.IntN(3) == 0 {
			add(fin|byte(ping+rng.IntN(2)), rng.IntN(126))
		}
	}
	if fragmented {
		add(fin|continuation, 0)
		want.Messages++
	}
	want.Bytes = uint64(len(stream))
	return stream, want
}

// randomSizes are n frame sizes, most of them small.
func randomSizes(rng *rand.Rand, n, limit int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = rng.IntN(1 + rng.IntN(1+rng.IntN(limit)))
	}
	return sizes
}

// newRand is a source of its own for a test, named in its log so that a failure can be repeated.
func newRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
