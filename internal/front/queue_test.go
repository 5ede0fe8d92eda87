package front_test

import (
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/health"
	"wsproxy/routing"
)

// full is a proxy whose one backend has one slot, which is taken by a link with the given ends.
func full(t *testing.T, queue routing.Queue) (p *fronttest.Proxy, backend *fronttest.Backend, c, b *fronttest.Conn) {
	t.Helper()
	backend = fronttest.Listen(t)
	p = fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
		Backends: backendAt(backend.Addr), MaxLinks: 1, Queue: queue,
	}}})
	witnesses(t, p, nil)
	c, b = open(t, p, backend, fronttest.Handshake)
	return p, backend, c, b
}

// queued sends a handshake and waits until it is the n-th that waits.
func queued(t *testing.T, p *fronttest.Proxy, n int) *fronttest.Conn {
	t.Helper()
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	awaitQueue(t, p, n)
	return c
}

func awaitQueue(t *testing.T, p *fronttest.Proxy, n int) {
	t.Helper()
	eventually(t, "the length of the queue", func() bool { return p.Table.Routes()[0].Waiting() == n })
}

func TestSlotsAreWaitedFor(t *testing.T) {
	p, backend, c, b := full(t, routing.Queue{Size: 2, Timeout: time.Minute})
	second, third := queued(t, p, 1), queued(t, p, 2)
	expectRefusal(t, p, fronttest.Handshake, 503, "backends_full")
	backend.Untouched()
	for i, next := range []*fronttest.Conn{second, third} {
		end(t, p, i+1, c, b)
		c, b = next, backend.Accept()
		b.Head()
		awaitQueue(t, p, 1-i)
		b.Send(fronttest.Switching)
		c.Bytes(fronttest.Switching)
		if n := p.Slots(); n != 1 {
			t.Errorf("slots = %d, want 1", n)
		}
	}

	// A handshake that fails gives its slot to the next, too.
	fourth, fifth := queued(t, p, 1), queued(t, p, 2)
	end(t, p, 3, c, b)
	b = backend.Accept()
	b.Head()
	b.Close()
	if r, _ := fourth.Answer(); r.StatusCode != 502 {
		t.Errorf("status = %d, want 502", r.StatusCode)
	}
	b = backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	if r, _ := fifth.Answer(); r.StatusCode != 403 {
		t.Errorf("status = %d, want 403", r.StatusCode)
	}
	awaitLimits(t, p, front.LimitStats{})
}

func TestSlotIsNotWaitedForForEver(t *testing.T) {
	p, backend, c, b := full(t, routing.Queue{Size: 1, Timeout: 50 * time.Millisecond})
	for range 2 {
		expectRefusal(t, p, fronttest.Handshake, 503, "queue_timeout")
	}
	backend.Untouched()
	awaitQueue(t, p, 0)
	awaitLimits(t, p, front.LimitStats{Links: 1})
	end(t, p, 1, c, b)
	c, b = open(t, p, backend, fronttest.Handshake)
	end(t, p, 2, c, b)
}

func TestClientThatLeavesTheQueueFreesItsPlace(t *testing.T) {
	p, backend, c, b := full(t, routing.Queue{Size: 2, Timeout: time.Hour})
	second := queued(t, p, 1)
	third := queued(t, p, 2)
	second.Close()
	awaitQueue(t, p, 1)
	p.Log.Await(t, 1, `msg="client gone"`)
	awaitLimits(t, p, front.LimitStats{Links: 2, Handshakes: 1})
	end(t, p, 1, c, b)
	b = backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	third.Bytes(fronttest.Switching)
	end(t, p, 2, third, b)
	if n := p.Server.Refused()["client_gone"]; n != 1 {
		t.Errorf("%d clients gone, want 1", n)
	}
}

func TestShutdownEndsTheQueue(t *testing.T) {
	p, backend, c, b := full(t, routing.Queue{Size: 1, Timeout: time.Hour})
	second := queued(t, p, 1)
	ended := shutdown(p, t.Context())
	if r, body := second.Answer(); r.StatusCode != 503 || !strings.Contains(body, "shutting down") {
		t.Errorf("answer = %d %q, want 503 and why", r.StatusCode, body)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	backend.Untouched()
	b.Frame()
	c.Frame()
	end(t, p, 1, c, b)
}

// Whoever waits is not sent to a backend that is taken out for what has just had its slot: its judge hears
// of that before the slot is free.
func TestQueueIsNotLedToAFailingBackend(t *testing.T) {
	for name, what := range map[string]struct{ answer, want string }{
		"a handshake that fails": {"", "HTTP/1.1 502"},
		"a link that dies early": {fronttest.Switching, "HTTP/1.1 101"},
	} {
		t.Run(name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
				Backends: backendAt(backend.Addr), MaxLinks: 1, Queue: routing.Queue{Size: 1, Timeout: time.Hour},
			}}})
			at := p.Table.Backends()[0]
			w := witnesses(t, p, map[string]routing.Judge{at.Addr: &holding{t: t, backend: at, stateJudge: stateJudge{
				health.NewState(health.StateConfig{
					Passive: health.Passive{Failures: 1, Pause: time.Hour, EarlyDeath: time.Hour},
					Changed: func(up bool, _ string) { at.SetHealthy(up, time.Now()) },
				}),
			}}})[at.Addr]
			first := fronttest.Dial(t, p.Addr)
			first.Send(fronttest.Handshake)
			b := backend.Accept()
			b.Head()
			second := queued(t, p, 1)
			b.Send(what.answer)
			b.Close()
			if head := first.Head(); !strings.HasPrefix(head, what.want) {
				t.Errorf("answer = %q, want %s", head, what.want)
			}
			first.Rest()
			if r, body := second.Answer(); r.StatusCode != 503 || !strings.Contains(body, routing.ErrNoBackend.Error()) {
				t.Errorf("answer to the one that waited = %d %q, want 503 and why", r.StatusCode, body)
			}
			if n := w.admitted.Load(); n != 1 {
				t.Errorf("admitted = %d, want 1", n)
			}
		})
	}
}

// holding wants the slot to be taken when it hears of a failure.
type holding struct {
	stateJudge
	t       *testing.T
	backend *routing.Backend
}

func (h *holding) Failed(begun, now time.Time, err error) {
	h.check()
	h.stateJudge.Failed(begun, now, err)
}

func (h *holding) Ended(opened, now time.Time, died bool) {
	h.check()
	h.stateJudge.Ended(opened, now, died)
}

func (h *holding) check() {
	if n := h.backend.Links(); n != 1 {
		h.t.Errorf("slots when the judge hears of a failure = %d, want 1", n)
	}
}

// Who is tried elsewhere waits there, if there is a queue, and hears of what has failed if that lasts too long.
func TestRetryWaitsForASlot(t *testing.T) {
	good := fronttest.Listen(t)
	bad := nobody(t)
	backends := before([]string{bad}, good.Addr)
	backends[1].MaxLinks = 1
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
		Backends: backends, Queue: routing.Queue{Size: 1, Timeout: 50 * time.Millisecond},
	}}})
	heard := witnesses(t, p, nil)
	c, b := open(t, p, good, fronttest.Handshake)
	expectFailed := fronttest.Dial(t, p.Addr)
	expectFailed.Send(fronttest.Handshake)
	if r, _ := expectFailed.Answer(); r.StatusCode != 502 {
		t.Errorf("status = %d, want that of the backend which was asked", r.StatusCode)
	}
	p.Log.Await(t, 1, "msg=refused", "reason=backend_dial", bad)
	if w := heard[good.Addr]; w.admitted.Load() != 1 {
		t.Errorf("admitted = %d, want 1", w.admitted.Load())
	}
	end(t, p, 1, c, b)
}
