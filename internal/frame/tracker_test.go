package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// wire builds one frame; head is the first byte. A client's frame is masked.
func wire(head byte, fromClient bool, payload []byte) []byte {
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
	if !fromClient {
		return append(b, payload...)
	}
	key := [4]byte{0xa1, 0x02, 0xf3, 0x64}
	b[1] |= bitMask
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// follow gives stream to a Tracker in pieces of the sizes that cut returns, as a pipe does, and
// returns where frames ended.
func follow(t *Tracker, stream []byte, cut func() int) (boundaries []int, err error) {
	passed, given := 0, 0
	for given < len(stream) && !t.Closed() {
		given = min(len(stream), given+max(1, cut()))
		for passed < given && !t.Closed() {
			n, err := t.Next(stream[passed:given])
			if err != nil {
				return boundaries, err
			}
			if n == 0 {
				break
			}
			passed += n
			if t.AtBoundary() {
				boundaries = append(boundaries, passed)
			}
		}
		if left := given - passed; left > MaxHead && !t.Closed() {
			return boundaries, errors.New("more than MaxHead bytes left for later")
		}
	}
	return boundaries, nil
}

func TestEveryCutGivesTheSameBoundaries(t *testing.T) {
	for _, fromClient := range []bool{true, false} {
		var stream []byte
		var want []int
		for _, f := range []struct {
			head byte
			size int
		}{
			{0x81, 0}, {0x82, 1}, {0x01, 125}, {0x89, 125}, {0x00, 126}, {0x8a, 0}, {0x80, 300},
			{0x82, 0xffff}, {0x81, 0x10000}, {0x88, 2},
		} {
			stream = append(stream, wire(f.head, fromClient, bytes.Repeat([]byte{0x03, 0xe8}, f.size/2+1)[:f.size])...)
			want = append(want, len(stream))
		}
		rng := rand.New(rand.NewPCG(1, 2))
		cuts := map[string]func() int{
			"whole":  func() int { return len(stream) },
			"ones":   func() int { return 1 },
			"random": func() int { return rng.IntN(40) },
		}
		for name, cut := range cuts {
			tr := New(fromClient, NoExtensions)
			got, err := follow(&tr, stream, cut)
			if err != nil {
				t.Errorf("fromClient=%v %s: %v", fromClient, name, err)
			}
			if len(got) != len(want) || !equal(got, want) {
				t.Errorf("fromClient=%v %s: boundaries %v, want %v", fromClient, name, got, want)
			}
			if tr.Frames() != 10 || tr.Messages() != 5 || tr.CloseCode() != 1000 {
				t.Errorf("fromClient=%v %s: %d frames, %d messages, code %d; want 10, 5, 1000",
					fromClient, name, tr.Frames(), tr.Messages(), tr.CloseCode())
			}
		}
	}
}

func equal(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestViolations(t *testing.T) {
	const server, client = false, true
	long := bytes.Repeat([]byte("x"), 126)
	tests := []struct {
		name       string
		from       bool
		extensions Extensions
		stream     []byte
		want       error
	}{
		{"masked from a server", server, 0, wire(0x81, client, nil), ErrMasked},
		{"unmasked from a client", client, 0, wire(0x81, server, nil), ErrUnmasked},
		{"RSV1 without an extension", server, 0, wire(0xc1, server, nil), ErrReserved},
		{"RSV1 with deflate", server, Deflate, wire(0xc1, server, nil), nil},
		{"RSV1 with deflate on a continuation", server, Deflate, append(wire(0x41, server, nil), wire(0xc0, server, nil)...), ErrReserved},
		{"RSV1 with deflate on a ping", server, Deflate, wire(0xc9, server, nil), ErrReserved},
		{"RSV2 with deflate", server, Deflate, wire(0xa1, server, nil), ErrReserved},
		{"RSV3 with another extension", server, Unknown, wire(0x91, server, nil), nil},
		{"opcode 3", server, 0, wire(0x83, server, nil), ErrOpcode},
		{"opcode 3 with another extension", server, Unknown, wire(0x83, server, nil), nil},
		{"opcode 11", client, 0, wire(0x8b, client, nil), ErrOpcode},
		{"ping of 126 bytes", server, 0, wire(0x89, server, long), ErrControlLength},
		{"fragmented pong", server, 0, wire(0x0a, server, nil), ErrControlPart},
		{"close of one byte", server, 0, wire(0x88, server, []byte("x")), ErrClosePayload},
		{"continuation of nothing", server, 0, wire(0x80, server, nil), ErrNoMessage},
		{"continuation after the last", server, 0, append(wire(0x81, server, nil), wire(0x80, server, nil)...), ErrNoMessage},
		{"message inside a message", server, 0, append(wire(0x01, server, nil), wire(0x81, server, nil)...), ErrNoContinuation},
		{"ping inside a message", server, 0, append(wire(0x01, server, nil), wire(0x89, server, nil)...), nil},
		{"length with the top bit", server, 0, []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, ErrLength},
		{"length that needs no such room", server, 0, []byte{0x82, 126, 0, 1, 'x'}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 1 << 20} {
				tr := New(tt.from, tt.extensions)
				if _, err := follow(&tr, tt.stream, func() int { return size }); !errors.Is(err, tt.want) {
					t.Errorf("in pieces of %d: error %v, want %v", size, err, tt.want)
				}
			}
		})
	}
}

func TestCloseCodes(t *testing.T) {
	key := [4]byte{9, 8, 7, 6}
	tests := []struct {
		name       string
		fromClient bool
		stream     []byte
		want       uint16
	}{
		{"from a server", false, AppendClose(nil, GoingAway, "bye", nil), GoingAway},
		{"from a client", true, AppendClose(nil, ProtocolError, "", &key), ProtocolError},
		{"without a code", false, wire(0x88, false, nil), NoStatus},
		{"the longest reason", true, AppendClose(nil, BadGateway, strings.Repeat("z", 200), &key), BadGateway},
		{"none", false, wire(0x81, false, []byte("text")), 0},
	}
	for _, tt := range tests {
		if len(tt.stream) > MaxClose {
			t.Errorf("%s: frame of %d bytes, MaxClose is %d", tt.name, len(tt.stream), MaxClose)
		}
		for _, size := range []int{1, 3, 1 << 20} {
			tr := New(tt.fromClient, NoExtensions)
			if _, err := follow(&tr, tt.stream, func() int { return size }); err != nil {
				t.Errorf("%s in pieces of %d: %v", tt.name, size, err)
			}
			if got := tr.CloseCode(); got != tt.want {
				t.Errorf("%s in pieces of %d: code %d, want %d", tt.name, size, got, tt.want)
			}
		}
	}
}

func TestLongReasonIsCutBetweenCharacters(t *testing.T) {
	for _, tt := range []struct{ name, reason, want string }{
		{"fits", strings.Repeat("z", 123), strings.Repeat("z", 123)},
		{"one byte too long", strings.Repeat("z", 124), strings.Repeat("z", 123)},
		{"a character across the end", strings.Repeat("z", 121) + "€€", strings.Repeat("z", 121)},
		{"a character before the end", strings.Repeat("z", 120) + "€€", strings.Repeat("z", 120) + "€"},
	} {
		got := AppendClose(nil, GoingAway, tt.reason, nil)
		if reason := string(got[4:]); reason != tt.want || int(got[1]) != 2+len(tt.want) {
			t.Errorf("%s: reason %q, payload of %d; want %q", tt.name, reason, got[1], tt.want)
		}
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	stream := wire(0x82, true, make([]byte, 128))
	tr := New(true, NoExtensions)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := tr.Next(stream); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Next allocates %v times for a frame, want 0", n)
	}
}

// BenchmarkNext is the cost of following small frames; it leaves out reading and writing them.
func BenchmarkNext(b *testing.B) {
	stream := wire(0x82, true, make([]byte, 128))
	tr := New(true, NoExtensions)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.Next(stream); err != nil {
			b.Fatal(err)
		}
	}
}
