package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// library is a WebSocket library that nobody here wrote, with the programs that use it: they take
// commands and tell events, a JSON object a line (see peers/).
type library struct {
	name            string
	client, backend []string
}

var (
	ws = library{"ws",
		[]string{"node", "peers/node/client.mjs"}, []string{"node", "peers/node/backend.mjs"}}
	websockets = library{"websockets",
		// -B leaves no compiled files behind.
		[]string{"python", "-B", "peers/python/client.py"}, []string{"python", "-B", "peers/python/backend.py"}}
)

// peer is such a program, which holds one side of any number of links.
type peer struct {
	*process
	ready chan event

	ordering sync.Mutex // guards the standard input

	mu    sync.Mutex // guards links
	links map[string]chan event
}

// event is what a peer tells; which fields count depends on Event.
type event struct {
	Link, Event string

	Port                 int         // ready, of a backend
	Protocol, Extensions string      // open
	Headers              [][2]string // open: what the other side sent; refused
	Target               string      // open, of a backend
	Status               int         // refused
	Kind, SHA256         string      // message; of refused the hash
	Size                 int         // message, refused
	Data                 string      // pong
	Code                 int         // closed
	Reason               string      // closed
	Error                string      // failed
}

// startPeer runs one of a library's programs until the test's end.
func startPeer(t *testing.T, role string, lib library, args ...string) (_ *peer, port int) {
	t.Helper()
	command := lib.client
	if role == "backend" {
		command = lib.backend
	}
	program := command[0]
	if program == "python" {
		program = must(python())
	}
	p := &peer{ready: make(chan event, 1), links: make(map[string]chan event)}
	p.process = launch(t, role+" "+lib.name, p.hear, program, append(command[1:], args...)...)
	t.Cleanup(func() {
		p.stdin.Close()
		p.wait(t, "the end of its input")
		if !p.cmd.ProcessState.Success() {
			t.Errorf("%s: %v", p.name, p.cmd.ProcessState)
		}
	})
	select {
	case e := <-p.ready:
		return p, e.Port
	case <-p.exited:
		t.Fatalf("%s ended at its start", p.name)
	case <-time.After(patience):
		t.Fatalf("%s does not get ready", p.name)
	}
	return nil, 0
}

// hear takes one line of a peer.
func (p *peer) hear(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		e = event{Event: "failed", Error: fmt.Sprintf("not an event: %q", line)}
	}
	if e.Event == "ready" {
		p.ready <- e
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if events := p.links[e.Link]; events != nil {
		events <- e
		return
	}
	fmt.Fprintf(&p.stderr, "nobody listens to %s\n", line)
}

// end is one end of a link, as a test sees it.
type end struct {
	t      *testing.T
	peer   *peer
	link   string
	events chan event
}

var lastLink atomic.Int64

// linkName is a name that no link has had.
func linkName() string { return strconv.FormatInt(lastLink.Add(1), 10) }

// end is the end that a peer will have of a link.
func (p *peer) end(t *testing.T, link string) *end {
	// Larger than what any test leaves unheard: a peer must not be held up.
	e := &end{t, p, link, make(chan event, 1000)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[link] = e.events
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, link)
	})
	return e
}

// in is the end in a subtest.
func (e *end) in(t *testing.T) *end {
	inner := *e
	inner.t = t
	return &inner
}

// order tells a peer what to do on the link.
func (e *end) order(op string, args map[string]any) {
	e.t.Helper()
	command := map[string]any{"link": e.link, "op": op}
	maps.Copy(command, args)
	line, err := json.Marshal(command)
	if err != nil {
		e.t.Fatal(err)
	}
	e.peer.ordering.Lock()
	defer e.peer.ordering.Unlock()
	if _, err := e.peer.stdin.Write(append(line, '\n')); err != nil {
		e.t.Fatalf("%s of %s: %v", op, e.peer.name, err)
	}
}

// await is the next event, which must be of this kind.
func (e *end) await(kind string) event {
	e.t.Helper()
	select {
	case got := <-e.events:
		if got.Event != kind {
			e.t.Fatalf("%s: %+v, want %s", e.peer.name, got, kind)
		}
		return got
	case <-e.peer.exited:
		e.t.Fatalf("%s ended before %s", e.peer.name, kind)
	case <-time.After(patience):
		e.t.Fatalf("%s: no %s", e.peer.name, kind)
	}
	return event{}
}

func (e *end) send(p payload) {
	e.t.Helper()
	e.order("send", map[string]any{"kind": p.kind, "file": p.file})
}

func (e *end) awaitMessage(want payload) {
	e.t.Helper()
	got := e.await("message")
	if got.Kind != want.kind || got.Size != want.size || got.SHA256 != want.sha256 {
		e.t.Errorf("%s: a %s message of %d bytes, sha256 %s; want the %s message of %d bytes, sha256 %s",
			e.peer.name, got.Kind, got.Size, got.SHA256, want.kind, want.size, want.sha256)
	}
}

// What both libraries report for a Close without a code, and for none (RFC 6455 §7.1.5).
const (
	noCode   = 1005
	abnormal = 1006
)

func (e *end) close(code int, reason string) {
	e.t.Helper()
	if code == noCode {
		e.order("close", nil)
		return
	}
	e.order("close", map[string]any{"code": code, "reason": reason})
}

func (e *end) awaitClose(code int, reason string) {
	e.t.Helper()
	if got := e.await("closed"); got.Code != code || got.Reason != reason {
		e.t.Errorf("%s: closed with %d %q, want %d %q", e.peer.name, got.Code, got.Reason, code, reason)
	}
}
