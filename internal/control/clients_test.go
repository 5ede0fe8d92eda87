package control

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// raw connects without the client, and returns what comes for what it sends.
func raw(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hung)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

func TestBadRequestsAreRefused(t *testing.T) {
	s := listening(t, map[string]Handler{"echo": echo}, usual)
	tests := []struct{ name, send, want string }{
		{"too large", strings.Repeat("x", maxRequest+1000), "a request may have 1048576 bytes"},
		{"too large by one", strings.Repeat(" ", maxRequest) + "\n", "a request may have 1048576 bytes"},
		{"just not too large", `{"command":"echo"}` + strings.Repeat(" ", maxRequest-19) + "\n", `"ok":true`},
		{"no JSON", "reload\n", "not a line of JSON"},
		{"wrong types", `{"command":7}` + "\n", "not a line of JSON"},
		{"from a newer client", `{"command":"echo","color":true}` + "\n", `"ok":true`},
		{"cut off", `{"command":"echo"`, "not a line of JSON: unexpected EOF"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := raw(t, s.Path())
			_, _ = io.WriteString(conn, tt.send) // which may not want all of it
			if !strings.HasSuffix(tt.send, "\n") {
				_ = conn.CloseWrite()
			}
			got, _ := io.ReadAll(conn)
			if !strings.Contains(string(got), tt.want) || tt.want == "" && len(got) > 0 {
				t.Errorf("the answer is %.200q, want %q", got, tt.want)
			}
		})
	}
	if _, err := Call(bounded(t), s.Path(), Request{Command: strings.Repeat("x", maxRequest)}); err == nil {
		t.Error("Call sends a request that is too large")
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	large := strings.Repeat("x", 512<<10) // more than a socket takes
	s := listening(t, map[string]Handler{
		"echo":  echo,
		"large": func(context.Context, []string) Reply { return Reply{OK: true, Text: []string{large}} },
	}, limits{idle: 100 * time.Millisecond, reply: maxReply})

	silent := raw(t, s.Path())
	if got, _ := io.ReadAll(silent); !strings.Contains(string(got), "no request came within 100ms") {
		t.Errorf("the answer to silence is %q", got)
	}

	deaf := raw(t, s.Path())
	_, _ = io.WriteString(deaf, `{"command":"large"}`+"\n")       // too late where the machine is slow
	if _, err := io.ReadFull(deaf, make([]byte, 1)); err != nil { // the answer has begun
		t.Fatal(err)
	}
	// The server's place is free once it has given up: with all of them taken like this, others get in.
	for range 2 * places {
		_, _ = io.WriteString(raw(t, s.Path()), `{"command":"large"}`+"\n")
	}
	if _, err := Call(bounded(t), s.Path(), Request{Command: "echo"}); err != nil {
		t.Errorf("behind deaf clients: %v", err)
	}
	if got, err := io.ReadAll(deaf); err == nil && len(got) >= len(large) {
		t.Error("a client that did not read was waited for")
	}
}

func TestManyClientsTakeTurns(t *testing.T) {
	var running, most, total atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	s := listening(t, map[string]Handler{"wait": func(context.Context, []string) Reply {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if total.Add(1) == places {
			close(full)
		}
		<-release
		return Reply{OK: true}
	}}, usual)
	var clients sync.WaitGroup
	for range 5 * places {
		clients.Go(func() {
			if reply, err := Call(bounded(t), s.Path(), Request{Command: "wait"}); err != nil || !reply.OK {
				t.Errorf("Call = %v, %v", reply, err)
			}
		})
	}
	<-full
	close(release)
	clients.Wait()
	if most.Load() != places || total.Load() != 5*places {
		t.Errorf("%d commands, at most %d at a time, want %d and %d", total.Load(), most.Load(), 5*places, places)
	}
}

func TestCloseWaitsForTheCommandAndItsAnswer(t *testing.T) {
	inside := make(chan struct{})
	var ended atomic.Bool
	s := listening(t, map[string]Handler{"drain": func(ctx context.Context, _ []string) Reply {
		close(inside)
		<-ctx.Done()
		ended.Store(true)
		return Reply{OK: true, Text: []string{"half done"}}
	}}, usual)
	silent := raw(t, s.Path()) // holds nothing up
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		reply, err := Call(bounded(t), s.Path(), Request{Command: "drain"})
		if err != nil || len(reply.Text) != 1 {
			t.Errorf("Call = %v, %v, want the answer of a command that ends", reply, err)
		}
	}()
	<-inside
	s.Close()
	if !ended.Load() {
		t.Error("Close returns while a command runs")
	}
	<-answered
	if got, _ := io.ReadAll(silent); len(got) > 0 {
		t.Errorf("a client that has asked nothing is told %q", got)
	}
}

func TestCommandHearsThatItsClientHasGone(t *testing.T) {
	inside, gone := make(chan struct{}), make(chan struct{})
	s := listening(t, map[string]Handler{"drain": func(ctx context.Context, _ []string) Reply {
		close(inside)
		<-ctx.Done()
		close(gone)
		return Reply{}
	}}, usual)
	ctx, cancel := context.WithCancel(bounded(t))
	go func() {
		<-inside
		cancel()
	}()
	if _, err := Call(ctx, s.Path(), Request{Command: "drain"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v, want context.Canceled", err)
	}
	select {
	case <-gone:
	case <-time.After(hung):
		t.Error("the command is not told")
	}
}

func TestAnswersOfOthersAreFaults(t *testing.T) {
	tests := []struct{ name, send, want string }{
		{"nothing", "", "without an answer"},
		{"no JSON", "HTTP/1.1 400 Bad Request\r\n", "answer of wsproxy"},
		{"cut off", `{"ok":true`, "unexpected EOF"},
		{"endless", strings.Repeat("x", maxReply+1), "too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "a.sock")
			listener, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			var other sync.WaitGroup
			other.Go(func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				var request Request
				_ = receive(conn, maxRequest, &request)
				_, _ = io.WriteString(conn, tt.send)
			})
			defer other.Wait()
			defer listener.Close()
			if _, err := Call(bounded(t), path, Request{Command: "echo"}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Call = %v, want %q", err, tt.want)
			}
		})
	}
}
