package front_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// before are backends of which one after the other is tried: each is a backup for what stands before it, as
// far as there are two kinds.
func before(bad []string, good string) (all []routing.BackendConfig) {
	for _, addr := range bad {
		all = append(all, backendAt(addr)...)
	}
	all = append(all, backendAt(good)...)
	all[len(all)-1].Backup = true
	return all
}

// saying is a backend that answers every head with a text and closes; without one it waits for the other
// side to close.
func saying(t *testing.T, text string) string {
	b := fronttest.Listen(t)
	b.Serve(func(c *fronttest.Conn) {
		if _, err := c.TryHead(); err != nil {
			return
		}
		if text == "" {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		_, _ = io.WriteString(c, text)
	})
	return b.Addr
}

func TestHandshakeIsTriedElsewhere(t *testing.T) {
	const nothing = ""
	for _, tt := range []struct {
		name string
		bad  func(t *testing.T) string
		want string // of the error
	}{
		{"refused", nobody, "dial"},
		{"hangs", func(t *testing.T) string { return saying(t, nothing) }, "timeout"},
		{"hangs up", func(t *testing.T) string { return saying(t, "\n") }, "answer"},
		{"garbage", func(t *testing.T) string { return saying(t, "SSH-2.0-x\r\n\r\n") }, "answer"},
		{"wrong accept", func(t *testing.T) string {
			return saying(t, strings.Replace(fronttest.Switching, fronttest.Accept, "AAAA", 1))
		}, "Sec-WebSocket-Accept"},
		{"breaks off behind a 1xx", func(t *testing.T) string {
			return saying(t, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
		}, "answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := tt.bad(t), fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
				Backends: before([]string{bad}, good.Addr), HandshakeTimeout: 200 * time.Millisecond,
			}}})
			heard := witnesses(t, p, nil)
			c := fronttest.Dial(t, p.Addr)
			c.Send(fronttest.Handshake + fronttest.ClientHello)
			b := good.Accept()
			b.Head()
			b.Send(fronttest.Switching)
			c.Bytes(fronttest.Switching) // and nothing before it
			b.Bytes(fronttest.ClientHello)
			end(t, p, 1, c, b)
			if w := heard[bad]; w.failed.Load() != 1 || w.admitted.Load() != 1 {
				t.Errorf("the bad one: admitted %d, failed %d, want 1 and 1", w.admitted.Load(), w.failed.Load())
			}
			if w := heard[good.Addr]; w.opened.Load() != 1 || w.admitted.Load() != 1 {
				t.Errorf("the good one: admitted %d, opened %d, want 1 and 1", w.admitted.Load(), w.opened.Load())
			}
			if lines := p.Log.Lines("tried again", "backend="+bad, "route=*/*", "err="); len(lines) != 1 {
				t.Errorf("lines of the first attempt = %q, want one", lines)
			} else if !strings.Contains(lines[0], tt.want) {
				t.Errorf("line = %q, want it to say %q", lines[0], tt.want)
			}
			awaitLimits(t, p, front.LimitStats{})
		})
	}
}

// What a backend says no to is no failure, and is not asked of another.
func TestRefusalIsNotTriedElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name, answer       string
		status             int
		succeeded, failure int32
	}{
		{"401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, 1, 0},
		{"503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull", 503, 1, 0},
		{"malformed", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: x\r\n\r\n", 502, 0, 1},
	} {
		for kind, request := range map[string]string{"handshake": fronttest.Handshake, "request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			t.Run(tt.name+" to a "+kind, func(t *testing.T) {
				first, other := saying(t, tt.answer), fronttest.Listen(t)
				p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{first}, other.Addr)}}})
				w := witnesses(t, p, nil)[first]
				c := fronttest.Dial(t, p.Addr)
				c.Send(request)
				if r, _ := c.Answer(); r.StatusCode != tt.status {
					t.Errorf("status = %d, want %d", r.StatusCode, tt.status)
				}
				other.Untouched()
				p.Stop()
				if w.succeeded.Load() != tt.succeeded || w.failed.Load() != tt.failure {
					t.Errorf("succeeded %d, failed %d, want %d and %d", w.succeeded.Load(), w.failed.Load(), tt.succeeded, tt.failure)
				}
			})
		}
	}
}

func TestRequestIsTriedElsewhereUnlessSent(t *testing.T) {
	body := strings.Repeat("b", 100<<10)
	for _, tt := range []struct{ name, head, body string }{
		{"GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"POST that is still coming", fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(body)), body},
		{"POST in chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"},
	} {
		_, small, _ := strings.Cut(tt.head, "\r\n\r\n")
		want := small + tt.body
		if strings.Contains(tt.head, "chunked") {
			want = "hello"
		}
		t.Run(tt.name+" refused", func(t *testing.T) {
			good := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{
				{Backends: before([]string{nobody(t), nobody(t)}, good.Addr)}}})
			heard := witnesses(t, p, nil)
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.head)
			b := good.Accept()
			c.Send(tt.body)
			if got := b.Request(); got != want {
				t.Errorf("the backend gets %d bytes %.20q, want %d", len(got), got, len(want))
			}
			b.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
			if r, body := c.Answer(); r.StatusCode != 200 || body != "hi" {
				t.Errorf("answer = %d %q, want 200 hi", r.StatusCode, body)
			}
			if n := admitted(heard); n != 3 {
				t.Errorf("attempts = %d, want 3", n)
			}
			if lines := p.Log.Lines("tried again"); len(lines) != 2 {
				t.Errorf("lines of attempts = %q, want 2", lines)
			}
		})
		t.Run(tt.name+" sent", func(t *testing.T) {
			bad, other := saying(t, "\n"), fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{bad}, other.Addr)}}})
			heard := witnesses(t, p, nil)
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.head)
			if r, _ := c.Answer(); r.StatusCode != 502 {
				t.Errorf("status = %d, want 502", r.StatusCode)
			}
			other.Untouched()
			if n := admitted(heard); n != 1 {
				t.Errorf("attempts = %d, want 1", n)
			}
		})
	}
}

// A connection that was idle may be dead when a request is sent on it, and its backend gone.
func TestRequestOnADeadConnectionIsTriedElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"GET", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{"PUT", "PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 502}, // its body has been read
		{"POST", "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			good := fronttest.Listen(t)
			answerAll(t, good)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{ln.Addr().String()}, good.Addr)}}})
			witnesses(t, p, nil)
			c := fronttest.Dial(t, p.Addr)
			c.Send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
			b, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			buf := make([]byte, 4<<10)
			_, _ = b.Read(buf)
			_, _ = io.WriteString(b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if r, _ := c.Answer(); r.StatusCode != 200 {
				t.Fatalf("status = %d, want 200", r.StatusCode)
			}
			c.Send(tt.request)
			_, _ = b.Read(buf)
			ln.Close()
			b.Close()
			if r, _ := c.Answer(); r.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", r.StatusCode, tt.status)
			}
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	down := func(t *testing.T) (all []string) {
		for range 5 {
			all = append(all, nobody(t))
		}
		return all
	}
	for _, tt := range []struct {
		name          string
		retries, want int
	}{
		{"by default", 0, 3}, {"off", -1, 1}, {"one", 1, 2}, {"more than there are backends", 10, 6},
	} {
		for kind, request := range map[string]string{"handshake": fronttest.Handshake, "request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			t.Run(tt.name+" for a "+kind, func(t *testing.T) {
				p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{
					{Backends: before(down(t), nobody(t)), Retries: tt.retries}}})
				heard := witnesses(t, p, nil)
				c := fronttest.Dial(t, p.Addr)
				c.Send(request)
				if r, _ := c.Answer(); r.StatusCode != 502 {
					t.Errorf("status = %d, want 502", r.StatusCode)
				}
				if n := admitted(heard); n != tt.want {
					t.Errorf("attempts = %d, want %d", n, tt.want)
				}
				p.Log.Await(t, 1, "msg=refused", "reason=backend_dial")
				if n := len(p.Log.Lines("tried again")); n != tt.want-1 {
					t.Errorf("%d lines of attempts, want %d", n, tt.want-1)
				}
			})
		}
	}
	t.Run("the last one counts", func(t *testing.T) {
		silent := saying(t, "")
		p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{
			{Backends: before([]string{nobody(t)}, silent), HandshakeTimeout: 50 * time.Millisecond}}})
		c := fronttest.Dial(t, p.Addr)
		c.Send(fronttest.Handshake)
		if r, _ := c.Answer(); r.StatusCode != 504 {
			t.Errorf("status = %d, want 504", r.StatusCode)
		}
		p.Log.Await(t, 1, "msg=refused", "reason=backend_timeout", silent)
	})
}

// A judge that lets nobody through has not failed the request, and costs it none of its retries.
func TestNotAdmittedIsNoAttempt(t *testing.T) {
	closed, good := nobody(t), fronttest.Listen(t)
	answerAll(t, good)
	shy := []string{nobody(t), nobody(t), nobody(t)}
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
		Backends: before(append(shy, closed), good.Addr), Retries: 1,
	}}})
	no := make(map[string]routing.Judge)
	for _, addr := range shy {
		no[addr] = refusing{}
	}
	witnesses(t, p, no)
	for range 5 { // whoever's turn it is
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
		if r, body := c.Answer(); r.StatusCode != 200 || body != "/x" {
			t.Errorf("answer = %d %q, want 200 /x", r.StatusCode, body)
		}
	}
}

// refusing is a Judge that lets nobody through, but does not say so before.
type refusing struct{ routing.Judge }

func (refusing) Usable(time.Time) bool { return true }
func (refusing) Admit(time.Time) bool  { return false }

func TestRetriesHaveABudget(t *testing.T) {
	var bad []string
	for range 4 {
		bad = append(bad, nobody(t))
	}
	routes := []routing.RouteConfig{{Backends: before(bad[1:], bad[0]), Retries: 10}}
	p := fronttest.Start(t, fronttest.Config{Routes: routes})
	heard := witnesses(t, p, nil)
	c := fronttest.Dial(t, p.Addr)
	const requests = 200
	for i := range requests {
		if i%50 == 49 {
			update(t, p, routes, nil) // which changes nothing about it
		}
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if r, _ := c.Answer(); r.StatusCode != 502 {
			t.Fatalf("status = %d, want 502", r.StatusCode)
		}
	}
	if n, most := admitted(heard)-requests, requests/5+10; n > most || n < most-2 {
		t.Errorf("retries = %d, want %d", n, most)
	}
}
