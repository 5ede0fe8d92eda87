package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"

	"wsproxy/internal/control"
)

// shortRuntimeDir keeps control sockets where their paths are short, and nobody else's are.
func shortRuntimeDir(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("RUNTIME_DIRECTORY", dir)
}

// linked opens a link to a running wsproxy.
func linked(t *testing.T, ws string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial(ws, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A running wsproxy does what it is asked, from whichever folder, and commands say how it went.
func TestRunningProxyIsAsked(t *testing.T) {
	shortRuntimeDir(t)
	a := naming(t, "a")
	text := routed(fmt.Sprintf("{backends: [%q]}", a), "{path: /echo, backends: [builtin:echo]}")
	file := config(t, text)
	proxy, ws, _ := running(t, file)
	link, other := linked(t, ws), linked(t, ws+"echo")
	named(t, link)
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name           string
		text           string
		args           []string
		status         int
		stdout, stderr string // in what is said
	}{
		{"nothing new", "", []string{"reload"}, 0, "nothing has changed\n", ""},
		{"route", text + "  - {path: /b, backends: [builtin:echo]}\n", []string{"reload"}, 0, "route */b is new\n", ""},
		{"fault", strings.Replace(text, "/echo", "echo", 1), []string{"reload"}, 1, "", file + ":6:"},
		{"drain", text, []string{"drain", a}, 0, "takes nothing new; closing 1 links", ""},
		{"drain of nobody", "", []string{"drain", "http://nobody"}, 1, "", `no backend is called "http://nobody"`},
		{"undrain", "", []string{"undrain", a}, 0, "is in use again\n", ""},
	} {
		if tt.text != "" {
			write(tt.text)
		}
		status, stdout, stderr := result(t, os.TempDir(), append(tt.args, "-c", file)...)
		if status != tt.status || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: exit status %d, says %q %q; want %d, %q, %q", tt.name, status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
		}
	}
	restarted(t, "link of a drained backend", link)
	lives(t, "link of another", other)
	status, stdout, stderr := result(t, "/", "backends", "--json", "-c", file)
	var backends []backendState
	if err := json.Unmarshal([]byte(stdout), &backends); status != 0 || err != nil || len(backends) != 2 ||
		backends[0].Backend != a || backends[0].State != "up" || backends[1].Links != 1 {
		t.Errorf("backends: %d, %v, %s%s", status, err, stdout, stderr)
	}

	// Another wsproxy with the same file runs, and leaves the socket alone.
	second, _, _ := running(t, file)
	second.stderr.await(t, "no control socket")
	second.stderr.await(t, "another wsproxy runs")
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := second.exit(); status != 0 {
		t.Errorf("the second exits with %d", status)
	}
	if status, _, stderr := result(t, "/", "reload", "-c", file); status != 0 {
		t.Errorf("reload after the second has gone: %d, %s", status, stderr)
	}
	if err := proxy.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := proxy.exit(); status != 0 {
		t.Errorf("proxy exits with %d:\n%s", status, proxy.stderr)
	}
	if status, _, _ := result(t, "/", "reload", "-c", file); status != 2 {
		t.Errorf("reload with nobody there: %d, want 2", status)
	}
	if _, err := os.Lstat(control.DefaultPath(file)); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// With --watch a file is taken over however it is written, and so is one that is put into an included
// folder; faults are said and change nothing.
func TestWatchTakesChangesOver(t *testing.T) {
	shortRuntimeDir(t)
	file := config(t, "include: routes.d\n"+routed("{path: /, backends: [builtin:echo]}"))
	dir := filepath.Dir(file)
	folder := filepath.Join(dir, "routes.d")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p := program(t, "--watch", "-c", file)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	p.stdout.await(t, "\ntry\n")
	var ws string
	for word := range strings.FieldsSeq(p.stdout.String()) {
		if ws == "" && strings.HasPrefix(word, "ws://") {
			ws = word
		}
	}
	link := linked(t, ws)
	lives(t, "link", link)

	with := func(path string) []byte {
		return []byte("include: routes.d\n" + routed("{path: /, backends: [builtin:echo]}", "{path: "+path+", backends: [builtin:echo]}"))
	}
	route := func(path string) []byte { return []byte("- {path: " + path + ", backends: [builtin:echo]}\n") }
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		said string
	}{
		{"written in place", func() { put(file, with("/placed")) }, "route */placed is new"},
		{"renamed over", func() {
			put(filepath.Join(dir, "new"), with("/renamed"))
			if err := os.Rename(filepath.Join(dir, "new"), file); err != nil {
				t.Fatal(err)
			}
		}, "route */renamed is new"},
		{"fault", func() { put(file, []byte("routes: [")) }, "not reloaded, all goes on as it was"},
		{"put right", func() { put(file, with("/right")) }, "route */right is new"},
		{"new file in the folder", func() { put(filepath.Join(folder, "a.yaml"), route("/included")) }, "route */included is new"},
		{"fault in the folder", func() { put(filepath.Join(folder, "b.yaml"), route("included")) }, "b.yaml:1:"},
		{"put right in the folder", func() { put(filepath.Join(folder, "b.yaml"), route("/mended")) }, "route */mended is new"},
	} {
		step.do()
		p.stderr.await(t, step.said)
		lives(t, "link after "+step.name, link)
	}
	lives(t, "new link", linked(t, ws+"mended"))
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(); status != 0 {
		t.Errorf("proxy exits with %d:\n%s", status, p.stderr)
	}
}

// A signal to stop need not wait for a reload that waits for names, nor does whoever asks for a reload
// while it stops.
func TestStopMeetsReloads(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGHUP")
	}
	shortRuntimeDir(t)
	proxy, ws, _ := running(t, config(t, routed("{backends: [builtin:echo]}")))
	link := linked(t, ws)
	for range 20 {
		if err := proxy.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	asking := exec.Command(os.Args[0], "reload", "-c", proxy.Args[len(proxy.Args)-1])
	asking.Env = proxy.Env
	if err := asking.Start(); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _, err := link.ReadMessage() // what the echo says first
	if err == nil {
		_, _, err = link.ReadMessage()
	}
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the link ends with %v, want 1001", err)
	}
	if status := proxy.exit(); status != 0 {
		t.Errorf("proxy exits with %d:\n%s", status, proxy.stderr)
	}
	_ = asking.Wait() // it may have found nobody any more
}

// Nothing is reloaded once a proxy stops.
func TestNothingIsReloadedWhileStopping(t *testing.T) {
	p := starting(t, routed("{backends: [builtin:echo]}"), "")
	p.leave()
	if _, err := p.reload(); err == nil || err.Error() != "this wsproxy is stopping" {
		t.Errorf("reload while it stops: %v", err)
	}
}
