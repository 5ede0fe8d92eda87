package splice

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// flood is an end that sends messages without a pause until its link ends.
type flood struct {
	sent atomic.Int64 // bytes that the system took
	over atomic.Bool
}

// flooding starts one; wg waits for it.
func flooding(wg *sync.WaitGroup, far End, message []byte) *flood {
	f := &flood{}
	wg.Go(func() {
		for {
			n, err := far.Write(message)
			f.sent.Add(int64(n))
			if err != nil {
				f.over.Store(true)
				return
			}
		}
	})
	return f
}

// Some links are flooded for as long as another one, which shares everything with them, carries a
// number of messages there and back. Each flood costs what it may and no more, and is still on then.
func TestOthersAreServedWhileLinksAreFlooded(t *testing.T) {
	tests := []struct {
		name                 string
		fromClient, fromBack bool // who floods
		read                 bool // whether anybody reads that
		links, trips         int
	}{
		{"both ends, and neither reads", true, true, false, 10, 300},
		{"a backend, and its client never reads", false, true, false, 10, 300},
		{"a client, and its backend never reads", true, false, false, 10, 300},
		{"both ends, and both read", true, true, true, 2, 100},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				e := s.engine(t, Config{CloseTimeout: -1, FinTimeout: -1, Loops: 1})
				up := wire(fin|binaryData, fromClient, make([]byte, 50_000))
				down := wire(fin|binaryData, fromBackend, make([]byte, 50_000))
				calm := s.join(t, e, Spec{})
				var rigs []*rig
				for range tt.links {
					rigs = append(rigs, s.tightOn(t, e))
				}
				before := heapInUse()

				var wg sync.WaitGroup
				var floods []*flood
				var received atomic.Int64
				for _, r := range rigs {
					if tt.fromClient {
						floods = append(floods, flooding(&wg, r.client, up))
					}
					if tt.fromBack {
						floods = append(floods, flooding(&wg, r.backend, down))
					}
					if tt.read {
						for _, far := range []End{r.client, r.backend} {
							wg.Go(func() { _, _ = io.Copy(counting{&received}, far) })
						}
					}
				}
				for range tt.trips {
					calm.trip()
				}

				if !tt.read {
					// A buffer each way at most, and under TLS those of crypto/tls.
					most := int64(tt.links * (2*max(largeBuffer, scratchSize) + 128<<10))
					if grown := int64(heapInUse()) - int64(before); grown > most {
						t.Errorf("%d flooded links cost %d bytes of heap, want at most %d", tt.links, grown, most)
					}
				}
				for _, f := range floods {
					if sent := f.sent.Load(); !tt.read && sent > most {
						t.Errorf("a link took %d bytes that nobody reads, want at most %d", sent, most)
					}
					if f.over.Load() {
						t.Errorf("a flood ended after %d bytes, before the calm link's last message", f.sent.Load())
					}
				}
				if tt.read {
					mark := received.Load()
					eventually(t, "the floods go on", func() bool { return received.Load() > mark+1<<20 })
				}
				calm.trip()
				for _, r := range rigs {
					tcp(r.client).Close() // a TLS one would wait for its Write
					tcp(r.backend).Close()
					r.result()
				}
				wg.Wait()
				calm.over()
			})
		}
	})
}

// trip sends a message there and another one back.
func (r *rig) trip() {
	r.t.Helper()
	for _, way := range []struct {
		client   bool
		from, to End
	}{{fromClient, r.client, r.backend}, {fromBackend, r.backend, r.client}} {
		message := wire(fin|text, way.client, []byte("hello"))
		send(r.t, way.from, message)
		expect(r.t, way.to, message)
	}
}

// counting is a writer that counts bytes.
type counting struct{ n *atomic.Int64 }

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// heapInUse is what is reachable, without what pools keep.
func heapInUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
