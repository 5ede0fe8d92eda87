package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"wsproxy/routing"
)

// inside is a proxy within the test, whose file can be written anew.
type inside struct {
	*proxy
	t       *testing.T
	log     *watched
	stopped bool // by the test itself
}

// starting starts a proxy with a configuration, and ends it with the test.
func starting(t *testing.T, text string, nameserver string) *inside {
	t.Helper()
	file := config(t, text)
	cfg, err := routing.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	log := newWatched()
	p, err := start(file, cfg, outside{stderr: log, nameserver: nameserver})
	if err != nil {
		t.Fatal(err)
	}
	in := &inside{proxy: p, t: t, log: log}
	t.Cleanup(func() {
		if !in.stopped {
			in.end()
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return in
}

// end stops the proxy.
func (p *inside) end() {
	p.stopped = true
	if err := p.stop(nil); err != nil {
		p.t.Errorf("stop: %v", err)
	}
}

// write replaces the file.
func (p *inside) write(text string) {
	p.t.Helper()
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// becomes replaces the file and reloads it, and returns what has changed.
func (p *inside) becomes(text string) string {
	p.t.Helper()
	p.write(text)
	changed, err := p.reload()
	if err != nil {
		p.t.Fatalf("reload: %v", err)
	}
	return strings.Join(changed, "\n")
}

// addr is that of a listener.
func (p *inside) addr(i int) string {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	return p.listeners[i].Addr().String()
}

// connect connects to the first listener.
func (p *inside) connect() net.Conn {
	p.t.Helper()
	conn, err := net.DialTimeout("tcp", p.addr(0), hung)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(hung))
	return conn
}

// dial opens a link through the first listener.
func (p *inside) dial(path string) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{HandshakeTimeout: hung}
	conn, answer, err := dialer.Dial("ws://"+p.addr(0)+path, nil)
	if err == nil {
		_ = conn.SetReadDeadline(time.Now().Add(hung))
	}
	return conn, answer, err
}

// open is dial for a link that the test needs.
func (p *inside) open(path string) *websocket.Conn {
	p.t.Helper()
	conn, _, err := p.dial(path)
	if err != nil {
		p.t.Fatalf("open %s: %v", path, err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// status is what a handshake is answered with.
func (p *inside) status(path string) int {
	p.t.Helper()
	conn, answer, err := p.dial(path)
	if err == nil {
		conn.Close()
		return http.StatusSwitchingProtocols
	}
	if !errors.Is(err, websocket.ErrBadHandshake) {
		p.t.Fatalf("handshake on %s: %v", path, err)
	}
	return answer.StatusCode
}

// echoed sends a message and compares what comes back.
func echoed(conn *websocket.Conn, message string) error {
	if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		return err
	}
	_, got, err := conn.ReadMessage()
	if err == nil && string(got) != message {
		err = fmt.Errorf("echo of %q is %q", message, got)
	}
	return err
}

// lives fails the test if a link does not carry messages.
func lives(t *testing.T, name string, conn *websocket.Conn) {
	t.Helper()
	if err := echoed(conn, name); err != nil {
		t.Errorf("%s: %v, want it to live", name, err)
	}
}

// restarted waits until a link is closed, and fails the test unless that is with 1012.
func restarted(t *testing.T, name string, conn *websocket.Conn) {
	t.Helper()
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("%s ends with %v, want 1012", name, err)
	}
}

// naming is a backend that says its name to whoever comes, and then echoes.
func naming(t *testing.T, name string) (url string) {
	t.Helper()
	return server(t, func(conn *websocket.Conn, r *http.Request) {
		if conn.WriteMessage(websocket.TextMessage, []byte(name)) == nil {
			echoing(conn, r)
		}
	})
}

// named reads the name of the backend that a link has got.
func named(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_, name, err := conn.ReadMessage()
	if err != nil {
		t.Fatalf("name of the backend: %v", err)
	}
	return string(name)
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// routed is a configuration of one plain listener with these routes, each a line of YAML.
func routed(routes ...string) string {
	return "listeners: [{address: \"127.0.0.1:0\"}]\ngrace_period: 5s\ndrain: {window: 50ms}\nroutes:\n  - " +
		strings.Join(routes, "\n  - ") + "\n"
}
