package frame

import "testing"

func TestMatchPong(t *testing.T) {
	nonce := [PingPayload]byte([]byte("8 bytes!"))
	change := func(b []byte, at int) []byte {
		b[at] ^= 1
		return b
	}
	for _, fromClient := range []bool{true, false} {
		pong := func() []byte { return wire(bitFin|opPong, fromClient, nonce[:]) }
		tests := []struct {
			name  string
			b     []byte
			match bool
			from  int // the prefixes from here on that cannot be it
		}{
			{"it", pong(), true, 99},
			{"it, and more", append(pong(), 'x'), true, 99},
			{"a Ping", wire(bitFin|opPing, fromClient, nonce[:]), false, 1},
			{"not final", wire(opPong, fromClient, nonce[:]), false, 1},
			{"reserved bit", wire(bitFin|bitRSV1|opPong, fromClient, nonce[:]), false, 1},
			{"of the other direction", wire(bitFin|opPong, !fromClient, nonce[:]), false, 2},
			{"shorter", wire(bitFin|opPong, fromClient, nonce[:7]), false, 2},
			{"longer", wire(bitFin|opPong, fromClient, append(nonce[:], 'x')), false, 2},
			{"other first byte", change(pong(), len(pong())-8), false, len(pong()) - 7},
			{"other last byte", change(pong(), len(pong())-1), false, len(pong())},
		}
		for _, tt := range tests {
			for n := range len(tt.b) + 1 {
				size, maybe := MatchPong(tt.b[:n], fromClient, &nonce)
				whole := tt.match && n >= len(pong())
				wantMaybe := n > 0 && n < tt.from && !whole
				if whole != (size == len(pong())) || !whole && size != 0 || maybe != wantMaybe {
					t.Errorf("fromClient=%v %s: first %d bytes: %d, %v; want all: %v, maybe: %v", fromClient, tt.name, n, size, maybe, whole, wantMaybe)
				}
				if maybe && n > MaxHead {
					t.Errorf("%d bytes are to be held back, MaxHead is %d", n, MaxHead)
				}
			}
		}
	}
}

func TestAppendPing(t *testing.T) {
	nonce, key := [PingPayload]byte([]byte("8 bytes!")), [4]byte{0xa1, 0x02, 0xf3, 0x64}
	for _, tt := range []struct {
		mask *[4]byte
		want []byte
	}{
		{nil, wire(bitFin|opPing, false, nonce[:])},
		{&key, wire(bitFin|opPing, true, nonce[:])},
	} {
		if got := AppendPing([]byte("x"), &nonce, tt.mask); string(got) != "x"+string(tt.want) {
			t.Errorf("AppendPing with mask %v = % x, want x and % x", tt.mask, got, tt.want)
		}
	}
}
