package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asMain makes the test's binary behave as wsproxy itself.
const asMain = "WSPROXY_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 30 * time.Second

// process is a wsproxy of its own, as a user starts it.
type process struct {
	*exec.Cmd
	t      *testing.T
	stdout *watched
	stderr *watched
}

// program prepares wsproxy with arguments; the caller starts it.
func program(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, os.Args[0], args...), t: t, stdout: newWatched(), stderr: newWatched()}
	p.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0") // the race detector's second at each exit
	p.Stdout, p.Stderr = p.stdout, p.stderr
	return p
}

// exit waits for the end and returns the exit status.
func (p *process) exit() int {
	p.t.Helper()
	err := p.Wait()
	if err != nil && p.ProcessState == nil {
		p.t.Fatalf("wait: %v", err)
	}
	return p.ProcessState.ExitCode()
}

// watched is an output that tests can wait on.
type watched struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed and made anew with every write
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits until the output has text.
func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(hung)
	for {
		w.mu.Lock()
		changed, found := w.changed, strings.Contains(w.text.String(), text)
		w.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("output has no %q:\n%s", text, w)
		}
	}
}

// config writes a configuration that listens on free ports of loopback and echoes, unless it says
// otherwise.
func config(t *testing.T, text string) (file string) {
	t.Helper()
	if text == "" {
		text = `
listeners:
  - address: "127.0.0.1:0"
  - address: "127.0.0.1:0"
    tls: {self_signed: [localhost]}
routes:
  - backends: [builtin:echo]
`
	}
	file = filepath.Join(t.TempDir(), "proxy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// running starts a proxy and returns what it announced as its ws and wss URLs.
func running(t *testing.T, file string) (p *process, ws, wss string) {
	t.Helper()
	p = program(t, "-c", file)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	p.stdout.await(t, "\ntry\n")
	for word := range strings.FieldsSeq(p.stdout.String()) {
		switch {
		case ws == "" && strings.HasPrefix(word, "ws://"):
			ws = word
		case wss == "" && strings.HasPrefix(word, "wss://"):
			wss = word
		}
	}
	return p, ws, wss
}

func TestFirstRunSaysWhatThereIsToKnow(t *testing.T) {
	p, ws, wss := running(t, config(t, ""))
	for _, want := range []string{
		ws, wss, strings.Replace(wss, "wss", "https", 1), "self-signed certificate for localhost",
		"*/* → builtin:echo", " connect " + wss + " --insecure",
	} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("announcement has no %q:\n%s", want, p.stdout)
		}
	}
	if lines := strings.Count(p.stdout.String(), "\n"); lines > 24 {
		t.Errorf("announcement has %d lines, want one screen", lines)
	}
}

func TestWhatKeepsItFromStartingIsOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "none.yaml")
	takenFile := config(t, fmt.Sprintf("listeners:\n  - address: %q\nroutes:\n  - backends: [builtin:echo]\n", taken.Addr()))
	mistyped := config(t, "listeners:\n  - adress: \":8080\"\nroutes:\n  - backends: [builtin:echo]\n")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"port taken", []string{"-c", takenFile}, []string{taken.Addr().String(), takenFile + ":2", "another program has this port"}},
		{"file missing", []string{"run", "-c", missing}, []string{missing, "no such file", "-c FILE"}},
		{"mistyped key", []string{"check", "-c", mistyped}, []string{mistyped + ":2", "adress", `did you mean address?`}},
		{"unknown flag", []string{"--confg", "x"}, []string{"--confg"}},
		{"unknown command", []string{"chekc"}, []string{"chekc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := program(t, tt.args...)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if status := p.exit(); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			said := p.stderr.String()
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("it says %q, want %q in it", said, want)
				}
			}
			if strings.Count(said, "\n") > 2 {
				t.Errorf("it says more than a line:\n%s", said)
			}
		})
	}
}

func TestPrivilegedPortIsExplained(t *testing.T) {
	// Whoever runs the tests may have the right to port 1, so the system's word is made here.
	err := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", os.ErrPermission)}
	if got := advise(err).Error(); !strings.Contains(got, "privileged") || !strings.Contains(got, "1024") {
		t.Errorf("advise(%v) = %q", err, got)
	}
}

func TestCheckOnlyChecks(t *testing.T) {
	p := program(t, "check", "-c", config(t, ""))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(); status != 0 || !strings.Contains(p.stdout.String(), "is good: 2 listeners, 1 route") {
		t.Errorf("check exits with %d and says %q %q", status, p.stdout, p.stderr)
	}
}

func TestPipeThroughTheProxy(t *testing.T) {
	_, ws, wss := running(t, config(t, ""))
	for _, url := range []string{ws, wss} {
		p := program(t, "connect", url, "--insecure")
		p.Stdin = strings.NewReader("hello\n")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if status := p.exit(); status != 0 || p.stdout.String() != "hello\n" {
			t.Errorf("connect %s exits with %d and prints %q, want 0 and hello; it says %q", url, status, p.stdout, p.stderr)
		}
	}
}

func TestTermClosesLinksWith1001(t *testing.T) {
	proxy, ws, wss := running(t, config(t, ""))
	var clients []*process
	for _, url := range []string{ws, wss} {
		p := program(t, "connect", url, "--insecure")
		in, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(in, "still here")
		p.stdout.await(t, "still here")
		clients = append(clients, p)
	}
	if err := proxy.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		if status := p.exit(); status != 3 || !strings.Contains(p.stderr.String(), "code 1001") {
			t.Errorf("client exits with %d and says %q, want 3 and code 1001", status, p.stderr)
		}
	}
	if status := proxy.exit(); status != 0 {
		t.Errorf("proxy exits with %d, want 0:\n%s", status, proxy.stderr)
	}
	if n := strings.Count(proxy.stderr.String(), "cause=drained"); n != len(clients) {
		t.Errorf("%d log lines of drained links, want %d:\n%s", n, len(clients), proxy.stderr)
	}
}

// deaf connects to the proxy as a client that never answers, so that its link cannot end by itself.
func deaf(t *testing.T, ws string) net.Conn {
	t.Helper()
	addr := strings.TrimSuffix(strings.TrimPrefix(ws, "ws://"), "/")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 101"))); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	proxy, ws, _ := running(t, config(t, ""))
	deaf(t, ws)
	for _, said := range []string{"msg=stopping ", `msg="stopping at once"`} {
		if err := proxy.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		proxy.stderr.await(t, said)
	}
	if status := proxy.exit(); status != 1 {
		t.Errorf("proxy exits with %d, want 1", status)
	}
}

func TestGracePeriodEndsLinksThatDoNot(t *testing.T) {
	proxy, ws, _ := running(t, config(t, `
listeners: [{address: "127.0.0.1:0"}]
routes: [{backends: [builtin:echo]}]
grace_period: 100ms
`))
	deaf(t, ws)
	if err := proxy.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := proxy.exit(); status != 0 || !strings.Contains(proxy.stderr.String(), "links_cut=1") {
		t.Errorf("proxy exits with %d, want 0 with one link cut:\n%s", status, proxy.stderr)
	}
}
