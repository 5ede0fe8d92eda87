package forward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/sock"
	"wsproxy/routing"
)

// homes are the ways on which answers can rest.
var homes = []way{plainWay, secureWay}

// eventually gives way until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hung); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// awaitRest waits until n answers rest and no other is carried by a goroutine that has been started for it.
func (p *proxy) awaitRest(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d answers rest", n), func() bool {
		r := &p.transport.resting
		r.mu.Lock()
		defer r.mu.Unlock()
		for x := range r.all {
			if !x.free.Load() {
				return false
			}
		}
		return len(r.all) == n
	})
}

// stream is the backend's side of an answer that has begun.
type stream struct {
	*rawConn
	over chan struct{} // closed by the test when its end has been sent
}

// streamBackend answers requests for /events with events, which are the test's to send, and others with ok.
func streamBackend(t testing.TB) (addr string, begun <-chan stream) {
	streams := make(chan stream)
	return rawBackend(t, func(c *rawConn) {
		for {
			head, err := c.readHead()
			switch {
			case err != nil:
				return
			case strings.HasPrefix(head, "GET /events "):
				s := stream{c, make(chan struct{})}
				_ = c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
				streams <- s
				<-s.over
			default:
				_ = c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	}), streams
}

const (
	getEvents = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n"
	endEvents = "0\r\nX: y\r\n\r\n"
)

// want reads what is to come next.
func (c *rawConn) want(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); string(got[:n]) != want {
		t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

// Streams that are silent have no goroutine. Their events come all the same, and behind their ends the
// clients' connections carry the next requests, which may have come long ago.
func TestSilentAnswersRest(t *testing.T) {
	for _, w := range homes {
		t.Run(w.name, func(t *testing.T) {
			addr, begun := streamBackend(t)
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(addr)}})
			const n = 20
			goroutines := runtime.NumGoroutine()
			var clients []*rawConn
			var streams []stream
			for i := range n {
				c := p.dial(t)
				_ = c.send(getEvents)
				if i%2 == 0 && !w.tls {
					_ = c.send(keepGet)
				}
				streams = append(streams, <-begun)
				if _, err := c.readHead(); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, c)
			}
			p.awaitRest(t, n)
			// The backend has one for each, and the test's own come and go.
			eventually(t, "no goroutine for a silent stream", func() bool { return runtime.NumGoroutine() < goroutines+n+n/2 })
			for i := range 3 {
				for k, c := range clients {
					event := fmt.Sprintf("data: %d\n", i)
					_ = streams[k].send(fmt.Sprintf("%x\r\n%s\r\n", len(event), event))
					c.want(t, fmt.Sprintf("%x\r\n%s\r\n", len(event), event))
				}
				p.awaitRest(t, n)
			}
			for k, c := range clients {
				_ = streams[k].send(endEvents)
				close(streams[k].over)
				c.want(t, endEvents)
				if k%2 != 0 || w.tls {
					_ = c.send(keepGet)
				}
				c.want(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			p.awaitRest(t, 0)
		})
	}
}

// An event may come in any pieces, and in one with what follows.
func TestPiecesOfEventsWhileAnAnswerRests(t *testing.T) {
	for _, w := range homes {
		t.Run(w.name, func(t *testing.T) {
			addr, begun := streamBackend(t)
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(addr)}})
			for _, all := range []string{"5\r\nhello\r\n" + endEvents, "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"} {
				for cut := range len(all) {
					c := p.dial(t)
					_ = c.send(getEvents)
					s := <-begun
					p.awaitRest(t, 1)
					_ = s.send(all[:cut])
					if cut > 0 {
						p.awaitRest(t, 1)
					}
					_ = s.send(all[cut:])
					close(s.over)
					r, err := http.ReadResponse(c.Reader, nil)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(r.Body)
					if got := string(body); !strings.HasPrefix("hello world", got) || len(got) < 5 || err != nil {
						t.Errorf("cut at %d: %q, %v", cut, got, err)
					}
					c.Close()
					p.awaitRest(t, 0)
				}
			}
		})
	}
}

// What comes in bulk behind a rest arrives as it is, also when the client takes nothing for a while.
func TestBulkBehindARest(t *testing.T) {
	for _, w := range homes {
		t.Run(w.name, func(t *testing.T) {
			flow := make(chan struct{})
			addr := httpBackend(t, func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-flow
				_, _ = io.CopyN(w, pattern(), bulk)
			})
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(addr)}})
			resp, err := httpClient(t).Get(p.url())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			p.awaitRest(t, 1)
			close(flow)
			// The client takes nothing: somebody has to wait for it.
			eventually(t, "a goroutine for what the client does not take", func() bool {
				p.transport.resting.mu.Lock()
				defer p.transport.resting.mu.Unlock()
				for x := range p.transport.resting.all {
					return !x.free.Load()
				}
				return false
			})
			wantBulk(t, resp.Body)
			p.awaitRest(t, 0)
		})
	}
}

// Wait waits for answers that rest, and Close cuts them off.
func TestEndOfTheTransportWhileAnswersRest(t *testing.T) {
	for _, w := range homes {
		t.Run(w.name, func(t *testing.T) {
			addr, begun := streamBackend(t)
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(addr)}})
			begin := func() (*rawConn, stream) {
				c := p.dial(t)
				_ = c.send(getEvents)
				s := <-begun
				if _, err := c.readHead(); err != nil {
					t.Fatal(err)
				}
				return c, s
			}
			first, firstStream := begin()
			second, secondStream := begin()
			p.awaitRest(t, 2)
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.transport.Wait(over); !errors.Is(err, context.Canceled) || p.transport.Resting() != 2 {
				t.Errorf("Wait = %v with %d answers, want %v and both", err, p.transport.Resting(), context.Canceled)
			}
			p.port.Stop()
			_ = firstStream.send(endEvents)
			close(firstStream.over)
			first.want(t, endEvents)
			if rest, err := io.ReadAll(first); len(rest) > 0 || err != nil {
				t.Errorf("behind an answer that ends while the proxy does: %q, %v, want the end", rest, err)
			}
			p.awaitRest(t, 1)
			waited := make(chan error, 1)
			go func() { waited <- p.transport.Wait(t.Context()) }()
			p.transport.Close()
			if err := <-waited; err != nil {
				t.Errorf("Wait = %v", err)
			}
			if rest, err := io.ReadAll(second); err == nil {
				t.Errorf("behind an answer that is cut off: %q and an orderly end", rest)
			}
			if _, err := secondStream.ReadByte(); err == nil {
				t.Error("the backend's connection goes on")
			}
			close(secondStream.over)
		})
	}
}

// hooked is a connection to a backend on which something goes wrong.
type hooked struct {
	*sock.Conn
	read, tryRead func() error // nil, or an error in place of a read
}

func (c *hooked) Read(p []byte) (int, error) {
	if c.read != nil {
		if err := c.read(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *hooked) TryRead(p []byte) (int, error) {
	if c.tryRead != nil {
		if err := c.tryRead(); err != nil {
			return 0, err
		}
	}
	return c.Conn.TryRead(p)
}

// hooking makes a Dial whose connections are hooked.
func hooking(hook func(*hooked)) func(*routing.Backend, dial.Request) (net.Conn, error) {
	return func(b *routing.Backend, r dial.Request) (net.Conn, error) {
		c, err := new(dial.Dialer).Dial(b, r)
		if err != nil {
			return nil, err
		}
		h := &hooked{Conn: c.(*sock.Conn)}
		hook(h)
		return h, nil
	}
}

// A connection that the kernel has given up does not pause, and behind its error it reads as ended.
func TestConnectionThatIsGivenUpIsNoRest(t *testing.T) {
	backend := answerOnce(t, "HTTP/1.1 200 OK\r\n\r\nhalf")
	dialled := hooking(func(c *hooked) {
		reads := 0
		c.read = func() error {
			if reads++; reads == 2 {
				return syscall.ETIMEDOUT
			}
			return nil
		}
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, config: Config{Dial: dialled}, rests: time.Hour})
	got := p.exchange(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(got, "4\r\nhalf\r\n") {
		t.Errorf("the client got %q, want a half and no end", got)
	}
}

// A panic in a loop is the end of one answer.
func TestPanicWhileAnAnswerRests(t *testing.T) {
	addr, begun := streamBackend(t)
	dialled := hooking(func(c *hooked) { c.tryRead = func() error { panic("on purpose") } })
	log := new(bytes.Buffer)
	p := startProxy(t, proxyOptions{to: To{Backend: at(addr)}, config: Config{Dial: dialled, Log: slog.New(slog.NewTextHandler(log, nil))}})
	c := p.dial(t)
	_ = c.send(getEvents)
	s := <-begun
	if _, err := c.readHead(); err != nil {
		t.Fatal(err)
	}
	p.awaitRest(t, 1)
	_ = s.send("5\r\nhello\r\n")
	close(s.over)
	if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
		t.Errorf("the client reads %q, %v, want the end", rest, err)
	}
	p.awaitRest(t, 0)
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "on purpose") {
		t.Errorf("log %q, want one line about it", text)
	}
}

func TestWaitForNothing(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	transport := New(Config{})
	defer transport.Close()
	for range 100 {
		if err := transport.Wait(over); err != nil {
			t.Fatalf("Wait = %v", err)
		}
	}
}

// A route without a home has its answers carried as ever, and a backend over TLS as well.
func TestAnswersThatCannotRest(t *testing.T) {
	for _, secure := range []bool{false, true} {
		w, config, backend := way{"http without a home", false, false}, Config{}, at("")
		serve := func(c *rawConn) {
			if _, err := c.readHead(); err == nil {
				_ = c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				endlessly(c)
			}
		}
		if secure {
			w = plainWay
			backend, config = secureBackend(t, serve)
		} else {
			backend.Addr = rawBackend(t, serve)
		}
		p := startProxy(t, proxyOptions{way: w, config: config, to: To{Backend: backend}})
		c := p.dial(t)
		_ = c.send(keepGet)
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			runtime.Gosched()
		}
		if n := p.transport.Resting(); n != 0 {
			t.Errorf("with TLS to the backend %v: %d answers rest", secure, n)
		}
	}
}
