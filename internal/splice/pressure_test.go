package splice

import (
	"sync"
	"testing"
	"time"
)

// Sizes of the sockets' buffers in these tests; the kernel doubles them.
const socketBuffer = 64 << 10

// most is the most that a link may take from an end while its other end reads nothing: what four
// socket buffers and the pump's own hold, and what a system takes beyond the size it was told.
const most = 4*2*socketBuffer + largeBuffer + 512<<10

// tight is a link whose sockets have small buffers, on an engine of its own.
func (s setup) tight(t *testing.T, cfg Config) *rig {
	t.Helper()
	return s.tightOn(t, s.engine(t, cfg))
}

func (s setup) tightOn(t *testing.T, e *Engine) *rig {
	t.Helper()
	r, spec := s.pairs(t, e, Spec{})
	for _, end := range []End{r.client, r.backend, spec.Client, spec.Backend} {
		_ = tcp(end).SetReadBuffer(socketBuffer)
		_ = tcp(end).SetWriteBuffer(socketBuffer)
	}
	r.splice(spec)
	return r
}

// fill writes stream until nothing more is taken for a while, or all of it, and returns how much
// was taken. It may stop too early, which proves less, and never too late.
func fill(t *testing.T, far End, stream []byte) (taken int) {
	t.Helper()
	_ = far.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	taken, err := far.Write(stream)
	if err != nil && !isTimeout(err) {
		t.Errorf("sending: %v", err)
	}
	_ = far.SetWriteDeadline(time.Now().Add(patience))
	return taken
}

func TestReceiverThatDoesNotReadStopsTheSender(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			if s.tls && client == fromClient || s.backendTLS && client == fromBackend {
				continue // a TLS write cannot be given up and gone on with
			}
			r := s.tight(t, forGood)
			ends, other := r.client, r.backend
			if client == fromBackend {
				ends, other = r.backend, r.client
			}
			stream, _ := randomStream(newRand(t), client, []int{0, 1, 70_000, 16 << 20, 5})
			taken := fill(t, ends, stream)
			if taken > most {
				t.Errorf("the link took %d bytes that nobody reads, want at most %d", taken, most)
			}
			var wg sync.WaitGroup
			wg.Go(func() { send(t, ends, stream[taken:]) })
			expect(t, other, stream)
			wg.Wait()
			r.over()
		}
	})
}

func TestFloodsFromBothEndsWaitForTheirReaders(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.tight(t, forGood)
		up, _ := randomStream(newRand(t), fromClient, []int{100, 8 << 20, 100})
		down, _ := randomStream(newRand(t), fromBackend, []int{100, 8 << 20, 100})
		var wg sync.WaitGroup
		upTaken, downTaken := 0, 0
		if s.tls {
			wg.Go(func() { send(t, r.client, up) })
			if !s.backendTLS {
				downTaken = fill(t, r.backend, down)
			}
		} else {
			wg.Go(func() { upTaken = fill(t, r.client, up) })
			downTaken = fill(t, r.backend, down)
			wg.Wait()
			wg.Go(func() { send(t, r.client, up[upTaken:]) })
		}
		if upTaken > most || downTaken > most {
			t.Errorf("the link took %d and %d bytes that nobody reads, want at most %d", upTaken, downTaken, most)
		}
		wg.Go(func() { send(t, r.backend, down[downTaken:]) })
		wg.Go(func() { expect(t, r.client, down) })
		expect(t, r.backend, up)
		wg.Wait()
		r.over()
	})
}

// The reader is slow on purpose: it spreads its reading over several times FinTimeout.
func TestSlowReceiverGetsAllAlthoughTheSenderHasGone(t *testing.T) {
	const finTimeout = 200 * time.Millisecond
	onEverySetup(t, func(t *testing.T, s setup) {
		t.Parallel()
		r := s.tight(t, Config{CloseTimeout: -1, FinTimeout: finTimeout})
		down, _ := randomStream(newRand(t), fromBackend, []int{4 << 20})
		down = append(down, wireClose(fromBackend, 1000, "")...)
		var wg sync.WaitGroup
		wg.Go(func() {
			send(t, r.backend, down)
			r.backend.Close()
		})
		// The last 300 KiB are in the link when the backend has gone: those are read slowly.
		quick := len(down) - 300<<10
		expect(t, r.client, down[:quick])
		tick := time.NewTicker(4 * finTimeout / 100)
		defer tick.Stop()
		for rest := down[quick:]; len(rest) > 0; <-tick.C {
			n := min(3<<10, len(rest))
			expect(t, r.client, rest[:n])
			rest = rest[n:]
		}
		wg.Wait()
		expectEnd(t, r.client)
		checkEnd(t, r.over(), Result{Cause: BackendClosed, BackendCode: 1000})
	})
}

func TestReceiverThatTakesNothingIsCutAfterCloseTimeout(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.tight(t, Config{CloseTimeout: time.Millisecond, FinTimeout: -1})
		down, _ := randomStream(newRand(t), fromBackend, []int{8 << 20})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.backend.Write(down) })
		expect(t, r.client, down[:1])
		send(t, r.client, wireClose(fromClient, 1000, "")) // it reads no more
		checkEnd(t, r.result(), Result{Cause: ClientClosed, ClientCode: 1000})
		wg.Wait()
	})
}
