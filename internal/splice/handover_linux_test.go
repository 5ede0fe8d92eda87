package splice

import (
	"bytes"
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// homely puts a link on the bench whose ends live there, as far as their Conns being given away.
func (b *bench) homely(d *loops) (l *looped, far [2]End, conns [2]*sock.Conn) {
	b.t.Helper()
	farClient, client := acceptedAt(b.t, func() sock.Home { return b.loop })
	farBackend, backend := acceptedAt(b.t, func() sock.Home { return b.loop })
	l = &looped{link: newLink(frame.NoExtensions, time.Now()), loop: b.loop, owner: ownerFunc(func(Result) {})}
	conns = [2]*sock.Conn{client.(*sock.Conn), backend.(*sock.Conn)}
	for i, at := range []*side{&l.client, &l.backend} {
		if err := d.take(l, at, conns[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	b.engine.mu.Lock()
	b.engine.open++
	b.engine.mu.Unlock()
	for _, end := range []End{farClient, farBackend} {
		b.t.Cleanup(func() { end.Close() })
	}
	return l, [2]End{farClient, farBackend}, conns
}

// The loop learns of a link by the slots of its sockets, one after the other. One that had ended in
// between would be put into the slot of a socket that is closed, and the next socket with its number
// would hear of nothing.
func TestLinkIsLeftAloneUntilBothItsSlotsHaveIt(t *testing.T) {
	b := newBench(t)
	d := &loops{engine: b.engine, all: []*loop{b.loop}}
	b.loop.table = &d.table
	l, far, conns := b.homely(d)
	b.quiet()
	d.table.at(l.client.Socket).link.Store(l)
	sock.Cut(far[0])
	b.quiet()
	if l.finished {
		t.Error("the loop has ended a link that one slot has")
	}
	d.settle(l, conns[0], conns[1])
	b.pollFor(1) // the wake-up
	b.turn()
	if !l.finished {
		t.Error("a link is still there whose client was reset while it was handed over")
	}
	d.table.each(func(sl *slot) {
		if sl.link.Load() != nil || sl.conn.Load() != nil {
			t.Error("a slot is somebody's whose socket is closed")
		}
	})
}

// Whatever the moment at which something happens to an end, a link that is handed over hears of it.
func TestNothingIsMissedWhileALinkIsHandedOver(t *testing.T) {
	b := newBench(t)
	d := &loops{engine: b.engine, all: []*loop{b.loop}}
	b.loop.table = &d.table
	hello := wire(fin|text, fromClient, []byte("hello"))
	got := make([]byte, len(hello))
	for i := range 300 {
		l, far, conns := b.homely(d)
		b.quiet()
		key := d.table.at(l.client.Socket).key(l.client.Socket)
		send(t, far[0], hello)
		var started, handed = make(chan struct{}), make(chan struct{})
		go func() {
			close(started)
			for range i % 64 {
				runtime.Gosched()
			}
			d.settle(l, conns[0], conns[1])
			close(handed)
		}()
		<-started
		b.wheel.set(time.Now())
		b.dispatch(sock.Event{Key: key, Readable: true})
		<-handed
		b.readInbox()
		b.again()
		if !bytes.Equal(hello, readNow(far[1], got)) {
			t.Fatalf("hand-over %d: the backend has not got what came meanwhile", i)
		}
		l.cut()
		b.finish(l)
		far[0].Close()
		far[1].Close()
	}
}

// readNow reads what is there at once.
func readNow(end End, p []byte) []byte {
	_ = end.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := end.Read(p)
	return p[:n]
}

// Links are handed over while their clients are reset, by more goroutines than one.
func TestResetDuringTheHandOverLeavesNoSlotBehind(t *testing.T) {
	s := setup{driver: Epoll, homely: true}
	e := s.engine(t, forGood)
	ended := make(chan struct{}, 1)
	for range 100 {
		farClient, client := acceptedAt(t, e.Home())
		farBackend, backend := dialledAt(t, sock.HomeOf(client))
		go sock.Cut(farClient)
		if err := e.Splice(Spec{Client: client, Backend: backend, Owner: ownerFunc(func(Result) { ended <- struct{}{} })}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the link has not ended")
		}
		farBackend.Close()
	}
	d := e.loops.(*loops)
	d.table.each(func(sl *slot) {
		if sl.link.Load() != nil || sl.conn.Load() != nil {
			t.Error("a slot is somebody's whose socket is closed")
		}
	})
}

// What a client has sent in whole records stands before its end, although it has been read already.
func TestRecordsThatAreReadAlreadyComeBeforeTheEnd(t *testing.T) {
	s := setup{driver: Epoll, homely: true, tls: true}
	hello := wire(fin|text, fromClient, []byte("hello"))
	for name, leave := range map[string]func(client End){
		"FIN": func(client End) { _ = client.(*tls.Conn).NetConn().(End).CloseWrite() },
		"RST": func(client End) { sock.Cut(client) },
	} {
		r, spec := s.pairs(t, s.engine(t, forGood), Spec{})
		send(t, r.client, hello)
		spec.ClientTLS.Raw = readAll(t, spec.Client, len(spec.ClientTLS.Raw)+record.HeaderSize+len(hello)+1+16)
		leave(r.client)
		eventually(t, "the client has left", func() bool { return sock.Gone(spec.Client) })
		r.splice(spec)
		expect(t, r.backend, hello)
		if name == "FIN" {
			expectEnd(t, r.backend)
		} else {
			expectBroken(t, r.backend)
		}
		r.over()
	}
}

// A close_notify that was opened before the hand-over is not told by any event.
func TestCloseNotifyBeforeTheHandOverIsPassedOn(t *testing.T) {
	s := setup{driver: Epoll, homely: true, tls: true}
	r, spec := s.pairs(t, s.engine(t, forGood), Spec{})
	_ = r.client.CloseWrite()
	raw := readAll(t, spec.Client, record.HeaderSize+2+1+16)
	session := &spec.ClientTLS.Session
	if _, _, err := session.Open(record.NewCiphers(2), make([]byte, 0, record.MaxOpened), raw); err != io.EOF {
		t.Fatalf("opened the client's close_notify: %v, want EOF", err)
	}
	r.splice(spec)
	expectEnd(t, r.backend)
	last := wire(fin|text, fromBackend, []byte("goodbye"))
	send(t, r.backend, last)
	expect(t, r.client, last)
	r.over()
}

func readAll(t *testing.T, end End, n int) []byte {
	t.Helper()
	b := make([]byte, n+1) // the room left says that there is no more
	if _, err := io.ReadAtLeast(end, b, n); err != nil {
		t.Fatal(err)
	}
	return b[:n]
}
