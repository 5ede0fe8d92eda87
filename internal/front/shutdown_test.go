package front_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
	"wsproxy/tlsterm"
)

// shutdown runs Shutdown as wsproxy does, behind Drain.
func shutdown(p *fronttest.Proxy, ctx context.Context) <-chan error {
	p.Engine.Drain()
	ended := make(chan error, 1)
	go func() { ended <- p.Server.Shutdown(ctx) }()
	return ended
}

// awaitRefusal waits until the listener is closed, which is when Shutdown has begun.
func awaitRefusal(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(fronttest.Hung); time.Now().Before(deadline); {
		conn, err := fronttest.TryDial(addr)
		if err != nil {
			return
		}
		conn.Close()
		runtime.Gosched()
	}
	t.Fatal("the listener is still open")
}

func TestShutdownWaitsForARequest(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b := backend.Accept()
	b.Head()

	ended := shutdown(p, t.Context())
	awaitRefusal(t, p.Addr)
	select {
	case err := <-ended:
		t.Fatalf("Shutdown = %v while a request runs", err)
	default:
	}
	b.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	if r, body := c.Answer(); r.StatusCode != 200 || body != "hi" || !r.Close {
		t.Errorf("answer = %d %q, close %v, want 200, hi and the end", r.StatusCode, body, r.Close)
	}
	if rest := c.Rest(); rest != "" {
		t.Errorf("behind the answer: %q", rest)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownWaitsForAHandshake(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()

	ended := shutdown(p, t.Context())
	awaitRefusal(t, p.Addr)
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := p.Engine.Stats().Opened; n != 1 {
		t.Errorf("links opened when Shutdown returns = %d, want 1", n)
	}
	// The link closes at once: 1001 to both ends.
	if frame := c.Frame(); !strings.HasPrefix(frame, "\x03\xe9") {
		t.Errorf("Close to the client = %q, want 1001", frame)
	}
	if frame := b.Frame(); !strings.HasPrefix(frame, "\x03\xe9") {
		t.Errorf("Close to the backend = %q, want 1001", frame)
	}
	c.Send(fronttest.ClientClose)
	b.Send(fronttest.BackendClose)
	c.Close()
	b.Close()
	p.Log.Await(t, 1, "msg=link", "cause=drained")
}

// held is a client's connection whose hand-over begins when it is let.
type held struct {
	tlsterm.Conn
	begun, let chan struct{}
}

func (h *held) Detach() net.Conn {
	close(h.begun)
	<-h.let
	return h.Conn.Detach()
}

// Between its 101 and the engine a link is nobody's request any more.
func TestShutdownWaitsForAHandOver(t *testing.T) {
	h := &held{begun: make(chan struct{}), let: make(chan struct{})}
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Conn: func(c tlsterm.Conn) tlsterm.Conn {
		h.Conn = c
		return h
	}})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	<-h.begun

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := <-shutdown(p, ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown = %v while a link is on its way, want %v", err, context.DeadlineExceeded)
	}
	close(h.let)
	c.Bytes(fronttest.Switching)
	c.Close()
	b.Close()
	p.Log.Await(t, 1, "msg=link ", "cause=drained")
}

// A connection that is open may send a request until Shutdown finds it idle, but no new handshake.
func TestShutdownRefusesHandshakes(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	slow := fronttest.Dial(t, p.Addr)
	slow.Send(strings.TrimSuffix(fronttest.Handshake, "\r\n"))
	// The backend hears of a client that was accepted after the slow one.
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b := backend.Accept()
	b.Head()

	ended := shutdown(p, t.Context())
	awaitRefusal(t, p.Addr)
	slow.Send("\r\n")
	if r, body := slow.Answer(); r.StatusCode != 503 || !r.Close || !strings.Contains(body, "shutting down") {
		t.Errorf("answer = %d %q, close %v, want 503 and the end", r.StatusCode, body, r.Close)
	}
	slow.Close()
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	c.Answer()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if lines := p.Log.Lines("msg=refused", "status=503"); len(lines) != 1 {
		t.Errorf("log lines = %q, want one", lines)
	}
	backend.Untouched()
}

func TestShutdownClosesIdleConnections(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, c := range []*fronttest.Conn{fronttest.Dial(t, p.Addr), fronttest.DialTLS(t, p.TLSAddr)} {
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.Answer()
		t.Cleanup(func() {
			if rest := c.Rest(); rest != "" {
				t.Errorf("an idle connection reads %q, want the end", rest)
			}
		})
	}
	if err := <-shutdown(p, t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b := backend.Accept()
	b.Head()
	ctx, cancel := context.WithCancel(t.Context())
	ended := shutdown(p, ctx)
	awaitRefusal(t, p.Addr)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want %v", err, context.Canceled)
	}
	// The request is left as it is.
	b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	if r, _ := c.Answer(); r.StatusCode != 204 {
		t.Errorf("status = %d, want 204", r.StatusCode)
	}
}

// An answer that goes on without a goroutine is a request all the same.
func TestShutdownWaitsForAnAnswerThatRests(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	if p.Engine.Home() == nil {
		t.Skip("connections live in no loop here")
	}
	for _, c := range []*fronttest.Conn{fronttest.Dial(t, p.Addr), fronttest.DialTLS(t, p.TLSAddr)} {
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	first, second := backend.Accept(), backend.Accept()
	for _, b := range []*fronttest.Conn{first, second} {
		b.Head()
		b.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	}
	awaitResting := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(fronttest.Hung); p.Forward.Resting() != n; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d answers rest, want %d", p.Forward.Resting(), n)
			}
		}
	}
	awaitResting(2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := shutdown(p, ctx)
	awaitRefusal(t, p.Addr)
	first.Send("5\r\nhello\r\n0\r\n\r\n")
	awaitResting(1)
	select {
	case err := <-ended:
		t.Errorf("Shutdown = %v before the last answer has ended", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want %v", err, context.Canceled)
	}
	second.Send("0\r\n\r\n")
}

// Whatever connections end with, nothing of them stays.
func TestNothingStaysBehind(t *testing.T) {
	churn := func(t *testing.T) {
		backend := fronttest.Listen(t)
		p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
		for _, dial := range []func() *fronttest.Conn{
			func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
			func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
		} {
			for _, answer := range []string{
				fronttest.Switching,
				"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
				"HTTP/1.1 101 Switching Protocols\r\n\r\n",
				"",
			} {
				c := dial()
				c.Send(fronttest.Handshake + fronttest.ClientHello)
				b := backend.Accept()
				b.Head()
				b.Send(answer)
				if answer == fronttest.Switching {
					c.Bytes(fronttest.Switching)
					b.Bytes(fronttest.ClientHello)
					closeLink(c, b)
					continue
				}
				b.Close()
				c.Answer()
				c.Close()
			}
			c := dial()
			c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			b := backend.Accept()
			b.Head()
			b.Send("HTTP/1.1 204 No Content\r\n\r\n")
			c.Answer()
			b.Close()
			c.Close()
			dial().Close()
		}
		p.Stop()
	}
	t.Run("first", churn) // what is made once
	goroutines, files := count(t)
	t.Run("second", churn)
	for deadline := time.Now().Add(fronttest.Hung); ; runtime.Gosched() {
		g, f := count(t)
		if g <= goroutines && f <= files {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines %d, want %d; descriptors %d, want %d\n%s", g, goroutines, f, files, stacks())
		}
	}
}

// count is how many goroutines of ours and, where the system tells, descriptors there are. fasthttp
// keeps its own for ten seconds.
func count(t *testing.T) (goroutines, files int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		if strings.Contains(stack, "wsproxy/") {
			goroutines++
		}
	}
	return goroutines, len(entries)
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
