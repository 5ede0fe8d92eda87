package sock

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// homestead is a Home with nothing but Conns in it.
type homestead struct {
	t      *testing.T
	poller *Poller
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	conns   map[uint64]*Conn
	keys    map[int]uint64 // by descriptor
	last    uint64
	refuses bool // watches nobody
	quits   bool
	left    atomic.Int32
}

func newHomestead(t *testing.T) *homestead {
	t.Helper()
	h := &homestead{t: t, poller: newTestPoller(t), done: make(chan struct{}),
		conns: make(map[uint64]*Conn), keys: make(map[int]uint64)}
	go h.run()
	t.Cleanup(func() {
		h.mu.Lock()
		h.quits = true
		h.mu.Unlock()
		h.poller.Wake()
		<-h.done
	})
	return h
}

func (h *homestead) run() {
	defer close(h.done)
	if err := h.poller.Wait(h.turn); err != nil {
		h.t.Error(err)
	}
}

func (h *homestead) turn() bool {
	for i := range h.poller.Len() {
		if e, ok := h.poller.Event(i); ok {
			h.mu.Lock()
			c := h.conns[e.Key]
			h.mu.Unlock()
			if c != nil {
				c.Happened(e)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.quits
}

var errFull = errors.New("no room")

func (h *homestead) Settle(c *Conn, s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.conns[h.last], h.keys[s.Number()] = c, h.last
}

func (h *homestead) Watch(s Socket, writes bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuses {
		return errFull
	}
	return h.poller.Add(s, h.keys[s.Number()], writes)
}

func (h *homestead) WatchWrites(s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.poller.WatchWrites(s, h.keys[s.Number()]); err != nil {
		h.t.Error(err)
	}
}

func (h *homestead) Leave(s Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left.Add(1)
	delete(h.conns, h.keys[s.Number()])
	delete(h.keys, s.Number())
}

func (h *homestead) Depart(s Socket, watched bool) error {
	h.Leave(s)
	if !watched {
		return nil
	}
	return h.poller.Remove(s)
}

// accepted is a Conn and the connection at its other side.
func (h *homestead) accepted() (*Conn, *net.TCPConn) {
	h.t.Helper()
	ln, err := Listen("127.0.0.1:0", func() Home { return h })
	if err != nil {
		h.t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { far.Close(); conn.Close() })
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	if got, want := conn.RemoteAddr().String(), far.LocalAddr().String(); got != want {
		h.t.Errorf("RemoteAddr() = %s, want %s", got, want)
	}
	if got, want := conn.LocalAddr().String(), far.RemoteAddr().String(); got != want {
		h.t.Errorf("LocalAddr() = %s, want %s", got, want)
	}
	return conn.(*Conn), far.(*net.TCPConn)
}

// waits is done when a call waits at a gate.
func waits(t *testing.T, g *gate) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); g.waiter.Load() == nil; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
}

// soon is what a channel brings.
func soon[T any](t *testing.T, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(30 * time.Second):
		t.Fatal("a call has not returned")
	}
	return got
}

func (c *Conn) reading() <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 10))
		got <- err
	}()
	return got
}

// writing writes more than there is room for.
func (c *Conn) writing() <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 32<<20))
		got <- err
	}()
	return got
}
