package splice

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/sock"
)

// bench is a loop that the test turns by hand.
type bench struct {
	*loop
	t      *testing.T
	engine *Engine
}

func newBench(t *testing.T) *bench {
	t.Helper()
	e, err := New(Config{Driver: Goroutines, CloseTimeout: -1, FinTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	lp, err := makeLoop(e, new(table))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lp.shut)
	return &bench{loop: lp, t: t, engine: e}
}

// take is the descriptor of a connection, closed when the test ends.
func (b *bench) take(end End) sock.Socket {
	b.t.Helper()
	s, err := sock.Take(end)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// hand is a link on a bench and its far ends, all non-blocking.
type hand struct {
	*looped
	farClient, farBackend sock.Socket
}

// link puts a link on the bench. Its sockets are taken now.
func (b *bench) link(done func()) hand {
	b.t.Helper()
	farClient, client := pair(b.t)
	farBackend, backend := pair(b.t)
	return b.put(farClient, client, farBackend, backend, done)
}

func (b *bench) put(farClient, client, farBackend, backend End, done func()) hand {
	b.t.Helper()
	h := hand{looped: &looped{link: newLink(frame.NoExtensions, time.Now())}}
	h.loop, h.owner = b.loop, ownerFunc(func(Result) {
		if done != nil {
			done()
		}
	})
	h.looped.client.Socket, h.looped.backend.Socket = b.take(client), b.take(backend)
	h.farClient, h.farBackend = b.take(farClient), b.take(farBackend)
	b.t.Cleanup(func() { h.farClient.Close(); h.farBackend.Close() })
	b.engine.mu.Lock()
	b.engine.open++
	b.engine.mu.Unlock()
	b.sockets.Add(2)
	h.arrived.Store(true)
	b.splice(h.looped, nil, nil)
	return h
}

// quiet turns the loop until there are no events left and nothing to read.
func (b *bench) quiet() {
	b.t.Helper()
	for b.poll(); b.poller.Len() > 0 || len(b.ready) > 0; b.poll() {
		b.turn()
	}
}

func (b *bench) poll() {
	b.t.Helper()
	if err := b.poller.Poll(); err != nil {
		b.t.Fatal(err)
	}
}

// pollFor polls until a batch has n events. Nothing is turned, so they must come at once: on
// loopback they have come when the call that causes them returns.
func (b *bench) pollFor(n int) {
	b.t.Helper()
	if b.poll(); b.poller.Len() != n {
		b.t.Fatalf("a batch of %d events, want %d", b.poller.Len(), n)
	}
}

func (b *bench) write(s sock.Socket, p []byte) {
	b.t.Helper()
	if n, err := s.Write(p); err != nil {
		b.t.Fatalf("wrote %d of %d bytes: %v", n, len(p), err)
	}
}

// number is a socket's descriptor.
func number(s sock.Socket) int64 { return reflect.ValueOf(s).Field(0).Int() }

// expectEcho sends a message each way through a link.
func (b *bench) expectEcho(h hand) {
	b.t.Helper()
	for _, way := range []struct {
		client   bool
		from, to sock.Socket
	}{{fromClient, h.farClient, h.farBackend}, {fromBackend, h.farBackend, h.farClient}} {
		b.quiet()
		message := wire(fin|text, way.client, []byte("still here"))
		b.write(way.from, message)
		b.quiet()
		got := make([]byte, 100)
		if n, err := way.to.Read(got); !bytes.Equal(got[:n], message) {
			b.t.Errorf("received % x, %v; want % x", got[:n], err, message)
		}
	}
}
