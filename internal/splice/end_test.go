package splice

import (
	"io"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/sock"
)

func TestBackendSeesTheClientsFin(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		tests := []struct {
			name string
			sent []byte
			pass int // how much of it passes
		}{
			{"at once", nil, 0},
			{"at a boundary", wire(fin|text, fromClient, []byte("hello")), 11},
			{"in mid-frame", wire(fin|text, fromClient, []byte("hello"))[:8], 8},
			{"in a header", wire(fin|text, fromClient, make([]byte, 300))[:5], 0},
		}
		for _, tt := range tests {
			r := s.open(t, forGood)
			send(t, r.client, tt.sent)
			_ = r.client.CloseWrite()
			expect(t, r.backend, tt.sent[:tt.pass])
			expectEnd(t, r.backend)

			// What the backend still says arrives, and its end, which the client need not be told
			// of: it left first. It is told all the same, as it does no harm.
			last := wire(fin|text, fromBackend, []byte("goodbye"))
			send(t, r.backend, last)
			expect(t, r.client, last)
			_ = r.backend.CloseWrite()
			expectClose(t, r.client, frame.BadGateway, false)
			expectEnd(t, r.client)
			checkEnd(t, r.result(), Result{Cause: ClientGone})
		}
	})
}

func TestClientIsToldThatTheBackendVanished(t *testing.T) {
	hello := wire(fin|text, fromBackend, []byte("hello"))
	part := wire(text, fromBackend, []byte("first fragment"))
	leave := map[string]func(End){
		"FIN": func(backend End) { _ = backend.CloseWrite() },
		"RST": func(backend End) { sock.Cut(backend) },
	}
	tests := []struct {
		name string
		sent []byte
		pass int
		told bool
	}{
		{"at once", nil, 0, true},
		{"at a boundary", hello, len(hello), true},
		{"between fragments", part, len(part), true},
		{"in a header", append(hello, hello[:1]...), len(hello), true},
		{"in mid-frame", append(hello, hello[:3]...), len(hello) + 3, false},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for name, vanish := range leave {
			for _, tt := range tests {
				t.Run(tt.name+"/"+name, func(t *testing.T) {
					r := s.open(t, forGood)
					send(t, r.backend, tt.sent)
					expect(t, r.client, tt.sent[:tt.pass])
					vanish(r.backend)
					switch {
					case tt.told:
						expectClose(t, r.client, frame.BadGateway, false)
						expectEnd(t, r.client)
					case name == "FIN":
						expectEnd(t, r.client)
					default:
						expectBroken(t, r.client)
					}
					want := BackendGone
					if name == "RST" {
						want = BackendReset
					}
					checkEnd(t, r.over(), Result{Cause: want})
				})
			}
		}
	})
}

func TestBackendSeesTheClientsReset(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		hello := wire(fin|text, fromClient, []byte("hello"))
		for _, sent := range [][]byte{nil, hello, hello[:7]} {
			r := s.open(t, forGood)
			send(t, r.client, sent)
			expect(t, r.backend, sent)
			sock.Cut(r.client)
			expectBroken(t, r.backend)
			checkEnd(t, r.result(), Result{Cause: ClientReset})
		}
	})
}

func TestResetBehindACloseIsAnOrderlyEnd(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, forGood)
			ends, other, want := r.client, r.backend, Result{Cause: ClientClosed, ClientCode: 1000}
			if client == fromBackend {
				ends, other, want = r.backend, r.client, Result{Cause: BackendClosed, BackendCode: 1000}
			}
			closing := wireClose(client, 1000, "")
			send(t, ends, closing)
			expect(t, other, closing)
			sock.Cut(ends)
			expectEnd(t, other)
			other.Close()
			checkEnd(t, r.result(), want)
		}
	})
}

// A reset takes with it what its sender's system had not sent and what the receiver's had not
// delivered: how much passes is open, but it is a beginning of what was sent, and then the end.
func TestResetWithDataQueuedLeavesABeginningOfTheStream(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			rng := newRand(t)
			stream, _ := randomStream(rng, client, append(randomSizes(rng, 30, 200_000), 8<<20))
			r := s.open(t, forGood)
			ends, other, cause := r.client, r.backend, ClientReset
			if client == fromBackend {
				ends, other, cause = r.backend, r.client, BackendReset
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = ends.Write(stream) }) // until the reset
			expect(t, other, stream[:100_000])          // it is under way
			sock.Cut(ends)
			wg.Wait()
			rest, err := io.ReadAll(other)
			at := 100_000
			for at < len(stream) && at-100_000 < len(rest) && stream[at] == rest[at-100_000] {
				at++
			}
			rest = rest[at-100_000:]
			if told := wireClose(fromBackend, frame.BadGateway, "backend gone"); client == fromBackend && err == nil {
				if string(rest) != string(told) {
					t.Errorf("behind %d bytes of the stream came % x, want Close 1014", at, rest[:min(len(rest), 64)])
				}
			} else if len(rest) != 0 || err == nil {
				t.Errorf("behind %d bytes of the stream came %d others, then %v; want a broken end", at, len(rest), err)
			}
			checkEnd(t, r.over(), Result{Cause: cause})
		}
	})
}

func TestOtherHalfFlowsOnAfterAFin(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		rng := newRand(t)
		r := s.open(t, forGood)
		_ = r.client.CloseWrite()
		expectEnd(t, r.backend)
		down, _ := randomStream(rng, fromBackend, append(randomSizes(rng, 20, 100_000), 4<<20))
		var wg sync.WaitGroup
		wg.Go(func() { send(t, r.backend, down) })
		expect(t, r.client, down)
		wg.Wait()
		r.over()

		r = s.open(t, forGood)
		_ = r.backend.CloseWrite()
		expectClose(t, r.client, frame.BadGateway, false)
		expectEnd(t, r.client)
		up, _ := randomStream(rng, fromClient, append(randomSizes(rng, 20, 100_000), 4<<20))
		up = append(up, wireClose(fromClient, frame.BadGateway, "")...)
		wg.Go(func() { send(t, r.client, up) })
		expect(t, r.backend, up)
		wg.Wait()
		checkEnd(t, r.over(), Result{Cause: BackendGone, ClientCode: frame.BadGateway})
	})
}

func TestSilentOtherHalfIsCutAfterFinTimeout(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, Config{CloseTimeout: -1, FinTimeout: time.Millisecond})
			ends, want := r.client, ClientGone
			if client == fromBackend {
				ends, want = r.backend, BackendGone
			}
			_ = ends.CloseWrite()
			checkEnd(t, r.result(), Result{Cause: want})
		}
	})
}

func TestCloseTimeoutBoundsAHalfThatFlowsOn(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.open(t, Config{CloseTimeout: 20 * time.Millisecond, FinTimeout: time.Millisecond})
		_ = r.client.CloseWrite()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, r.client) })
		wg.Go(func() {
			message := wire(fin|binaryData, fromBackend, make([]byte, 1000))
			for {
				if _, err := r.backend.Write(message); err != nil {
					return
				}
			}
		})
		checkEnd(t, r.result(), Result{Cause: ClientGone})
		wg.Wait()
	})
}

// A backend that closes with bytes unread is reset towards the proxy, whose writes break then. The
// client is still sending; it must not be reset in turn before it has read what is left for it.
func TestClientThatIsStillSendingReceivesAll(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		rng := newRand(t)
		r, spec := s.pairs(t, s.engine(t, forGood), Spec{})
		_ = tcp(r.client).SetReadBuffer(64 << 10)
		_ = tcp(spec.Client).SetWriteBuffer(2 << 20)
		down, _ := randomStream(rng, fromBackend, []int{1 << 20})
		down = append(down, wireClose(fromBackend, 1000, "")...)
		var wg sync.WaitGroup
		wg.Go(func() { send(t, r.backend, down) })
		r.splice(spec)
		wg.Wait()
		message := wire(fin|binaryData, fromClient, make([]byte, 100_000))
		send(t, r.client, message)
		expect(t, r.backend, message[:1])
		eventually(t, "the proxy holds all that the backend sent", func() bool {
			return sock.Acked(r.backend) >= uint64(len(down))
		})
		r.backend.Close()

		for range 100 {
			send(t, r.client, message)
		}
		expect(t, r.client, down)
		checkEnd(t, r.over(), Result{Cause: BackendClosed, BackendCode: 1000})
	})
}
