package splice

import (
	"slices"
	"testing"
	"time"

	"wsproxy/internal/frame"
)

// expectPing reads a Ping of the proxy's own and returns the Pong that answers it.
func expectPing(t *testing.T, from End, client bool) (answer []byte) {
	t.Helper()
	f, err := readFrame(from)
	if err != nil || f.head != fin|ping || len(f.payload) != frame.PingPayload || f.masked == client {
		t.Fatalf("received %v, %v; want a Ping of wsproxy's own, masked: %v", f, err, !client)
	}
	return wire(fin|pong, client, f.payload)
}

func trips(e *Engine) (n uint64) {
	for _, c := range e.Stats().RoundTrips.Counts {
		n += c
	}
	return n
}

func TestPongsToOwnPingsGoNoFurther(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			for _, cut := range []int{1, 5, 1 << 20} {
				policy := &Policy{PingInterval: time.Millisecond, PongTimeout: time.Hour, PingBackend: client == fromBackend}
				e := s.engine(t, forGood)
				r := s.join(t, e, Spec{Policy: policy})
				pinged, other := r.sides(client)
				answer := expectPing(t, pinged, client)
				hello, part, rest := frames(client, fin|text, 5), frames(client, text, 3), frames(client, fin|continuation, 3)
				foreign := wire(fin|pong, client, []byte("foreign!"))
				ownPing := wire(fin|ping, client, answer[len(answer)-frame.PingPayload:])
				sent := slices.Concat(hello, answer, part, answer, rest, foreign, answer, answer, ownPing)
				sendCut(t, pinged, sent, func() int { return cut })
				expectPassed(t, other, slices.Concat(hello, part, rest, foreign, ownPing), client)
				eventually(t, "the round trip is counted", func() bool { return trips(e) > 0 })
				r.over()
			}
		}
	})
}

// expectPassed reads want, frame by frame, and skips Pings of wsproxy's own to this end.
func expectPassed(t *testing.T, from End, want []byte, client bool) {
	t.Helper()
	var got []byte
	for len(got) < len(want) {
		f, err := readFrame(from)
		if err != nil {
			t.Fatalf("after % x: %v", got, err)
		}
		again := wire(f.head, client, f.payload)
		if !slices.Equal(want[len(got):min(len(want), len(got)+len(again))], again) && f.head == fin|ping {
			continue
		}
		got = append(got, again...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("received % x, want % x", got, want)
	}
}

func TestEndThatDoesNotAnswerAPingIsGivenUp(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.join(t, s.engine(t, forGood), Spec{Policy: &Policy{PingInterval: time.Millisecond, PongTimeout: time.Millisecond}})
		expectClose(t, r.backend, frame.GoingAway, true)
		expectEnd(t, r.backend)
		checkCause(t, r.over(), ClientSilent)

		r = s.join(t, s.engine(t, forGood), Spec{Policy: &Policy{
			PingInterval: 50 * time.Millisecond, PongTimeout: 300 * time.Millisecond, PingBackend: true,
		}})
		for { // the client answers until it hears that the backend has gone
			f, err := readFrame(r.client)
			if err != nil {
				t.Fatal(err)
			}
			if code, _, ok := f.closes(); ok {
				if code != frame.BadGateway {
					t.Errorf("the client received %v, want Close 1014", f)
				}
				break
			}
			send(t, r.client, wire(fin|pong, fromClient, f.payload))
		}
		checkCause(t, r.over(), BackendSilent)
	})
}

func TestPingWaitsForFrameEnd(t *testing.T) {
	l, _ := at(&Policy{PingInterval: time.Second, PongTimeout: time.Second})
	hello := wire(fin|text, fromBackend, []byte("hello"))
	pass := func(b []byte) []byte { return slices.Clone(l.received(&l.toClient, newBuffer(b), len(b))) }
	if got := pass(hello[:4]); !slices.Equal(got, hello[:4]) {
		t.Fatalf("passed % x", got)
	}
	l.tick(l.opened.time().Add(time.Second))
	l.patrol(flow{}, flow{})
	if got := pass(hello[4:5]); !slices.Equal(got, hello[4:5]) {
		t.Errorf("in mid-frame % x came out, want % x", got, hello[4:5])
	}
	want := frame.AppendPing(slices.Clone(hello[5:]), &l.toClient.pings().nonce, nil)
	if got := pass(append(slices.Clone(hello[5:]), hello[0])); !slices.Equal(got, want) {
		t.Errorf("at the frame's end % x came out, want % x", got, want)
	}
}

func TestHeartbeat(t *testing.T) {
	const s = moment(time.Second)
	p := &Policy{PingInterval: 30 * time.Second, PongTimeout: 10 * time.Second}
	type beat struct {
		heard, ponged, blocked bool // just before
		at, next               moment
		wanted, dead           bool
	}
	tests := []struct {
		name  string
		beats []beat
		trips uint64
	}{
		{"silent", []beat{{at: 0, next: 30 * s}, {at: 30 * s, next: 40 * s, wanted: true}, {at: 39 * s, next: 40 * s},
			{at: 40 * s, next: 40 * s, dead: true}}, 0},
		{"answers", []beat{{at: 30 * s, next: 40 * s, wanted: true}, {ponged: true, at: 31 * s, next: 61 * s},
			{at: 61 * s, next: 71 * s, wanted: true}, {ponged: true, at: 62 * s, next: 92 * s}}, 2},
		{"talks and never answers", []beat{{at: 30 * s, next: 40 * s, wanted: true}, {heard: true, at: 35 * s, next: 65 * s},
			{at: 65 * s, next: 75 * s, wanted: true}}, 0},
		{"talks without being asked", []beat{{heard: true, at: 20 * s, next: 50 * s}, {at: 30 * s, next: 50 * s}}, 0},
		{"is not read from", []beat{{at: 30 * s, next: 40 * s, wanted: true}, {blocked: true, at: 40 * s, next: 50 * s},
			{at: 50 * s, next: 50 * s, dead: true}}, 0},
		{"two Pongs to one Ping", []beat{{at: 30 * s, next: 40 * s, wanted: true}, {ponged: true, at: 31 * s, next: 61 * s},
			{ponged: true, at: 32 * s, next: 62 * s}}, 1},
	}
	for _, tt := range tests {
		h := newHeartbeat(new(roundTrips))
		for _, b := range tt.beats {
			if b.heard {
				h.heard = b.at
			}
			if b.ponged {
				h.ponged(b.at)
			}
			next, dead := h.beat(p, b.at, b.blocked)
			if next != b.next || dead != b.dead || h.wanted != b.wanted {
				t.Errorf("%s: at %v beat = %v, %v, Ping wanted: %v; want %v, %v, %v", tt.name, time.Duration(b.at),
					time.Duration(next), dead, h.wanted, time.Duration(b.next), b.dead, b.wanted)
			}
			if h.wanted {
				h.pinged(p, b.at)
			}
		}
		got := h.trips.snapshot()
		if got.Counts[8] != tt.trips || got.Sum != time.Duration(tt.trips)*time.Second {
			t.Errorf("%s: round trips %+v, want %d of one second", tt.name, got, tt.trips)
		}
	}
}
