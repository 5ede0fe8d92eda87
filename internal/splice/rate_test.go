package splice

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/frame"
)

// What waits for its tokens passes later, whole and in order, in both directions and whatever the cut.
func TestSenderOfTooManyMessagesWaits(t *testing.T) {
	policy := &Policy{MessageRate: 200, MessageBurst: 2, RateBackend: true, RateWait: true}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			for _, cut := range []int{3, 1 << 20} {
				r := s.join(t, s.engine(t, forGood), Spec{Policy: policy})
				sender, other := r.sides(client)
				const messages = 40
				var stream []byte
				for range messages {
					stream = append(stream, frames(client, fin|text, 5, fin|ping, 3)...)
				}
				stream = append(stream, wireClose(client, 1000, "")...)
				var wg sync.WaitGroup
				began := time.Now()
				wg.Go(func() { sendCut(t, sender, stream, func() int { return cut }) })
				expect(t, other, stream)
				// Twenty come at once, since a loop tells tenths of a second.
				if took, least := time.Since(began), (messages-20)*time.Second/200; took < least {
					t.Errorf("%d messages took %v, want at least %v", messages, took, least)
				}
				wg.Wait()
				checkCause(t, r.over(), by(client, ClientClosed, BackendClosed))
			}
		}
	})
}

// cancelled is a context that is done.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A sender that would have to wait for longer than anyone waits.
var slow = &Policy{MessageRate: 1e-3, MessageBurst: 1, RateWait: true}

func TestLinkWhoseSenderWaitsIsClosedAsAnyOther(t *testing.T) {
	pass, wait := frames(fromClient, fin|text, 1), frames(fromClient, fin|text, 2, fin|text, 3)
	tests := []struct {
		name string
		end  func(r *rig)
		want Cause
	}{
		{"drained", func(r *rig) {
			r.engine.Drain()
			r.expectGoingAway()
			send(r.t, r.client, wireClose(fromClient, frame.GoingAway, ""))
			send(r.t, r.backend, wireClose(fromBackend, frame.GoingAway, ""))
		}, Drained},
		{"closed by the backend", func(r *rig) {
			send(r.t, r.backend, wireClose(fromBackend, 1000, ""))
			expect(r.t, r.client, wireClose(fromBackend, 1000, ""))
		}, BackendClosed},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r := s.join(t, s.engine(t, forGood), Spec{Policy: slow})
				send(t, r.client, append(bytes.Clone(pass), wait...))
				expect(t, r.backend, pass)
				tt.end(r)
				checkCause(t, r.over(), tt.want)
			})
		}
	})
}

func TestEngineStopsAlthoughASenderWaits(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.newEngine(t, forGood)
		r := s.join(t, e, Spec{Policy: slow})
		send(t, r.client, frames(fromClient, fin|text, 1, fin|text, 2))
		expect(t, r.backend, frames(fromClient, fin|text, 1))
		if cut := e.Stop(cancelled()); cut != 1 {
			t.Errorf("Stop cut off %d links, want 1", cut)
		}
		checkCause(t, r.result(), Drained)
	})
}

func TestWhatWaitsIsNeitherLostNorDoubled(t *testing.T) {
	rng := newRand(t)
	for range 200 {
		stream, _ := randomStream(rng, fromClient, randomSizes(rng, 30, 2000))
		policy := &Policy{MessageRate: 10, MessageBurst: 1, RateWait: true}
		l, _ := at(policy)
		p := &l.toBackend
		var got []byte
		now := time.Duration(0)
		for rest := stream; len(rest) > 0 || p.waiting(); {
			if p.waiting() {
				if !p.resumable() {
					now = time.Duration(p.watch.token(p))
					l.tick(l.opened.time().Add(now))
				}
				// As small as no loop's, so that one resume is not enough.
				got = append(got, l.resume(p, make([]byte, headroom+1+rng.IntN(4000)+tailroom))...)
				continue
			}
			n := min(len(rest), 1+rng.IntN(9000))
			got = append(got, l.received(p, newBuffer(rest[:n]), n)...)
			rest = rest[n:]
		}
		if !bytes.Equal(got, stream) {
			t.Fatalf("%d bytes passed of %d, or others", len(got), len(stream))
		}
		if messages := p.tracker.Messages(); messages > 1 && now < time.Duration(messages-1)*time.Second/10 {
			t.Fatalf("%d messages passed in %v", messages, now)
		}
	}
}

// An answer's header may be larger than what a loop reads at once, and so may what comes in with it.
func TestEarlyBytesThatWaitMayBeManyReads(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		stream := bytes.Repeat(frames(fromClient, fin|binaryData, 1000), 300)
		r := s.join(t, s.engine(t, forGood), Spec{
			FromClient: bytes.Clone(stream), Policy: &Policy{MessageRate: 600, MessageBurst: 1, RateWait: true},
		})
		more := wire(fin|text, fromClient, []byte("behind them"))
		send(t, r.client, more)
		expect(t, r.backend, append(stream, more...))
		r.over()
	})
}
