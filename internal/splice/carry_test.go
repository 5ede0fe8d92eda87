package splice

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"wsproxy/internal/frame"
)

func TestFramesPassUnchangedBothWaysAtOnce(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 4095, 4096, 4097, 0xffff, 0x10000, 1 << 20, 16 << 20}
	tests := []struct {
		name  string
		sizes func(rng *rand.Rand) []int
		cut   func(rng *rand.Rand) func() int
	}{
		{"up to 16 MiB, whole",
			func(*rand.Rand) []int { return sizes },
			func(*rand.Rand) func() int { return func() int { return 64 << 20 } }},
		{"random sizes in random cuts",
			func(rng *rand.Rand) []int { return append(randomSizes(rng, 200, 100_000), 0xffff, 0x10000, 3<<20) },
			func(rng *rand.Rand) func() int { return func() int { return 1 + rng.IntN(1+rng.IntN(100_000)) } }},
		{"one-byte segments",
			func(rng *rand.Rand) []int { return append(randomSizes(rng, 20, 200), 0, 1, 125, 126) },
			func(*rand.Rand) func() int { return func() int { return 1 } }},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				rng := newRand(t)
				up, toBackend := randomStream(rng, fromClient, tt.sizes(rng))
				down, toClient := randomStream(rng, fromBackend, tt.sizes(rng))
				clientCut := tt.cut(rand.New(rand.NewPCG(rng.Uint64(), 0)))
				backendCut := tt.cut(rand.New(rand.NewPCG(rng.Uint64(), 0)))
				r := s.open(t, forGood)

				var wg sync.WaitGroup
				wg.Go(func() { sendCut(t, r.client, up, clientCut) })
				wg.Go(func() { sendCut(t, r.backend, down, backendCut) })
				wg.Go(func() { expect(t, r.client, down) })
				wg.Go(func() { expect(t, r.backend, up) })
				wg.Wait()

				r.closeBoth(1000, &toBackend, &toClient)
				checkCounts(t, r.over(), toBackend, toClient)
			})
		}
	})
}

// What passes of the bytes before a cut is read before the rest is sent, so that each cut is where one
// read ends and the next begins.
func TestAnyCutPasses(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, forGood)
			ends, other := r.client, r.backend
			if client == fromBackend {
				ends, other = r.backend, r.client
			}
			for _, stream := range [][]byte{
				slices.Concat(wire(text, client, []byte("first")), wire(fin|ping, client, []byte("between")),
					wire(fin|continuation, client, nil), wire(fin|text, client, []byte("whole"))),
				wire(fin|binaryData, client, make([]byte, 126)),     // two more bytes of length
				wire(fin|binaryData, client, make([]byte, 0x10000)), // eight
			} {
				for cut := 1; cut < min(len(stream), 200) && !t.Failed(); cut++ {
					tracker := frame.New(client, frame.NoExtensions)
					passes, _ := follow(&tracker, client, stream[:cut])
					send(t, ends, stream[:cut])
					expect(t, other, stream[:len(passes)])
					send(t, ends, stream[cut:])
					expect(t, other, stream[len(passes):])
				}
			}
			r.over()
		}
	})
}

// closeBoth lets the client close with a code and the backend answer, and adds both frames to what
// has passed.
func (r *rig) closeBoth(code uint16, toBackend, toClient *Count) {
	r.t.Helper()
	up, down := wireClose(fromClient, code, "bye"), wireClose(fromBackend, code, "")
	send(r.t, r.client, up)
	expect(r.t, r.backend, up)
	send(r.t, r.backend, down)
	expect(r.t, r.client, down)
	for _, c := range []struct {
		count *Count
		frame []byte
	}{{toBackend, up}, {toClient, down}} {
		c.count.Frames++
		c.count.Bytes += uint64(len(c.frame))
	}
}

func checkCounts(t *testing.T, res Result, toBackend, toClient Count) {
	t.Helper()
	if res.ToBackend != toBackend {
		t.Errorf("to the backend: %+v, want %+v", res.ToBackend, toBackend)
	}
	if res.ToClient != toClient {
		t.Errorf("to the client: %+v, want %+v", res.ToClient, toClient)
	}
	if res.Duration <= 0 {
		t.Errorf("Duration = %v, want more than 0", res.Duration)
	}
}

func TestEarlyBytesAreFirstAndInOrder(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, size := range []int{0, 1, 300, 200_000} { // none, a part of a header, in one piece, in several
			rng := newRand(t)
			up, toBackend := randomStream(rng, fromClient, append(randomSizes(rng, 9, 50_000), size))
			down, toClient := randomStream(rng, fromBackend, append(randomSizes(rng, 9, 50_000), size))
			upEarly, downEarly := min(size, len(up)), min(size, len(down))
			r, spec := s.pairs(t, s.engine(t, forGood), Spec{
				FromClient: bytes.Clone(up[:upEarly]), FromBackend: bytes.Clone(down[:downEarly]),
			})

			// What the sockets hold already stands behind the early bytes.
			var wg sync.WaitGroup
			wg.Go(func() { send(t, r.client, up[upEarly:]) })
			wg.Go(func() { send(t, r.backend, down[downEarly:]) })
			r.splice(spec)
			wg.Go(func() { expect(t, r.client, down) })
			wg.Go(func() { expect(t, r.backend, up) })
			wg.Wait()

			r.closeBoth(1000, &toBackend, &toClient)
			checkCounts(t, r.over(), toBackend, toClient)
		}
	})
}

func TestExtensionsPassWhereTheyWereAgreedOn(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		deflated := wire(fin|0x40|text, fromBackend, []byte("compressed"))
		foreign := wire(fin|0x30|0x3, fromClient, []byte("who knows"))

		r := s.join(t, s.engine(t, forGood), Spec{Extensions: frame.Deflate})
		send(t, r.backend, deflated)
		expect(t, r.client, deflated)
		r.over()

		r = s.join(t, s.engine(t, forGood), Spec{Extensions: frame.Unknown})
		send(t, r.client, foreign)
		expect(t, r.backend, foreign)
		r.over()
	})
}

func TestStatsCountLinks(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		rigs := []*rig{s.join(t, e, Spec{}), s.join(t, e, Spec{}), s.join(t, e, Spec{})}
		if got, want := e.Stats(), (Stats{Open: 3, Opened: 3}); got != want {
			t.Errorf("Stats with three links open: %+v, want %+v", got, want)
		}
		for _, r := range rigs {
			r.over()
		}
		eventually(t, "no link is open", func() bool { return e.Stats().Open == 0 })
		if got := e.Stats().Opened; got != 3 {
			t.Errorf("Opened = %d, want 3", got)
		}
	})
}
