package splice

import (
	"errors"
	"testing"

	"wsproxy/internal/frame"
)

// sides are both ends of a rig, the sender of a test first.
func (r *rig) sides(client bool) (sender, other End) {
	if client == fromClient {
		return r.client, r.backend
	}
	return r.backend, r.client
}

// by is one of two causes, by who did it.
func by(client bool, ofClient, ofBackend Cause) Cause {
	if client == fromClient {
		return ofClient
	}
	return ofBackend
}

func TestWhatIsTooBigDoesNotPass(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		pass   []any // heads and sizes of what passes
		big    []any // and of what does not
		want   error
	}{
		{"frame", Policy{Limits: frame.Limits{MaxFrame: 200}}, []any{fin | text, 200}, []any{fin | text, 201}, frame.ErrFrameSize},
		{"message", Policy{Limits: frame.Limits{MaxMessage: 70_000}},
			[]any{fin | binaryData, 70_000}, []any{fin | binaryData, 70_001}, frame.ErrMessageSize},
		{"last fragment", Policy{Limits: frame.Limits{MaxMessage: 1000}},
			[]any{text, 999, fin | ping, 125, continuation, 1}, []any{fin | continuation, 1}, frame.ErrMessageSize},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			for _, client := range []bool{fromClient, fromBackend} {
				for _, cut := range []int{7, 1 << 20} {
					r := s.join(t, s.engine(t, forGood), Spec{Policy: &tt.policy})
					sender, other := r.sides(client)
					pass, big := frames(client, tt.pass...), frames(client, tt.big...)
					sendCut(t, sender, append(pass, big...), func() int { return cut })
					expect(t, other, pass)
					expectClose(t, other, frame.GoingAway, client == fromClient)
					expectClose(t, sender, frame.TooBig, client == fromBackend)
					res := r.over()
					if want := by(client, ClientTooBig, BackendTooBig); res.Cause != want || !errors.Is(res.Err, tt.want) {
						t.Errorf("%s: %q, %v; want %q, %v", tt.name, res.Cause, res.Err, want, tt.want)
					}
				}
			}
		}
	})
}

// frames builds the frames with the heads and payload sizes of parts.
func frames(client bool, parts ...any) (stream []byte) {
	for i := 0; i < len(parts); i += 2 {
		stream = append(stream, wire(byte(parts[i].(int)), client, make([]byte, parts[i+1].(int)))...)
	}
	return stream
}

func TestLenientLinkPassesWhatIsNotRFC6455(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.join(t, s.engine(t, forGood), Spec{Policy: &Policy{Limits: frame.Limits{Lenient: true}}})
			sender, other := r.sides(client)
			odd := frames(!client, fin|text, 5, fin|0x30|0x3, 300, ping, 126, fin|continuation, 1)
			sendCut(t, sender, odd, func() int { return 5 })
			expect(t, other, odd)
			r.engine.Drain()
			expectClose(t, other, frame.GoingAway, client == fromClient)
			checkCause(t, r.over(), Drained)

			r = s.join(t, s.engine(t, forGood), Spec{Policy: &Policy{Limits: frame.Limits{Lenient: true}}})
			sender, _ = r.sides(client)
			send(t, sender, []byte{fin | text, 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			expectClose(t, sender, frame.ProtocolError, client == fromBackend)
			if res := r.over(); !errors.Is(res.Err, frame.ErrLength) {
				t.Errorf("a length with the top bit set: %v, want %v", res.Err, frame.ErrLength)
			}
		}
	})
}
