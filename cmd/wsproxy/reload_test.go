package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/control"
	"wsproxy/routing"
)

// pretend makes the test itself a running wsproxy of a configuration file, which does c when it is asked.
func pretend(t *testing.T, file string, c commands) (socket string) {
	t.Helper()
	// That of t.TempDir is too long for a socket.
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("RUNTIME_DIRECTORY", dir)
	server, err := control.Listen(control.DefaultPath(file), c.handlers(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.Path()
}

// result runs wsproxy in a folder to its end.
func result(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := program(t, args...)
	p.Dir = dir
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	status = p.exit()
	return status, p.stdout.String(), p.stderr.String()
}

func TestReloadIsAskedForFromAnywhere(t *testing.T) {
	file := config(t, "")
	dir := filepath.Dir(file)
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	socket := pretend(t, file, commands{reload: func(context.Context) ([]string, error) {
		return []string{"route */chat: added", "\x1b[2Jlistener :8080: unchanged"}, nil
	}})
	tests := []struct {
		name, dir string
		args      []string
	}{
		{"file's folder", dir, nil},
		{"elsewhere", os.TempDir(), []string{"-c", file}},
		{"relative", filepath.Dir(dir), []string{"-c", filepath.Join(filepath.Base(dir), "proxy.yaml")}},
		{"by a link", "/", []string{"--config", link}},
		{"by the socket", "/", []string{"--socket", socket}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := result(t, tt.dir, append([]string{"reload"}, tt.args...)...)
			want := "route */chat: added\n\uFFFD[2Jlistener :8080: unchanged\n"
			if status != 0 || stdout != want || stderr != "" {
				t.Errorf("reload exits with %d and says %q %q, want 0 and %q", status, stdout, stderr, want)
			}
		})
	}
}

func TestReloadPrintsFaultsAsCheckDoes(t *testing.T) {
	file := config(t, "listeners:\n  - adress: \":8080\"\nroutes:\n  - backends: [builtin:ecco]\n    path: x\n")
	pretend(t, file, commands{reload: func(context.Context) ([]string, error) {
		_, err := routing.Load(file)
		return nil, err
	}})
	checked, _, want := result(t, "", "check", "-c", file)
	status, stdout, stderr := result(t, "", "reload", "-c", file)
	if checked != 1 || strings.Count(want, "\n") < 3 {
		t.Fatalf("check exits with %d and says %q, want faults", checked, want)
	}
	if status != 1 || stderr != want || stdout != "" {
		t.Errorf("reload exits with %d and says\n%s%s, want 1 and\n%s", status, stdout, stderr, want)
	}
}

func TestAskingNobodySaysSo(t *testing.T) {
	file := config(t, "")
	socket := pretend(t, config(t, ""), commands{}) // another's
	nobody := filepath.Join(filepath.Dir(socket), "none.sock")
	absent := control.DefaultPath(file)
	for _, command := range [][]string{{"reload"}, {"drain", "http://a"}, {"undrain", "http://a"}, {"backends"}} {
		status, stdout, stderr := result(t, "", append(command, "-c", file)...)
		want := "wsproxy: no wsproxy runs with " + file + ": nothing listens on " + absent + "\n"
		if status != 2 || stderr != want || stdout != "" {
			t.Errorf("%v exits with %d and says %q %q, want 2 and %q", command, status, stdout, stderr, want)
		}
	}
	status, _, stderr := result(t, "", "reload", "--socket", nobody)
	if want := "wsproxy: no wsproxy runs: nothing listens on " + nobody + "\n"; status != 2 || stderr != want {
		t.Errorf("reload exits with %d and says %q, want 2 and %q", status, stderr, want)
	}
}

func TestBackendsAreDrainedByName(t *testing.T) {
	known := func(verb string) func(context.Context, string) ([]string, error) {
		return func(_ context.Context, backend string) ([]string, error) {
			if backend != "http://10.0.0.7:9000" {
				return nil, errors.New("no route has the backend " + backend)
			}
			return []string{backend + " is " + verb}, nil
		}
	}
	file := config(t, "")
	pretend(t, file, commands{drain: known("draining: 3 links"), undrain: known("in use again")})
	tests := []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"drain", "http://10.0.0.7:9000"}, 0, "http://10.0.0.7:9000 is draining: 3 links\n", ""},
		{[]string{"undrain", "http://10.0.0.7:9000"}, 0, "http://10.0.0.7:9000 is in use again\n", ""},
		{[]string{"drain", "http://x"}, 1, "", "no route has the backend http://x\n"},
		{[]string{"drain"}, 1, "", "wsproxy: accepts 1 arg(s), received 0\n"},
	}
	for _, tt := range tests {
		status, stdout, stderr := result(t, "", append(tt.args, "-c", file)...)
		if status != tt.status || stdout != tt.stdout || stderr != tt.stderr {
			t.Errorf("%v exits with %d and says %q %q, want %d, %q, %q",
				tt.args, status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
		}
	}
}

func TestBackendsAreATableOrJSON(t *testing.T) {
	backends := []backendState{
		{Backend: "http://10.0.0.7:9000", Routes: []string{"*/chat", "b.example/*"}, State: "up", Links: 12000},
		{Backend: "builtin:echo", Routes: []string{"*/*"}, State: "down", Since: time.Now().Add(-26*time.Hour - time.Minute),
			Reason: "dial:\tconnection refused"},
	}
	file := config(t, "")
	var none atomic.Bool
	pretend(t, file, commands{backends: func() []backendState {
		if none.Load() {
			return nil
		}
		return backends
	}})
	status, stdout, stderr := result(t, "/", "backends", "-c", file)
	want := `
BACKEND               STATE  LINKS  FOR   ROUTES               REASON
http://10.0.0.7:9000  up     12000  -     */chat, b.example/*  -
builtin:echo          down   0      1d2h  */*                  dial: connection refused
`[1:]
	if status != 0 || stdout != want {
		t.Errorf("backends exits with %d and says %s, want\n%s%s", status, stdout, want, stderr)
	}
	status, stdout, _ = result(t, "/", "backends", "--json", "-c", file)
	var got []backendState
	if err := json.Unmarshal([]byte(stdout), &got); status != 0 || err != nil || len(got) != 2 || got[0].Links != 12000 {
		t.Errorf("backends --json exits with %d and says %s, %v", status, stdout, err)
	}
	if !strings.HasPrefix(stdout, "[\n  {\n    \"backend\": ") {
		t.Errorf("the JSON is not laid out: %s", stdout)
	}
	none.Store(true)
	if status, stdout, _ := result(t, "/", "backends", "--json", "-c", file); status != 0 || stdout != "[]\n" {
		t.Errorf("backends --json without any exits with %d and says %q", status, stdout)
	}
}

func TestCommandsRefuseOtherArguments(t *testing.T) {
	handlers := commands{}.handlers()
	tests := []struct {
		command string
		args    []string
		want    string
	}{
		{"reload", []string{"x"}, "the command takes no argument, and 1 were given"},
		{"drain", nil, "the command takes one argument, BACKEND, and 0 were given"},
		{"undrain", []string{"x", "y"}, "the command takes one argument, BACKEND, and 2 were given"},
	}
	for _, tt := range tests {
		reply := handlers[tt.command](context.Background(), tt.args)
		if reply.OK || len(reply.Faults) != 1 || reply.Faults[0] != tt.want {
			t.Errorf("%s %q: %+v, want %q", tt.command, tt.args, reply, tt.want)
		}
	}
}

func TestLastedHasTwoUnits(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		0: "0s", 65 * time.Second: "1m5s", 3*time.Hour + 59*time.Minute: "3h59m", 49 * time.Hour: "2d1h", -time.Hour: "0s",
	} {
		if got := lasted(now.Add(-d), now); got != want {
			t.Errorf("lasted(%v) = %q, want %q", d, got, want)
		}
	}
	if got := lasted(time.Time{}, now); got != "" {
		t.Errorf("lasted of a time that is not known = %q", got)
	}
}
