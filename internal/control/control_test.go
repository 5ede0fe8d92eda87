package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 30 * time.Second

// asOther makes the test's binary a process that listens, until its input ends.
const asOther = "WSPROXY_TEST_LISTEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(asOther); path != "" {
		s, err := Listen(path, nil, quiet)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		_, _ = io.Copy(io.Discard, os.Stdin)
		if s != nil {
			os.Exit(0) // without Close: the socket stays behind
		}
	}
	os.Exit(m.Run())
}

// usual are the limits of Listen, but for an answer that takes long to make.
var usual = limits{idle: idle, reply: 64 << 10}

var quiet = slog.New(slog.DiscardHandler)

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	t.Cleanup(cancel)
	return ctx
}

func echo(_ context.Context, args []string) Reply { return Reply{OK: true, Text: args} }

// shortDir is a folder whose path leaves room for a socket's name, unlike t.TempDir.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listening is a Server at a path of its own.
func listening(t *testing.T, handlers map[string]Handler, limits limits) *Server {
	t.Helper()
	s, err := listen(filepath.Join(shortDir(t), "run", "a.sock"), handlers, quiet, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRequestsAreAnswered(t *testing.T) {
	s := listening(t, map[string]Handler{
		"echo":  echo,
		"data":  func(context.Context, []string) Reply { return Reply{OK: true, Data: json.RawMessage(`{"a":1}`)} },
		"fault": func(context.Context, []string) Reply { return Refuse("line %d", 7) },
		"large": func(context.Context, []string) Reply {
			return Reply{OK: true, Text: []string{strings.Repeat("x", usual.reply)}}
		},
		"broken": func(context.Context, []string) Reply { return Reply{OK: true, Data: json.RawMessage(`{`)} },
		"panic":  func(context.Context, []string) Reply { panic("oops") },
	}, usual)
	tests := []struct {
		name    string
		request Request
		want    string
	}{
		{"arguments", Request{Command: "echo", Args: []string{"a b", "", "ü\n"}}, `{"ok":true,"text":["a b","","ü\n"]}`},
		{"data", Request{Command: "data"}, `{"ok":true,"data":{"a":1}}`},
		{"faults", Request{Command: "fault"}, `{"ok":false,"faults":["line 7"]}`},
		{"unknown", Request{Command: "restart"},
			`{"ok":false,"faults":["wsproxy has no command \"restart\"; it has broken, data, echo, fault, large, panic"]}`},
		{"answer too large", Request{Command: "large"}, `{"ok":true,"faults":["the answer cannot be sent: too large"]}`},
		{"answer that is no JSON", Request{Command: "broken"}, `the answer cannot be sent`},
		{"panic", Request{Command: "panic"}, `{"ok":false,"faults":["panic: a fault of wsproxy itself: oops"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := Call(bounded(t), s.Path(), tt.request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(reply)
			if err != nil || !strings.Contains(string(got), tt.want) {
				t.Errorf("Call(%v) = %s, %v, want %s", tt.request, got, err, tt.want)
			}
		})
	}
}

func TestOnlyTheOwnerMayOpenIt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	s := listening(t, nil, usual)
	for path, want := range map[string]os.FileMode{s.Path(): 0o600 | os.ModeSocket, filepath.Dir(s.Path()): 0o700 | os.ModeDir} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestNothingStaysBehind(t *testing.T) {
	s := listening(t, nil, usual)
	s.Close()
	s.Close() // again
	entries, err := os.ReadDir(filepath.Dir(s.Path()))
	if err != nil || len(entries) > 0 {
		t.Errorf("after Close the folder has %v, %v", entries, err)
	}
	_, err = Call(bounded(t), s.Path(), Request{Command: "echo"})
	if !errors.Is(err, ErrNobody) || err.Error() != "nothing listens on "+s.Path() {
		t.Errorf("Call after Close: %v", err)
	}
}

func TestSocketOfALiveProcessIsLeftAlone(t *testing.T) {
	s := listening(t, map[string]Handler{"echo": echo}, usual)
	_, err := Listen(s.Path(), nil, quiet)
	want := "another wsproxy runs with this file"
	if runtime.GOOS == "linux" {
		want += fmt.Sprintf(" (pid %d)", os.Getpid())
	}
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Listen again: %v, want %s", err, want)
	}
	if _, err := Call(bounded(t), s.Path(), Request{Command: "echo"}); err != nil {
		t.Errorf("the first no longer answers: %v", err)
	}

	// One that is of another program has no lock.
	path := filepath.Join(shortDir(t), "b.sock")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(path, nil, quiet); err == nil || !strings.Contains(err.Error(), "another wsproxy") {
		t.Errorf("Listen beside another program: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other program's socket is gone: %v", err)
	}
}

func TestSocketLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "run", "a.sock")
	other := exec.CommandContext(bounded(t), os.Args[0])
	other.Env = append(os.Environ(), asOther+"="+path)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("listening"))
	if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "listening" {
		t.Fatalf("the other process says %q, %v", said, err)
	}
	if _, err = Listen(path, nil, quiet); err == nil ||
		runtime.GOOS == "linux" && !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", other.Process.Pid)) {
		t.Errorf("Listen beside process %d: %v", other.Process.Pid, err)
	}
	stdin.Close()
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the test is none, the socket has not stayed: %v", err)
	}
	if _, err := Call(bounded(t), path, Request{Command: "echo"}); !errors.Is(err, ErrNobody) {
		t.Errorf("Call on a socket left behind: %v", err)
	}
	s, err := Listen(path, map[string]Handler{"echo": echo}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if reply, err := Call(bounded(t), path, Request{Command: "echo"}); err != nil || !reply.OK {
		t.Errorf("Call = %v, %v", reply, err)
	}
}

func TestOfManyThatStartAtOnceOneListens(t *testing.T) {
	path := filepath.Join(shortDir(t), "run", "a.sock")
	for round := range 20 {
		if round%2 == 1 { // one was left behind
			old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			old.SetUnlinkOnClose(false)
			old.Close()
		}
		var starting sync.WaitGroup
		servers := make(chan *Server, 8)
		for range cap(servers) {
			starting.Go(func() {
				if s, err := Listen(path, map[string]Handler{"echo": echo}, quiet); err == nil {
					servers <- s
				}
			})
		}
		starting.Wait()
		if len(servers) != 1 {
			t.Fatalf("%d listen at once", len(servers))
		}
		if _, err := Call(bounded(t), path, Request{Command: "echo"}); err != nil {
			t.Errorf("the one that listens cannot be reached: %v", err)
		}
		(<-servers).Close()
	}
}

func TestListenRefuses(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"long path", "/tmp/" + strings.Repeat("x", 120), "has 125 bytes, and the path of a socket may have"},
		{"open folder", filepath.Join(open, "a.sock"), "others may write to " + open},
		{"a file there", file, "there is a file that is no socket"},
		{"a file for a folder", filepath.Join(file, "a.sock"), "file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Listen(tt.path, nil, quiet)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Listen(%q): %v, want %q", tt.path, err, tt.want)
			}
		})
	}
	if text, err := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("the file has been touched: %q, %v", text, err)
	}
	_, err := Call(bounded(t), "/tmp/"+strings.Repeat("x", 120), Request{})
	if err == nil || errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("Call with a long path: %v", err)
	}
}
