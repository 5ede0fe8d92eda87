package splice

import (
	"sync"
	"testing"

	"wsproxy/internal/frame"
)

// expectGoingAway reads the proxy's Close at both ends.
func (r *rig) expectGoingAway() {
	r.t.Helper()
	expectClose(r.t, r.client, frame.GoingAway, false)
	expectClose(r.t, r.backend, frame.GoingAway, true)
}

// answer answers the proxy's Close at both ends, and checks that nothing follows it and that the
// link ends.
func (r *rig) answer() {
	r.t.Helper()
	send(r.t, r.client, wireClose(fromClient, frame.GoingAway, ""))
	send(r.t, r.backend, wireClose(fromBackend, frame.GoingAway, ""))
	_ = r.backend.CloseWrite()
	expectEnd(r.t, r.client)
	_ = r.client.CloseWrite()
	expectEnd(r.t, r.backend)
	checkEnd(r.t, r.result(), Result{Cause: Drained, ClientCode: frame.GoingAway, BackendCode: frame.GoingAway})
}

func TestDrainClosesIdleLinks(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		rigs := []*rig{s.join(t, e, Spec{}), s.join(t, e, Spec{}), s.join(t, e, Spec{})}
		// The second has carried something.
		hello := wire(fin|text, fromClient, []byte("hello"))
		send(t, rigs[1].client, hello)
		expect(t, rigs[1].backend, hello)
		e.Drain()
		e.Drain() // twice is once
		for _, r := range rigs {
			r.expectGoingAway()
		}
		for _, r := range rigs {
			r.answer()
		}
	})
}

func TestDrainEndsLinksThatAnswerWithoutLeaving(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, Config{CloseTimeout: -1, FinTimeout: 1})
		r := s.join(t, e, Spec{})
		e.Drain()
		r.expectGoingAway()
		send(t, r.client, wireClose(fromClient, frame.GoingAway, ""))
		send(t, r.backend, wireClose(fromBackend, frame.GoingAway, ""))
		expectEnd(t, r.client)
		expectEnd(t, r.backend)
		checkCause(t, r.result(), Drained)
	})
}

func TestDrainWaitsForFrameEnd(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, forGood)
			ends, other := r.client, r.backend
			if client == fromBackend {
				ends, other = r.backend, r.client
			}
			long := wire(fin|binaryData, client, make([]byte, 100_000))
			more := wire(fin|text, client, []byte("too late"))
			send(t, ends, long[:50_000])
			expect(t, other, long[:50_000])
			r.engine.Drain()
			expectClose(t, ends, frame.GoingAway, client == fromBackend) // its direction stood at a boundary
			send(t, ends, long[50_000:99_999])
			expect(t, other, long[50_000:99_999])
			send(t, ends, append(long[99_999:], more...))
			expect(t, other, long[99_999:])
			expectClose(t, other, frame.GoingAway, client == fromClient)
			r.answer()
		}
	})
}

func TestDrainClosesBetweenFragments(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.open(t, forGood)
		up, down := wire(text, fromClient, []byte("first")), wire(text, fromBackend, []byte("first"))
		send(t, r.client, up)
		send(t, r.backend, down)
		expect(t, r.backend, up)
		expect(t, r.client, down)
		r.engine.Drain()
		r.expectGoingAway()
		send(t, r.client, wire(fin|continuation, fromClient, []byte("second")))
		send(t, r.backend, wire(fin|continuation, fromBackend, []byte("second")))
		r.answer()
	})
}

func TestDrainDropsABegunHeader(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.open(t, forGood)
		up, down := wire(fin|text, fromClient, []byte("late")), wire(fin|text, fromBackend, []byte("late"))
		send(t, r.client, up[:1])
		send(t, r.backend, down[:1])
		r.engine.Drain()
		r.expectGoingAway()
		send(t, r.client, up[1:])
		send(t, r.backend, down[1:])
		r.answer()
	})
}

// Links that flood both ways stand at a boundary only for a moment, and nobody has to be woken.
func TestDrainClosesBusyLinks(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.open(t, forGood)
		flood := func(far End, client bool) {
			message := wire(fin|binaryData, client, make([]byte, 3000))
			closed := make(chan struct{})
			var reader sync.WaitGroup
			reader.Go(func() {
				defer close(closed)
				for {
					f, err := readFrame(far)
					if err != nil {
						t.Errorf("reading: %v", err)
						return
					}
					if code, _, ok := f.closes(); ok {
						if code != frame.GoingAway {
							t.Errorf("received %v, want a Close 1001", f)
						}
						return
					}
				}
			})
			for {
				select {
				case <-closed:
					reader.Wait()
					return
				default:
					send(t, far, message)
				}
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { flood(r.client, fromClient) })
		wg.Go(func() { flood(r.backend, fromBackend) })
		r.engine.Drain()
		wg.Wait()
		r.answer()
	})
}

func TestLinkMadeWhileDrainingIsClosedAtOnce(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		e.Drain()
		r := s.join(t, e, Spec{
			FromClient:  wire(fin|text, fromClient, []byte("early")),
			FromBackend: wire(fin|text, fromBackend, []byte("early")),
		})
		r.expectGoingAway()
		r.answer()
	})
}
