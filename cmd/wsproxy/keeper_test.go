package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/splice"
	"wsproxy/routing"
)

// A request that began before a reload has the judge of then. When that one finds the backend down, it is
// not taken out: its successor holds it for up, and would never take it back.
func TestJudgesThatAreReplacedChangeNothing(t *testing.T) {
	url := naming(t, "a")
	text := func(failures int) string {
		return routed(fmt.Sprintf("{path: /a, passive: {failures: %d, pause: 1h, max_pause: 1h}, backends: [%q]}", failures, url))
	}
	p := starting(t, text(1), "")
	b := p.current.Load().table.Backends()[0]
	old := b.Judge()
	p.becomes(text(2))
	now := time.Now()
	old.Failed(now, now, routing.ErrDial)
	if !b.Healthy() {
		t.Error("a judge of before the reload takes the backend out")
	}
	named(t, p.open("/a"))
	for range 2 {
		b.Judge().Failed(now, now, routing.ErrDial)
	}
	if b.Healthy() {
		t.Error("the judge of after the reload does not take the backend out")
	}
	p.becomes(routed("{path: /b, backends: [builtin:echo]}"))
	if b.Judge().Failed(now, now, routing.ErrDial); !b.Healthy() {
		t.Error("a backend that nobody looks after is out")
	}
	p.becomes(text(1))
	if b.Judge().Failed(now, now, routing.ErrDial); b.Healthy() || p.status("/a") != http.StatusServiceUnavailable {
		t.Error("a backend that is back is not looked after")
	}
}

// Probes go on as they are while their route does, and in the new way when that has changed, of which the
// PROXY protocol is a part.
func TestProbesGoOnUnlessTheirWayChanges(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	heads := make(chan string, 100)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			head := make([]byte, 5)
			n, _ := conn.Read(head)
			conn.Close()
			heads <- string(head[:n])
		}
	}()
	text := func(more string) string {
		return routed(fmt.Sprintf("{health: {type: http, interval: 10ms}%s, backends: [\"http://%s\"]}", more, ln.Addr()))
	}
	p := starting(t, text(""), "")
	until := func(want string) {
		t.Helper()
		timeout := time.After(hung)
		for {
			select {
			case head := <-heads:
				if strings.HasPrefix(head, want) {
					return
				}
			case <-timeout:
				t.Fatalf("no probe begins with %q", want)
			}
		}
	}
	until("GET")
	b := p.current.Load().table.Backends()[0]
	judge := b.Judge()
	p.becomes(text("") + "limits: {links: 9}\n")
	if b.Judge() != judge {
		t.Error("a reload replaces the judge of a backend that nobody touched")
	}
	p.becomes(text(", proxy_protocol: v1"))
	until("PROXY")
}

// A link is told once to close: what is doomed for long keeps its turn, whatever else is reloaded.
func TestLinksKeepTheirTurn(t *testing.T) {
	long := func(routes ...string) string { return strings.Replace(routed(routes...), "50ms", "1h", 1) }
	stays, gone := "{path: /stays, backends: [builtin:echo]}", "{path: /gone, backends: [builtin:echo]}"
	p := starting(t, long(stays, gone), "")
	for range 5 {
		lives(t, "link", p.open("/gone")) // it is the engine's
	}
	p.becomes(long(stays))
	p.log.await(t, `msg="closing links whose route or backend is gone" links=5`)
	for i := range 5 {
		p.becomes(long(stays, fmt.Sprintf("{path: /more%d, backends: [builtin:echo]}", i)))
	}
	if n := strings.Count(p.log.String(), "closing links whose"); n != 1 {
		t.Errorf("links are told %d times to close, want once", n)
	}
	p.reloading.Lock()
	leaving := len(p.leaving)
	p.reloading.Unlock()
	if leaving > 5 {
		t.Errorf("%d links are remembered, want 5 at most", leaving)
	}
}

// What a route says now about backends that go down counts for links that it had before.
func TestOnBackendDownChangesLive(t *testing.T) {
	url := naming(t, "a")
	text := func(how string) string {
		return routed(fmt.Sprintf("{passive: {failures: 1}, on_backend_down: %s, backends: [%q]}", how, url))
	}
	p := starting(t, text("keep"), "")
	link := p.open("/")
	named(t, link)
	p.becomes(text("close"))
	b := p.current.Load().table.Backends()[0]
	b.Judge().Failed(time.Now(), time.Now(), routing.ErrDial)
	if _, _, err := link.ReadMessage(); err == nil || !strings.Contains(err.Error(), "1014") {
		t.Errorf("the link ends with %v, want 1014", err)
	}
	var open atomic.Int64
	p.engine.Links(func(l splice.Live) {
		if _, ok := l.Owner.(front.Linked); ok && l.Cause == splice.StillOpen {
			open.Add(1)
		}
	})
	if open.Load() != 0 {
		t.Errorf("%d links are open", open.Load())
	}
}
