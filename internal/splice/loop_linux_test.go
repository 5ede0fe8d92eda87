package splice

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
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

// Two links' clients leave, so that both events come in one batch. When the first one has ended, the
// other has gone as well, and a new link has the numbers of its descriptors, and with them its slots.
func TestStaleEventFindsNobody(t *testing.T) {
	for _, resets := range []bool{false, true} {
		b := newBench(t)
		type ends struct{ farClient, client, farBackend, backend End }
		var spare ends
		spare.farClient, spare.client = pair(t)
		spare.farBackend, spare.backend = pair(t)

		var a [2]hand
		var young hand
		ended := [2]int{}
		end := func(i int) func() {
			return func() {
				if ended[i]++; ended[1-i] > 0 {
					return // it is the second
				}
				other := a[1-i]
				numbers := [2]int64{number(other.client.Socket), number(other.backend.Socket)}
				b.finish(other.looped)
				young = b.put(spare.farClient, spare.client, spare.farBackend, spare.backend, nil)
				// Take duplicates onto the lowest numbers that are free: those of both links.
				if n := number(young.client.Socket); n > max(numbers[0], numbers[1], number(a[i].farBackend)) {
					t.Errorf("the new link's descriptor %d is not an old one", n)
				}
				// As the last of the batch would: everything is behind its events.
				young.client.readable, young.client.ended = false, false
				young.backend.readable, young.backend.ended = false, false
			}
		}
		a[0], a[1] = b.link(end(0)), b.link(end(1))
		b.quiet()
		b.engine.cfg.FinTimeout = 1 // what is done below ends a link in one turn
		for i := range a {
			// The backend has left: one end more, and the link is over.
			a[i].farBackend.CloseWrite()
			b.quiet()
			a[i].looped.toClient.ended = true
		}
		for i := range a {
			if resets {
				a[i].farClient.Reset()
			} else {
				a[i].farClient.CloseWrite()
			}
		}
		b.pollFor(2)
		b.turn()
		if ended != [2]int{1, 1} {
			t.Fatalf("Done was called %v times, want once for each link", ended)
		}
		if young.client.readable || young.client.ended || young.backend.readable || young.backend.ended {
			t.Error("an event of a link that has ended has come to the next one")
		}
		if b.sockets.Load() != 2 {
			t.Errorf("%d sockets, want 2", b.sockets.Load())
		}
		b.expectEcho(young)
	}
}

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

func TestFloodOnOneLinkLetsTheOthersHaveTheirTurn(t *testing.T) {
	b := newBench(t)
	flooded, calm := b.link(nil), b.link(nil)
	b.quiet()
	const piece = 16 // what one read brings
	b.scratch = make([]byte, headroom+piece+tailroom)
	flood := wire(fin|binaryData, fromClient, make([]byte, 20_000))
	hello := wire(fin|text, fromClient, []byte("hello"))
	got := make([]byte, len(flood)+1)

	b.write(flooded.farClient, flood)
	b.poll()
	b.turn() // the flood is the only event now
	first := flooded.toBackend.bytes
	b.write(calm.farClient, hello)
	b.poll()
	b.turn()
	if n, err := calm.farBackend.Read(got); !bytes.Equal(got[:n], hello) {
		t.Errorf("behind one turn the calm link's backend has % x, %v; want its message", got[:n], err)
	}
	// In a turn a link is read for its events and for being in ready.
	if most := uint64(2 * readsInRow * piece); first > most || flooded.toBackend.bytes > 2*most {
		t.Errorf("a link carried %d bytes in its first turn and %d in two, want at most %d in each",
			first, flooded.toBackend.bytes, most)
	}
	// No event brings the rest.
	b.quiet()
	n := 0
	for part, err := 0, error(nil); err == nil; n += part {
		part, err = flooded.farBackend.Read(got[n:])
	}
	if !bytes.Equal(got[:n], flood) {
		t.Errorf("the flood's receiver has %d bytes, want all %d", n, len(flood))
	}
}

func TestLoopAllocatesNothingForAMessage(t *testing.T) {
	b := newBench(t)
	links := []hand{b.link(nil), b.link(nil), b.link(nil)}
	b.quiet()
	up := wire(fin|binaryData, fromClient, make([]byte, 128))
	down := wire(fin|binaryData, fromBackend, make([]byte, 128))
	large := wire(fin|binaryData, fromClient, make([]byte, 40_000))
	scratch := b.scratch
	got := make([]byte, len(large))
	pass := func(from, to sock.Socket, message []byte) {
		b.write(from, message)
		for n := 0; n < len(message); {
			b.quiet()
			part, err := to.Read(got[n:])
			if err != nil && err != sock.ErrAgain {
				t.Fatal(err)
			}
			n += part
		}
	}
	allocated := testing.AllocsPerRun(200, func() {
		for _, h := range links {
			pass(h.farClient, h.farBackend, up)
			pass(h.farBackend, h.farClient, down)
		}
		// Pieces so small that the links are in ready for many turns.
		b.scratch = scratch[:headroom+1000+tailroom]
		for _, h := range links {
			pass(h.farClient, h.farBackend, large)
		}
		b.scratch = scratch
	})
	if allocated != 0 {
		t.Errorf("%v allocations for nine messages, want 0", allocated)
	}
}

// A receiver that does not read costs one buffer of one size, for as long as it does not.
func TestOnlyAStalledLinkHoldsABuffer(t *testing.T) {
	b := newBench(t)
	h := b.link(nil)
	message := wire(fin|binaryData, fromBackend, make([]byte, 30_000))
	received, at := uint64(0), 0
	for h.client.unsent == nil {
		n, err := h.farBackend.Write(message[at:])
		if err != nil && err != sock.ErrAgain {
			t.Fatal(err)
		}
		at = (at + n) % len(message)
		b.quiet()
	}
	// A Close of the link's own waits behind what is unsent.
	b.close(h.looped, goingAway, Drained)
	if cap(*h.client.unsent) != scratchSize || h.backend.unsent != nil {
		t.Errorf("the link holds a buffer of %d bytes, want one of %d", cap(*h.client.unsent), scratchSize)
	}
	got := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); !h.toClient.over || received < h.toClient.bytes; {
		if n, err := h.farBackend.Write(message[at:]); err == nil || err == sock.ErrAgain {
			at = (at + n) % len(message) // the Close waits for a frame's end
		}
		n, err := h.farClient.Read(got)
		if err != nil && err != sock.ErrAgain || time.Now().After(deadline) {
			t.Fatalf("after %d bytes of %d: %v", received, h.toClient.bytes, err)
		}
		received += uint64(n)
		b.quiet()
	}
	if h.client.unsent != nil || h.backend.unsent != nil {
		t.Error("a link without unsent bytes holds a buffer")
	}
}

// The first event after a long sleep sets a timer from now on, and not from when the loop fell asleep.
func TestFinTimeoutIsWholeAfterALongSleep(t *testing.T) {
	b := newBench(t)
	b.engine.cfg.FinTimeout = time.Hour
	h := b.link(nil)
	b.quiet()
	b.wheel.start = b.wheel.start.Add(-24 * time.Hour) // it has slept for a day
	h.farClient.CloseWrite()
	b.quiet()
	b.turn()
	if b.sockets.Load() != 2 {
		t.Fatal("a link was cut off at once whose client has only half-closed")
	}
	if wait := time.Until(b.wheel.next()); wait < time.Minute/2 {
		// The wheel turns once in 51 seconds, and then looks.
		t.Errorf("the loop wakes up in %v", wait)
	}
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

// Splice has counted a link, and before the driver has it, Stop cuts all links off.
func TestLinkOnItsWayIsCutOffWithTheOthers(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		e := s.engine(t, forGood)
		for _, d := range e.drivers() {
			d.abort()
		}
		r := s.join(t, e, Spec{FromClient: wire(fin|text, fromClient, []byte("early"))})
		checkCause(t, r.result(), Drained)
		expectGone(t, r.client)
		expectGone(t, r.backend)
	})
}

func expectGone(t *testing.T, far End) {
	t.Helper()
	buf := make([]byte, 100)
	for {
		if _, err := far.Read(buf); isTimeout(err) {
			t.Error("an end of a link that was cut off is open")
			return
		} else if err != nil {
			return
		}
	}
}

func TestLoopThatFailedTakesNoLinks(t *testing.T) {
	s := setup{driver: Epoll}
	e := s.engine(t, Config{CloseTimeout: -1, FinTimeout: -1, Loops: 2})
	failing := e.loops.(*loops).all[0]
	old := s.join(t, e, Spec{}) // on the first of two empty loops
	hello := wire(fin|text, fromClient, []byte("hello"))
	send(t, old.client, hello)
	expect(t, old.backend, hello)
	failing.poller.Close()
	checkCause(t, old.result(), Drained)
	<-failing.done
	for range 3 {
		r := s.join(t, e, Spec{})
		send(t, r.client, hello)
		expect(t, r.backend, hello)
		r.over()
	}
	e.Drain()
}

func TestLinksAreSpreadOverTheLoops(t *testing.T) {
	s := setup{driver: Epoll}
	e := s.engine(t, Config{CloseTimeout: -1, FinTimeout: -1, Loops: 3})
	before := runtime.NumGoroutine()
	var rigs []*rig
	for range 9 {
		rigs = append(rigs, s.join(t, e, Spec{}))
	}
	for i, lp := range e.loops.(*loops).all {
		if got := lp.sockets.Load(); got != 6 {
			t.Errorf("loop %d has %d sockets, want 6", i, got)
		}
	}
	if got := runtime.NumGoroutine(); got > before {
		t.Errorf("%d goroutines with nine links, want %d as without", got, before)
	}
	// Room on one loop is where the next link goes.
	lp := e.loops.(*loops).all[4%3] // the fifth link's
	rigs[4].over()
	eventually(t, "a loop has room", func() bool { return lp.sockets.Load() == 4 })
	rigs[4] = s.join(t, e, Spec{})
	if got := lp.sockets.Load(); got != 6 {
		t.Errorf("the loop with the fewest links has %d sockets, want 6", got)
	}
	for _, r := range rigs {
		r.over()
	}
}

func TestIdleLinksHoldLittleMemory(t *testing.T) {
	const links, most = 1000, 700
	s := setup{driver: Epoll}
	e := s.engine(t, forGood)
	type far struct{ client, backend sock.Socket }
	fars := make([]far, links)
	defer func() {
		for i := range fars {
			fars[i].client.Close()
			fars[i].backend.Close()
		}
	}()
	up := wire(fin|binaryData, fromClient, make([]byte, 4096))
	down := wire(fin|binaryData, fromBackend, make([]byte, 4096))
	got := make([]byte, 1<<13)
	pass := func(from, to sock.Socket, message []byte) {
		if _, err := from.Write(message); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(message); {
			part, err := to.Read(got[n:])
			if err != nil && err != sock.ErrAgain {
				t.Fatal(err)
			}
			if n += part; part == 0 {
				runtime.Gosched()
			}
		}
	}
	join := func(i int) {
		farClient, client := pair(t)
		farBackend, backend := pair(t)
		var err error
		if fars[i].client, err = sock.Take(farClient); err != nil {
			t.Fatal(err)
		}
		if fars[i].backend, err = sock.Take(farBackend); err != nil {
			t.Fatal(err)
		}
		if err := e.Splice(Spec{Client: client, Backend: backend, Owner: ownerFunc(func(Result) {})}); err != nil {
			t.Fatal(err)
		}
		pass(fars[i].client, fars[i].backend, up)
		pass(fars[i].backend, fars[i].client, down)
	}
	heap := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	join(0) // what the first one makes for good
	before := heap()
	for i := 1; i < links; i++ {
		join(i)
	}
	each := int64(heap()-before) / (links - 1)
	t.Logf("%d bytes a link; a looped has %d", each, reflect.TypeFor[looped]().Size())
	if each > most {
		t.Errorf("%d bytes of heap for an idle link, want at most %d", each, most)
	}
}

// A child of its own has few descriptors, as others in this process need them.
func TestNoDescriptorsLeftShedsTheNewLinkOnly(t *testing.T) {
	const child = "WSPROXY_TEST_FEW_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("with few descriptors: %v\n%s", err, out)
		}
		return
	}
	s := setup{driver: Epoll}
	e := s.engine(t, forGood)
	old := s.join(t, e, Spec{})
	shed, spec := s.pairs(t, e, Spec{})
	before := openDescriptors(t)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 1 // nothing that is open is closed
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := e.Splice(spec)
	if restored := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if err != nil {
		t.Errorf("Splice: %v, want the link to end by its Done", err)
	}
	checkCause(t, shed.result(), Drained)
	expectEnd(t, shed.client)
	expectEnd(t, shed.backend)
	if got := openDescriptors(t); got != before-2 {
		t.Errorf("%d descriptors open, want %d", got, before-2)
	}
	hello := wire(fin|text, fromClient, []byte("hello"))
	send(t, old.client, hello)
	expect(t, old.backend, hello)
	old.over()
	again := s.join(t, e, Spec{})
	send(t, again.client, hello)
	expect(t, again.backend, hello)
	again.over()
}

// Links are made, ended and drained from several goroutines while the engine is stopped.
func TestStopAmidEverything(t *testing.T) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			s := setup{driver: d.driver}
			for range 10 {
				e := s.newEngine(t, forGood)
				const callers, each = 4, 10
				var wg sync.WaitGroup
				var done atomic.Int64
				for range callers {
					var rigs [each]*rig
					var specs [each]Spec
					for i := range each {
						rigs[i], specs[i] = s.pairs(t, e, Spec{})
					}
					wg.Go(func() {
						for i, spec := range specs {
							if err := e.Splice(spec); errors.Is(err, ErrStopped) {
								rigs[i].calls.Add(1) // it is not called
							}
							if i%2 == 0 {
								_, _ = rigs[i].client.Write(wireClose(fromClient, 1000, ""))
							}
							done.Add(1)
						}
					})
					defer func() {
						for _, r := range rigs {
							if got := r.calls.Load(); got != 1 {
								t.Errorf("Done called %d times for a link, want 1", got)
							}
							r.client.Close()
							r.backend.Close()
						}
					}()
				}
				wg.Go(func() {
					for done.Load() < callers*each {
						e.Drain()
					}
				})
				ctx, cancel := context.WithCancel(context.Background())
				eventually(t, "some links have been made", func() bool { return done.Load() > 5 })
				cancel()
				e.Stop(ctx)
				if got := e.Stats().Open; got != 0 {
					t.Errorf("%d links are open behind Stop, want 0", got)
				}
				wg.Wait()
			}
		})
	}
}
