package splice

import (
	"runtime"
	"testing"
	"time"
)

// expire lets the couple's timer end now.
func (c *couple) expire() (aborted bool) {
	c.mu.Lock()
	c.due = time.Time{}
	c.mu.Unlock()
	c.expired()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted
}

// moves reports whether anything has moved since the timer was set.
func (c *couple) moves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.movedLocked() != c.progress
}

// only is the engine's one link.
func only(t *testing.T, e *Engine) *couple {
	t.Helper()
	d := e.goroutines.(*couples)
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.links {
		return c
	}
	t.Fatal("the engine has no link")
	return nil
}

// Both ends have closed, and the last piece, with the backend's Close, waits in a Write for a client
// that takes it slowly.
func TestFinTimeoutIsPutOffForWhatAWriteStillHolds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what has been acknowledged")
	}
	for _, withTLS := range []bool{false, true} {
		s := setup{driver: Goroutines, tls: withTLS}
		// The first read is small, the second takes all the rest.
		down := wire(fin|binaryData, fromBackend, make([]byte, largeBuffer-headroom-tailroom))
		down = append(down, wireClose(fromBackend, 1000, "")...)
		r, spec := s.pairs(t, s.engine(t, forGood), Spec{
			FromClient: wireClose(fromClient, 1000, ""), FromBackend: down,
		})
		_ = tcp(r.client).SetReadBuffer(8 << 10)
		_ = tcp(spec.Client).SetWriteBuffer(8 << 10)
		r.splice(spec)
		c := only(t, r.engine)
		eventually(t, "both Closes have been read", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.waiting == ending
		})
		piece := make([]byte, 1<<10)
		for range 2 {
			for !c.moves() {
				if _, err := r.client.Read(piece); err != nil {
					t.Fatalf("reading slowly: %v", err)
				}
			}
			if c.expire() {
				t.Fatal("cut off a client that takes what it is sent")
			}
		}
		eventually(t, "a client that takes nothing is cut off", c.expire)
		if res := r.result(); res.ClientCode != 1000 || res.BackendCode != 1000 {
			t.Errorf("codes %d and %d, want 1000 and 1000", res.ClientCode, res.BackendCode)
		}
	}
}

func TestTimerThatWasSetAnewDoesNotCutOff(t *testing.T) {
	s := setup{driver: Goroutines}
	r := s.open(t, Config{CloseTimeout: time.Hour, FinTimeout: time.Hour})
	_ = r.client.CloseWrite()
	expectEnd(t, r.backend)
	c := only(t, r.engine)
	c.expired() // as a call that was on its way when the timer was set
	hello := wire(fin|text, fromBackend, []byte("still here"))
	send(t, r.backend, hello)
	expect(t, r.client, hello)
	r.over()
}
