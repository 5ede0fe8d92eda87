package splice

import (
	"errors"
	"testing"

	"wsproxy/internal/frame"
)

func TestViolationClosesBothEnds(t *testing.T) {
	tests := []struct {
		name string
		bad  func(client bool) []byte
		want map[bool]error // by who sends it
	}{
		{"mask of the other direction",
			func(client bool) []byte { return wire(fin|text, !client, []byte("x")) },
			map[bool]error{fromClient: frame.ErrUnmasked, fromBackend: frame.ErrMasked}},
		{"reserved bit",
			func(client bool) []byte { return wire(fin|0x40|text, client, []byte("x")) },
			map[bool]error{fromClient: frame.ErrReserved, fromBackend: frame.ErrReserved}},
		{"long control frame",
			func(client bool) []byte { return wire(fin|ping, client, make([]byte, 126)) },
			map[bool]error{fromClient: frame.ErrControlLength, fromBackend: frame.ErrControlLength}},
		{"continuation of nothing",
			func(client bool) []byte { return wire(fin|continuation, client, []byte("x")) },
			map[bool]error{fromClient: frame.ErrNoMessage, fromBackend: frame.ErrNoMessage}},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			for _, client := range []bool{fromClient, fromBackend} {
				for _, cut := range []int{1, 1 << 20} {
					r := s.open(t, forGood)
					ends, other, cause := r.client, r.backend, ClientViolation
					toOther, clientCode, backendCode := uint16(frame.GoingAway), uint16(0), uint16(1000)
					if client == fromBackend {
						ends, other, cause = r.backend, r.client, BackendViolation
						toOther, clientCode, backendCode = frame.BadGateway, 1000, 0
					}
					good := wire(fin|text, client, []byte("valid"))
					stream := append(append(good, tt.bad(client)...), good...)
					sendCut(t, ends, stream, func() int { return cut })
					expect(t, other, good)
					expectClose(t, other, toOther, client == fromClient)
					expectClose(t, ends, frame.ProtocolError, client == fromBackend)

					// What the sender says afterwards cannot be followed; the other end's answer is.
					send(t, ends, wireClose(client, frame.ProtocolError, ""))
					send(t, other, wireClose(!client, 1000, ""))
					_ = other.CloseWrite()
					expectEnd(t, ends)
					_ = ends.CloseWrite()
					expectEnd(t, other)
					res := r.result()
					if !errors.Is(res.Err, tt.want[client]) || res.Cause != cause {
						t.Errorf("%s: %q, %v; want %q, %v", tt.name, res.Cause, res.Err, cause, tt.want[client])
					}
					if res.ClientCode != clientCode || res.BackendCode != backendCode {
						t.Errorf("%s: codes %d and %d, want %d and %d",
							tt.name, res.ClientCode, res.BackendCode, clientCode, backendCode)
					}
					sent, answered := res.ToBackend, res.ToClient
					if client == fromBackend {
						sent, answered = answered, sent
					}
					if sent.Frames != 1 || sent.Messages != 1 || answered.Frames != 0 {
						t.Errorf("%s: passed %+v and %+v, want one message and none", tt.name, sent, answered)
					}
				}
			}
		}
	})
}

func TestViolationWaitsForTheOtherDirectionsFrameEnd(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		long := wire(fin|binaryData, fromBackend, make([]byte, 1000))
		r := s.open(t, forGood)
		send(t, r.backend, long[:500])
		expect(t, r.client, long[:500])
		send(t, r.client, wire(fin|text, fromBackend, []byte("unmasked")))
		expectClose(t, r.backend, frame.GoingAway, true)
		send(t, r.backend, append(long[500:], long...))
		expect(t, r.client, long[500:])
		expectClose(t, r.client, frame.ProtocolError, false)
		checkCause(t, r.over(), ClientViolation)
	})
}

func checkCause(t *testing.T, res Result, want Cause) {
	t.Helper()
	if res.Cause != want {
		t.Errorf("Cause = %q, want %q", res.Cause, want)
	}
}

func TestViolationsFromBothEndsEndTheLink(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r, spec := s.pairs(t, s.engine(t, Config{CloseTimeout: -1, FinTimeout: 1}), Spec{})
		send(t, r.client, []byte{0x83, 0x80})
		send(t, r.backend, []byte{0x8b, 0x00})
		r.splice(spec)
		res := r.result()
		if res.Cause != ClientViolation && res.Cause != BackendViolation || !errors.Is(res.Err, frame.ErrOpcode) {
			t.Errorf("ended with %q, %v; want one of both violations", res.Cause, res.Err)
		}
		checkCounts(t, res, Count{Bytes: res.ToBackend.Bytes}, Count{Bytes: res.ToClient.Bytes})
	})
}

func TestEarlyViolationIsToldAtOnce(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.join(t, s.engine(t, forGood), Spec{FromClient: []byte("GET / HTTP/1.1\r\n\r\n")})
		expectClose(t, r.client, frame.ProtocolError, false)
		r.over()
		r = s.join(t, s.engine(t, forGood), Spec{FromBackend: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})
		expectClose(t, r.backend, frame.ProtocolError, true)
		r.over()
	})
}
