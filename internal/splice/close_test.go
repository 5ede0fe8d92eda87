package splice

import (
	"testing"

	"wsproxy/internal/frame"
)

func TestClosePassesWithCodeAndReason(t *testing.T) {
	empty := func(client bool) []byte { return wire(fin|closeFrame, client, nil) }
	coded := func(code uint16, reason string) func(bool) []byte {
		return func(client bool) []byte { return wireClose(client, code, reason) }
	}
	tests := []struct {
		name        string
		first       bool // who closes
		ask, answer func(client bool) []byte
		cause       Cause
		clientCode  uint16
		backendCode uint16
	}{
		{"the client", fromClient, coded(1000, "done"), coded(1000, "done"), ClientClosed, 1000, 1000},
		{"the backend", fromBackend, coded(4321, "no more"), coded(1000, ""), BackendClosed, 1000, 4321},
		{"the client without a code", fromClient, empty, empty, ClientClosed, frame.NoStatus, frame.NoStatus},
		{"the backend without a code", fromBackend, empty, coded(1001, "x"), BackendClosed, 1001, frame.NoStatus},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r := s.open(t, forGood)
				asks, answers := r.client, r.backend
				if tt.first == fromBackend {
					asks, answers = r.backend, r.client
				}
				ask, answer := tt.ask(tt.first), tt.answer(!tt.first)
				send(t, asks, ask)
				expect(t, answers, ask)
				send(t, answers, answer)
				expect(t, asks, answer)
				_ = r.backend.CloseWrite() // a server closes first (§7.1.1)
				expectEnd(t, r.client)
				_ = r.client.CloseWrite()
				expectEnd(t, r.backend)

				toBackend := Count{Bytes: uint64(len(ask)), Frames: 1}
				toClient := Count{Bytes: uint64(len(answer)), Frames: 1}
				if tt.first == fromBackend {
					toBackend, toClient = toClient, toBackend
				}
				res := r.result()
				checkEnd(t, res, Result{Cause: tt.cause, ClientCode: tt.clientCode, BackendCode: tt.backendCode})
				checkCounts(t, res, toBackend, toClient)
			})
		}
	})
}

// checkEnd compares what a Result says of a link's end.
func checkEnd(t *testing.T, got, want Result) {
	t.Helper()
	if got.Cause != want.Cause || got.Err != want.Err ||
		got.ClientCode != want.ClientCode || got.BackendCode != want.BackendCode {
		t.Errorf("ended with %q, %v, codes %d and %d; want %q, %v, %d and %d",
			got.Cause, got.Err, got.ClientCode, got.BackendCode,
			want.Cause, want.Err, want.ClientCode, want.BackendCode)
	}
}

func TestCrossingClosesBothPass(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		up, down := wireClose(fromClient, 1000, "mine"), wireClose(fromBackend, 1001, "no, mine")
		r, spec := s.pairs(t, s.engine(t, forGood), Spec{})
		send(t, r.client, up)
		send(t, r.backend, down)
		r.splice(spec)
		expect(t, r.backend, up)
		expect(t, r.client, down)
		_ = r.client.CloseWrite()
		_ = r.backend.CloseWrite()
		expectEnd(t, r.backend)
		expectEnd(t, r.client)
		res := r.result()
		if res.Cause != ClientClosed && res.Cause != BackendClosed {
			t.Errorf("Cause = %q, want one of both Closes", res.Cause)
		}
		checkEnd(t, res, Result{Cause: res.Cause, ClientCode: 1000, BackendCode: 1001})
	})
}

func TestCloseAndFinInOneSegmentBothPass(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			// Both stand in the socket before the link is made, so one read brings the Close and
			// the next one the end.
			r, spec := s.pairs(t, s.engine(t, forGood), Spec{})
			ends, other, want := r.client, r.backend, ClientClosed
			if client == fromBackend {
				ends, other, want = r.backend, r.client, BackendClosed
			}
			last := append(wire(fin|text, client, []byte("last words")), wireClose(client, 1000, "")...)
			send(t, ends, last)
			_ = ends.CloseWrite()
			r.splice(spec)
			expect(t, other, last)
			expectEnd(t, other)
			answer := wireClose(!client, 1000, "")
			send(t, other, answer)
			_ = other.CloseWrite()
			expect(t, ends, answer)
			expectEnd(t, ends)
			res := r.result()
			checkEnd(t, res, Result{Cause: want, ClientCode: 1000, BackendCode: 1000})
			toBackend := Count{Bytes: uint64(len(last)), Frames: 2, Messages: 1}
			toClient := Count{Bytes: uint64(len(answer)), Frames: 1}
			if client == fromBackend {
				toBackend, toClient = toClient, toBackend
			}
			checkCounts(t, res, toBackend, toClient)
		}
	})
}

func TestNothingBehindACloseFramePasses(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			for _, cut := range []int{1, 7, 1 << 20} {
				r := s.open(t, forGood)
				ends, other := r.client, r.backend
				if client == fromBackend {
					ends, other = r.backend, r.client
				}
				closing := wireClose(client, 1000, "")
				behind := append(wire(fin|text, client, []byte("and another thing")), "noise that is no frame"...)
				sendCut(t, ends, append(closing, behind...), func() int { return cut })
				_ = ends.CloseWrite()
				expect(t, other, closing)
				expectEnd(t, other)
				_ = other.CloseWrite()
				res := r.result()
				if got := res.ToBackend.Frames + res.ToClient.Frames; got != 1 || res.Err != nil {
					t.Errorf("%d frames passed, error %v; want 1, nil", got, res.Err)
				}
			}
		}
	})
}

func TestUnansweredCloseEndsTheLinkAfterCloseTimeout(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, Config{CloseTimeout: 1, FinTimeout: -1})
			ends, other := r.client, r.backend
			if client == fromBackend {
				ends, other = r.backend, r.client
			}
			send(t, ends, wireClose(client, 1000, ""))
			r.result()
			// The other end got the Close or, with so short a timeout, not even that.
			_, _ = readFrame(other)
			if _, err := readFrame(other); err == nil {
				t.Error("the link has ended, its end has not")
			}
		}
	})
}

func TestLinkEndsAfterFinTimeoutWhenNeitherEndLeavesAfterItsClose(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.open(t, Config{CloseTimeout: -1, FinTimeout: 1})
		up, down := wireClose(fromClient, 1000, ""), wireClose(fromBackend, 1000, "")
		send(t, r.client, up)
		expect(t, r.backend, up)
		send(t, r.backend, down)
		checkEnd(t, r.result(), Result{Cause: ClientClosed, ClientCode: 1000, BackendCode: 1000})
	})
}
