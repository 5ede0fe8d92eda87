package splice

import (
	"runtime"
	"testing"
)

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
