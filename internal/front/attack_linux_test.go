package front_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
)

// attackers is how many clients there are of each kind that is slow on purpose.
const attackers = 500

// An attacker has one connection, and returns what is wrong with the way in which it has ended. It calls
// begun once, when it has done what is to keep a server waiting.
type attacker func(c *net.TCPConn, begun func()) error

// Slow clients cost what they cost and no more: others are served meanwhile, each is got rid of, and nothing
// is left of them.
func TestSlowAttacks(t *testing.T) {
	addr := serveRaw(t, beAttacked)
	const short = 500 * time.Millisecond
	head := func(c *front.Config) { c.Timeouts.RequestHeader = 3 * time.Second } // new clients take some of it, too
	body := func(c *front.Config) { c.Timeouts.RequestBody, c.Limits.MinRate = short, 1<<20 }
	for _, tt := range []struct {
		name   string
		set    func(*front.Config)
		attack attacker
		slow   int64 // how many are counted as such, if the proxy gets to see what they send
	}{
		{"heads, byte by byte", head, either(slowly("GET /x HTTP/1.1\r\nHost: a\r\nX: "), slowly("GET /")), attackers},
		{"bodies, byte by byte", body, either(
			slowly("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"),
			slowly("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"),
		), attackers},
		{"half a head and silence", head, silently("GET /x HTTP/1.1\r\nHos", "HTTP/1.1 408 "), attackers},
		{"half a body and silence", body,
			silently("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc", "HTTP/1.1 408 "), attackers},
		{"silence", head, silently("", ""), 0},
		{"answers that are not read", func(c *front.Config) { c.Timeouts.Send = short }, either(
			unreading("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n"),
			unreading(strings.Repeat("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 100)),
		), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fronttest.Start(t, fronttest.Config{Backend: addr, Front: tt.set})
			serveOne(t, p)
			silent.Store(0)
			goroutines, files := count(t)
			memory := heap()
			attack(t, p, tt.attack)
			if n := p.Server.Refused()["slow"]; n != tt.slow-silent.Load() {
				t.Errorf("refused for being slow: %d, want %d and %d closed without a word", n, tt.slow, silent.Load())
			}
			awaitNothingLeft(t, goroutines, files, memory)
		})
	}
}

// beAttacked answers what is asked on one connection of a backend: with an answer that is small, large, or
// never ends.
func beAttacked(b net.Conn) {
	defer b.Close()
	_ = b.SetDeadline(time.Now().Add(2 * fronttest.Hung))
	_ = b.(*net.TCPConn).SetWriteBuffer(16 << 10)
	br := bufio.NewReader(b)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/flood":
			fmt.Fprint(b, "HTTP/1.1 200 OK\r\n\r\n")
			for piece := []byte(strings.Repeat("x", 16<<10)); err == nil; {
				_, err = b.Write(piece)
			}
			return
		case "/large":
			fmt.Fprintf(b, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%s", strings.Repeat("x", 100_000))
		default:
			fmt.Fprint(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
		if err != nil {
			return
		}
	}
}

// serveRaw starts a backend that keeps nothing of its connections when they have ended. It ends with the
// test.
func serveRaw(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { handle(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

// attack lets all attackers loose, and serves new clients until all have ended.
func attack(t *testing.T, p *fronttest.Proxy, one attacker) {
	t.Helper()
	var begun, ended sync.WaitGroup
	faults := make(chan error, attackers)
	for range attackers {
		begun.Add(1)
		ended.Go(func() {
			once := sync.OnceFunc(begun.Done)
			defer once()
			c, err := dialSmall(p.Addr)
			if err == nil {
				defer c.Close()
				err = one(c, once)
			}
			if err != nil {
				faults <- err
			}
		})
	}
	begun.Wait()
	over := make(chan struct{})
	go func() {
		ended.Wait()
		close(over)
	}()
	for done := false; !done; {
		serveOne(t, p)
		select {
		case <-over:
			done = true
		default:
		}
	}
	close(faults)
	n := 0
	for err := range faults {
		if n++; n <= 3 {
			t.Error(err)
		}
	}
	if n > 0 {
		t.Errorf("%d of %d attackers have not ended well", n, attackers)
	}
}

// serveOne is a client as it should be.
func serveOne(t *testing.T, p *fronttest.Proxy) {
	t.Helper()
	c, err := fronttest.TryDial(p.Addr)
	if err != nil {
		t.Fatalf("a new client: %v", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(fronttest.Hung))
	_, _ = io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "ok") {
		t.Fatalf("a new client reads %q, %v, want 200", answer, err)
	}
}

// dialSmall connects so that little of an answer is on its way when nobody reads it: with a small buffer to
// receive it, and in small segments, by which the system sizes the one that it is sent from.
func dialSmall(addr string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: fronttest.Hung, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536)
		})
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(fronttest.Hung))
	return c.(*net.TCPConn), nil
}

// either is one attacker and another in turn.
func either(one, other attacker) attacker {
	var turn atomic.Int32
	return func(c *net.TCPConn, begun func()) error {
		if turn.Add(1)%2 == 0 {
			return one(c, begun)
		}
		return other(c, begun)
	}
}

// silent counts those whose time for a head was over before the proxy, which has a lot to do, looked at
// its beginning. They get no 408.
var silent atomic.Int64

// slowly sends the start of a request and then a byte at a time for as long as it may. It is to read a 408.
func slowly(start string) attacker {
	return func(c *net.TCPConn, begun func()) error {
		if _, err := io.WriteString(c, start); err != nil {
			return err
		}
		begun()
		until := time.Now().Add(fronttest.Hung)
		answer := make([]byte, 4<<10)
		for n := 0; ; {
			// The pace of the attack: an answer that is waited for, for a while.
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			m, err := c.Read(answer[n:])
			n += m
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until):
			case err == io.EOF && strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408 "):
				return nil
			case err == io.EOF && n == 0 && !strings.Contains(start, "\r\n\r\n"):
				silent.Add(1)
				return nil
			case err != nil:
				return fmt.Errorf("slow client reads %q, %w", answer[:n], err)
			}
			if n == 0 {
				_, _ = c.Write([]byte("x"))
			}
		}
	}
}

// silently sends the start of a request and waits for what it gets.
func silently(start, answer string) attacker {
	return func(c *net.TCPConn, begun func()) error {
		if _, err := io.WriteString(c, start); err != nil {
			return err
		}
		begun()
		got, err := io.ReadAll(c)
		if len(got) == 0 && answer != "" && !strings.Contains(start, "\r\n\r\n") {
			silent.Add(1)
			return nil
		}
		if err != nil || !strings.HasPrefix(string(got), answer) || answer == "" && len(got) > 0 {
			return fmt.Errorf("silent client reads %q, %v, want %q", got, err, answer)
		}
		return nil
	}
}

// unreading asks for more than it takes, and waits until it is reset.
func unreading(requests string) attacker {
	return func(c *net.TCPConn, begun func()) error {
		if _, err := io.WriteString(c, requests); err != nil {
			return err
		}
		begun()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		// A reset alone arrives behind bytes that nobody reads.
		if err := raw.Read(hungUp); err != nil {
			return fmt.Errorf("a client that reads nothing is still served: %w", err)
		}
		return nil
	}
}

// hungUp reports whether the other side has ended or reset a connection, whatever there is to read.
func hungUp(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// heap is what is in use once all is swept that can be.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools keep things for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// awaitNothingLeft waits until there are no more goroutines of ours, descriptors and bytes than there were.
func awaitNothingLeft(t *testing.T, goroutines, files int, memory uint64) {
	t.Helper()
	const slack = 8 << 20
	for deadline := time.Now().Add(fronttest.Hung); ; runtime.Gosched() {
		g, f := count(t)
		if g <= goroutines && f <= files {
			if m := heap(); m <= memory+slack {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("heap = %d, want at most %d and %d more", m, memory, slack)
			}
		} else if time.Now().After(deadline) {
			t.Fatalf("goroutines %d, want %d; descriptors %d, want %d\n%s", g, goroutines, f, files, stacks())
		}
	}
}
