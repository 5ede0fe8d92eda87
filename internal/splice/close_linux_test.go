package splice

import (
	"bytes"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/sock"
)

// cork holds back what an end sends until it is corked no more or ends: then all of it, and the
// end, are one segment.
func cork(t *testing.T, far End) {
	t.Helper()
	raw, err := tcp(far).SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) {
			set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1)
		})
		if err == nil {
			err = set
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The end of a link that is open and at rest says its last words, its Close and its end in one
// segment, which wakes the link once.
func TestLastWordsCloseAndFinInOneSegment(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r := s.open(t, forGood)
			r.trip()
			ends, other, want := r.client, r.backend, ClientClosed
			if client == fromBackend {
				ends, other, want = r.backend, r.client, BackendClosed
			}
			cork(t, ends)
			last := append(wire(fin|text, client, []byte("last words")), wireClose(client, 1000, "")...)
			send(t, ends, last)
			_ = ends.CloseWrite()
			_ = tcp(ends).CloseWrite() // behind the alert of a TLS end
			expect(t, other, last)
			expectEnd(t, other)
			answer := wireClose(!client, 1000, "")
			send(t, other, answer)
			_ = other.CloseWrite()
			expect(t, ends, answer)
			expectEnd(t, ends)
			checkEnd(t, r.result(), Result{Cause: want, ClientCode: 1000, BackendCode: 1000})
		}
	})
}

// Both ends say all they have left, and a loop finds that in one batch, whose order is open.
func TestBothEndsLeaveInOneBatch(t *testing.T) {
	for _, tt := range []struct {
		name        string
		close, fins bool // what they leave with
		cause       []Cause
	}{
		{"with Closes", true, false, []Cause{ClientClosed, BackendClosed}},
		{"with Closes and ends", true, true, []Cause{ClientClosed, BackendClosed}},
		{"with ends", false, true, []Cause{ClientGone, BackendGone}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			ended := 0
			h := b.link(func() { ended++ })
			b.quiet()
			up := wire(fin|text, fromClient, []byte("last words"))
			down := wire(fin|text, fromBackend, []byte("mine, too"))
			if tt.close {
				up = append(up, wireClose(fromClient, 1000, "")...)
				down = append(down, wireClose(fromBackend, 1001, "")...)
			}
			b.write(h.farClient, up)
			b.write(h.farBackend, down)
			if tt.fins {
				h.farClient.CloseWrite()
				h.farBackend.CloseWrite()
			}
			b.pollFor(2)
			b.turn()
			b.quiet()

			want, end := 0, sock.ErrAgain
			if tt.fins {
				want, end = 1, io.EOF
			}
			if !tt.close {
				down = append(down, wireClose(fromBackend, frame.BadGateway, "backend gone")...)
			}
			if ended != want || b.sockets.Load() != int64(2-2*want) {
				t.Errorf("Ended was called %d times and %d sockets are left, want %d and %d", ended, b.sockets.Load(), want, 2-2*want)
			}
			if res := h.result(time.Now()); !slices.Contains(tt.cause, res.Cause) {
				t.Errorf("Cause = %q, want one of %v", res.Cause, tt.cause)
			}
			for _, far := range []struct {
				name string
				sock.Socket
				want []byte
			}{{"backend", h.farBackend, up}, {"client", h.farClient, down}} {
				got := make([]byte, 100)
				n, err := far.Read(got)
				if err == nil {
					_, err = far.Read(got[n:])
				}
				if !bytes.Equal(got[:n], far.want) || err != end {
					t.Errorf("the %s received % x, then %v; want % x, then %v", far.name, got[:n], err, far.want, end)
				}
			}
		})
	}
}
