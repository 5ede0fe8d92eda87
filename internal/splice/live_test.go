package splice

import (
	"io"
	"testing"
	"time"

	"wsproxy/internal/frame"
)

func TestLinksShowWhatIsKnownOfEach(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		before := time.Now()
		e := s.engine(t, forGood)
		policy := &Policy{PingInterval: time.Millisecond, PongTimeout: patience}
		spec := Spec{Policy: policy, FromClient: frames(fromClient, fin|text, 5, fin|ping, 0)}
		r := s.join(t, e, spec)
		expect(t, r.backend, spec.FromClient)
		other := s.join(t, e, Spec{})

		// The client answers a Ping.
		var ping [frame.PingPayload]byte
		got := make([]byte, 2+len(ping))
		if _, err := io.ReadFull(r.client, got); err != nil {
			t.Fatal(err)
		}
		copy(ping[:], got[2:])
		send(t, r.client, wire(fin|pong, fromClient, ping[:]))

		var mine, others []Live
		eventually(t, "the round trip is known", func() bool {
			mine, others = nil, nil
			e.Links(func(l Live) {
				if l.ToBackend.Frames > 0 {
					mine = append(mine, l)
				} else {
					others = append(others, l)
				}
			})
			return len(mine) == 1 && mine[0].ClientTrip > 0
		})
		if len(others) != 1 {
			t.Fatalf("%d other links, want 1", len(others))
		}
		link := mine[0]
		want := Count{Bytes: uint64(len(spec.FromClient)), Frames: 2, Messages: 1}
		if link.ToBackend != want || link.Cause != StillOpen || link.BackendTrip != 0 || link.Owner == nil {
			t.Errorf("link = %+v, want %+v to the backend, open, without a trip to the backend, owned", link, want)
		}
		if now := time.Now(); link.Opened.Before(before) || link.Active.Before(link.Opened) || link.Active.After(now) {
			t.Errorf("opened %v, active %v; want them in this order between %v and %v", link.Opened, link.Active, before, now)
		}
		if others[0].ToBackend != (Count{}) || others[0].ClientTrip != 0 {
			t.Errorf("the idle link = %+v", others[0])
		}

		r.over()
		other.over()
		eventually(t, "links that have ended are not there", func() bool {
			n := 0
			e.Links(func(Live) { n++ })
			return n == 0
		})
	})
}
