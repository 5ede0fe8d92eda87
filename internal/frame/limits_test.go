package frame

import (
	"errors"
	"testing"
)

func TestLimits(t *testing.T) {
	const server, client = false, true
	frames := func(from bool, parts ...any) (stream []byte) {
		for i := 0; i < len(parts); i += 2 {
			stream = append(stream, wire(byte(parts[i].(int)), from, make([]byte, parts[i+1].(int)))...)
		}
		return stream
	}
	lenient := Limits{Lenient: true}
	tests := []struct {
		name   string
		limits Limits
		from   bool
		stream []byte
		pass   int // how many frames
		want   error
	}{
		{"frame at the limit", Limits{MaxFrame: 300}, client, frames(client, 0x82, 300, 0x82, 300), 2, nil},
		{"frame over the limit", Limits{MaxFrame: 300}, client, frames(client, 0x82, 300, 0x82, 301), 1, ErrFrameSize},
		{"short frame over the limit", Limits{MaxFrame: 5}, server, frames(server, 0x81, 6), 0, ErrFrameSize},
		{"long frame over the limit", Limits{MaxFrame: 0xffff}, server, frames(server, 0x81, 0x10000), 0, ErrFrameSize},
		{"control frame over the limit", Limits{MaxFrame: 5}, server, frames(server, 0x89, 6), 0, ErrFrameSize},
		{"fragments below the frame's limit", Limits{MaxFrame: 5}, server, frames(server, 0x01, 5, 0x00, 5, 0x80, 5), 3, nil},
		{"message at the limit", Limits{MaxMessage: 300}, server, frames(server, 0x82, 300, 0x82, 300), 2, nil},
		{"message over the limit", Limits{MaxMessage: 300}, server, frames(server, 0x82, 300, 0x82, 301), 1, ErrMessageSize},
		{"fragments at the limit", Limits{MaxMessage: 300}, client, frames(client, 0x02, 100, 0x00, 100, 0x80, 100, 0x82, 300), 4, nil},
		{"last fragment over the limit", Limits{MaxMessage: 300}, client, frames(client, 0x02, 100, 0x00, 200, 0x80, 1), 2, ErrMessageSize},
		{"empty fragments at the limit", Limits{MaxMessage: 3}, client, frames(client, 0x02, 3, 0x00, 0, 0x80, 0), 3, nil},
		{"control frames are no part of a message", Limits{MaxMessage: 3}, client,
			frames(client, 0x02, 2, 0x89, 100, 0x80, 1, 0x8a, 100), 4, nil},
		{"the smaller of both limits", Limits{MaxFrame: 10, MaxMessage: 20}, client,
			frames(client, 0x02, 10, 0x00, 10, 0x80, 1), 2, ErrMessageSize},
		{"the largest length there is", Limits{MaxMessage: 1 << 63}, server, []byte{0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}, 0, nil},

		{"lenient: mask of the other direction", lenient, client, frames(server, 0x81, 200, 0x82, 3), 2, nil},
		{"lenient: masked from a server", lenient, server, frames(client, 0x81, 200, 0x82, 3), 2, nil},
		{"lenient: reserved bits and opcodes", lenient, server, frames(server, 0xf3, 5, 0xff, 0x10000), 2, nil},
		{"lenient: long and fragmented control frames", lenient, server, frames(server, 0x09, 126, 0x8a, 300), 2, nil},
		{"lenient: fragments of nothing", lenient, server, frames(server, 0x80, 5, 0x01, 5, 0x81, 5), 3, nil},
		{"lenient: Close of one byte", lenient, server, frames(server, 0x88, 1), 1, nil},
		{"lenient: length with the top bit", lenient, server, []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 0, ErrLength},
		{"lenient: sizes count all the same", Limits{Lenient: true, MaxMessage: 10}, server,
			frames(server, 0x80, 10, 0x80, 10, 0x01, 9, 0x01, 10, 0x80, 1), 4, ErrMessageSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 3, 1 << 20} {
				tr := New(tt.from, NoExtensions)
				tr.Restrict(&tt.limits)
				boundaries, err := follow(&tr, tt.stream, func() int { return size })
				if !errors.Is(err, tt.want) || len(boundaries) != tt.pass || tr.Frames() != uint64(tt.pass) {
					t.Errorf("in pieces of %d: %d frames, error %v; want %d, %v", size, len(boundaries), err, tt.pass, tt.want)
				}
			}
		})
	}
}

func TestLenientTrackerSeesTheClose(t *testing.T) {
	tests := []struct {
		name   string
		stream []byte
		want   uint16
	}{
		{"unmasked from a client", AppendClose(nil, GoingAway, "bye", nil), GoingAway},
		{"masked", AppendClose(nil, GoingAway, "bye", &[4]byte{1, 2, 3, 4}), GoingAway},
		{"of one byte", wire(0x88, true, []byte("x")), NoStatus},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 1 << 20} {
			tr := New(true, NoExtensions)
			tr.Restrict(&Limits{Lenient: true})
			if _, err := follow(&tr, tt.stream, func() int { return size }); err != nil || tr.CloseCode() != tt.want {
				t.Errorf("%s in pieces of %d: code %d, %v; want %d", tt.name, size, tr.CloseCode(), err, tt.want)
			}
		}
	}
}
