package splice

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wsproxy/internal/frame"
)

// newBuffer is a driver's buffer holding b where a read would have put it.
func newBuffer(b []byte) []byte {
	buf := make([]byte, headroom+len(b)+tailroom)
	copy(buf[headroom:], b)
	return buf
}

func TestPipeSendsItsOwnCloseOnce(t *testing.T) {
	hello := wire(fin|text, fromBackend, []byte("hello"))
	tests := []struct {
		name   string
		before []byte // passes before the pipe is to leave
		after  []byte
		want   []byte // what comes out, without the Close
		closes bool
	}{
		{"at the start", nil, nil, nil, true},
		{"at the start, with more to come", nil, hello, nil, true},
		{"behind a frame", hello, hello, hello, true},
		{"in mid-frame", hello[:4], append(hello[4:], hello...), hello, true},
		{"in mid-frame for ever", hello[:4], hello[4:6], hello[:6], false},
		{"behind a Close", wireClose(fromBackend, 1000, ""), hello, wireClose(fromBackend, 1000, ""), false},
		{"in a Close", wireClose(fromBackend, 1000, "x")[:4], []byte("x"), wireClose(fromBackend, 1000, "x"), false},
		{"in a Close's header", wireClose(fromBackend, 1000, "x")[:3], []byte{0xe8, 'x'}, nil, true},
	}
	own := frame.AppendClose(nil, goingAway.code, goingAway.reason, nil)
	for _, tt := range tests {
		l := newLink(frame.NoExtensions, time.Now())
		p := &l.toClient
		var got []byte
		feed := func(b []byte) { got = append(got, l.received(p, newBuffer(b), len(b))...) }
		feed(tt.before)
		l.close(goingAway, Drained)
		feed(nil) // woken
		feed(tt.after)
		feed(nil)
		want := tt.want
		if tt.closes {
			want = append(bytes.Clone(want), own...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: out came % x, want % x", tt.name, got, want)
		}
		if p.bytes != uint64(len(want)) {
			t.Errorf("%s: %d bytes counted, want %d", tt.name, p.bytes, len(want))
		}
	}
}

func TestFramesBehindThePipesOwnCloseAreNotCounted(t *testing.T) {
	l := newLink(frame.NoExtensions, time.Now())
	hello := wire(fin|text, fromBackend, []byte("hello"))
	l.received(&l.toClient, newBuffer(hello), len(hello))
	l.close(goingAway, Drained)
	behind := append(hello, wireClose(fromBackend, 1000, "")...)
	out := l.received(&l.toClient, newBuffer(behind), len(behind))
	res := l.result(time.Now())
	if want := (Count{Bytes: uint64(len(hello) + len(out)), Frames: 1, Messages: 1}); res.ToClient != want {
		t.Errorf("to the client: %+v, want %+v", res.ToClient, want)
	}
	if res.BackendCode != 1000 {
		t.Errorf("BackendCode = %d, want 1000, the answer's", res.BackendCode)
	}
}

func TestCloseThatIsReadAfterAWriteBrokeIsTheCause(t *testing.T) {
	l := newLink(frame.NoExtensions, time.Now())
	l.broke(&l.toBackend)
	if l.cause != BackendGone || l.state() != ending {
		t.Errorf("after the write: %q in state %d, want %q in %d", l.cause, l.state(), BackendGone, ending)
	}
	closing := wireClose(fromBackend, 1000, "")
	l.received(&l.toClient, newBuffer(closing), len(closing))
	l.end(&l.toClient, newBuffer(nil), io.EOF)
	checkEnd(t, l.result(time.Now()), Result{Cause: BackendClosed, BackendCode: 1000})
}

const lastCause = BackendSilent

func TestCausesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := StillOpen; c <= lastCause; c++ {
		if name := c.String(); name == "" || seen[name] {
			t.Errorf("Cause %d is called %q, as another or nothing", c, name)
		} else {
			seen[name] = true
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	message := wire(fin|binaryData, fromClient, make([]byte, 128))
	buf := newBuffer(message)
	l := newLink(frame.NoExtensions, time.Now())
	p := pipe{toBackend: true, tracker: frame.New(true, frame.NoExtensions)}
	governed, opened := newLink(frame.NoExtensions, time.Now()), time.Now()
	governed.govern(&Policy{
		Limits: frame.Limits{MaxFrame: 1000, MaxMessage: 1000}, MessageRate: 1e9,
		IdleTimeout: time.Hour, MaxAge: time.Hour, StallTimeout: time.Hour, PingInterval: time.Hour, PongTimeout: time.Hour, PingBackend: true,
	}, time.Hour, new(roundTrips))
	tests := []struct {
		name string
		run  func() (out []byte)
	}{
		{"pipe.pass", func() []byte {
			out, err := p.pass(buf, len(message))
			if err != nil {
				t.Fatal(err)
			}
			return out
		}},
		{"link.received", func() []byte { return l.received(&l.toBackend, buf, len(message)) }},
		{"link.received under a policy", func() []byte {
			governed.tick(opened)
			return governed.received(&governed.toBackend, buf, len(message))
		}},
	}
	for _, tt := range tests {
		n := testing.AllocsPerRun(1000, func() {
			if out := tt.run(); len(out) != len(message) {
				t.Fatalf("%s: %d bytes passed, want %d", tt.name, len(out), len(message))
			}
		})
		if n != 0 {
			t.Errorf("%s allocates %v times for a message, want 0", tt.name, n)
		}
	}
}

// BenchmarkPass is what a pipe adds to a read and a write; it leaves out both.
func BenchmarkPass(b *testing.B) {
	for _, bm := range []struct {
		name   string
		stream []byte
	}{
		{"one message of 128 bytes", wire(fin|binaryData, fromClient, make([]byte, 128))},
		{"480 messages of 128 bytes", bytes.Repeat(wire(fin|binaryData, fromClient, make([]byte, 128)), 480)},
		{"one message of 64 KiB", wire(fin|binaryData, fromClient, make([]byte, 64<<10))},
	} {
		b.Run(bm.name, func(b *testing.B) {
			buf := newBuffer(bm.stream)
			p := pipe{toBackend: true, tracker: frame.New(true, frame.NoExtensions)}
			b.SetBytes(int64(len(bm.stream)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.pass(buf, len(bm.stream)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
