package sock

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// once ends a Wait with its first events.
func once() bool { return false }

func newTestPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (p *Poller) mustAdd(t *testing.T, s *Socket, key uint64) {
	t.Helper()
	if err := p.Add(*s, key, true); err != nil {
		t.Fatal(err)
	}
}

// collect waits until all holds, of the events of each key put together.
func (p *Poller) collect(t *testing.T, all func(map[uint64]Event) bool) map[uint64]Event {
	t.Helper()
	p.SetDeadline(time.Now().Add(30 * time.Second))
	defer p.SetDeadline(time.Time{})
	seen := make(map[uint64]Event)
	for !all(seen) {
		if err := p.Wait(once); err != nil {
			t.Fatal(err)
		}
		if p.Len() == 0 {
			t.Fatalf("only these events have come: %+v", seen)
		}
		for i := range p.Len() {
			e, ok := p.Event(i)
			if !ok {
				t.Fatal("a Wake that nobody called")
			}
			was := seen[e.Key]
			seen[e.Key] = Event{e.Key, e.Readable || was.Readable, e.Writable || was.Writable, e.Ended || was.Ended}
		}
	}
	return seen
}

func (p *Poller) expectNothing(t *testing.T, when string) {
	t.Helper()
	if err := p.Poll(); err != nil {
		t.Fatal(err)
	}
	if p.Len() != 0 {
		e, ok := p.Event(0)
		t.Errorf("%s: %d events, the first %+v (%v); want none", when, p.Len(), e, ok)
	}
}

func TestEventsAreToldOnce(t *testing.T) {
	p := newTestPoller(t)
	s, far := taken(t)
	const key = 0x7fff_fffe_ffff_fffe
	p.mustAdd(t, s, key)
	await := func(what string, holds func(Event) bool) {
		t.Helper()
		seen := p.collect(t, func(seen map[uint64]Event) bool { return holds(seen[key]) })
		if len(seen) != 1 {
			t.Errorf("%s: events %+v, want one key", what, seen)
		}
		p.expectNothing(t, what+", told already")
	}
	await("room", func(e Event) bool { return e.Writable && !e.Readable })
	for range 2 { // unread bytes do not hide new ones
		if _, err := far.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		await("bytes", func(e Event) bool { return e.Readable && !e.Ended })
	}
	_ = far.CloseWrite()
	await("the end", func(e Event) bool { return e.Readable && e.Ended })
	s.Close()
	far.Close()
	p.expectNothing(t, "closed")
}

func TestRoomIsToldOfAfterErrAgain(t *testing.T) {
	p := newTestPoller(t)
	s, far := taken(t)
	p.mustAdd(t, s, 1)
	p.collect(t, func(seen map[uint64]Event) bool { return seen[1].Writable })
	if _, err := s.Write(make([]byte, 16<<20)); err != ErrAgain {
		t.Fatalf("Write: %v, want ErrAgain", err)
	}
	go func() {
		for buf := make([]byte, 1<<20); ; {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	p.collect(t, func(seen map[uint64]Event) bool { return seen[1].Writable })
}

func TestPollerHasMoreSocketsThanABatch(t *testing.T) {
	p := newTestPoller(t)
	const many = 2*len(p.events) + 3
	for key := range uint64(many) {
		s, far := taken(t)
		p.mustAdd(t, s, key)
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	p.collect(t, func(seen map[uint64]Event) bool {
		for key := range uint64(many) {
			if !seen[key].Readable {
				return false
			}
		}
		return true
	})
}

func TestWaitEndsAtTheDeadline(t *testing.T) {
	p := newTestPoller(t)
	for range 2 { // the second one has passed already
		at := time.Now().Add(time.Millisecond)
		p.SetDeadline(at)
		if err := p.Wait(once); err != nil || p.Len() != 0 {
			t.Fatalf("Wait = %d events, %v; want none", p.Len(), err)
		}
		if time.Now().Before(at) {
			t.Error("Wait has ended before its deadline")
		}
	}
	p.Wake()
	if err := p.Wait(once); err != nil || p.Len() != 1 {
		t.Errorf("Wait behind its deadline = %d events, %v; want the one that is there", p.Len(), err)
	}
	p.SetDeadline(time.Time{})
	p.Wake()
	if err := p.Wait(once); err != nil || p.Len() != 1 {
		t.Errorf("Wait without a deadline = %d events, %v; want the Wake", p.Len(), err)
	}
}

// Every Wake that begins after a Wait has returned makes a Wait return.
func TestWakesAreNotLost(t *testing.T) {
	p := newTestPoller(t)
	p.SetDeadline(time.Now().Add(30 * time.Second))
	const callers, calls = 4, 2000
	var asked, served atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				asked.Add(1)
				p.Wake()
			}
		})
	}
	for served.Load() < callers*calls {
		if err := p.Wait(once); err != nil {
			t.Fatal(err)
		}
		if p.Len() == 0 {
			t.Fatalf("a Wake was lost: %d of %d served", served.Load(), asked.Load())
		}
		if _, ok := p.Event(0); ok || p.Len() != 1 {
			t.Fatalf("%d events, the first a socket's: %v; want one Wake", p.Len(), ok)
		}
		served.Store(asked.Load())
	}
	wg.Wait()
}

func TestWakeAfterCloseTouchesNobody(t *testing.T) {
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				p.Wake()
			}
		})
	}
	p.Close()
	_, far := taken(t) // it may have the eventfd's number
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	p.Wake()
	wg.Wait()
	if n, err := far.Read(make([]byte, 8)); n != 0 {
		t.Errorf("%d bytes of a Wake went to a connection, %v", n, err)
	}
	if err := p.Wait(once); err == nil {
		t.Error("Wait on a closed Poller has no error")
	}
}
