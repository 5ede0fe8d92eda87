package front_test

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/health"
	"wsproxy/routing"
)

// mood is a backend that does what it is told with each connection.
type mood struct {
	*fronttest.Backend
	does atomic.Pointer[func(*fronttest.Conn)]
}

func moody(t *testing.T, does func(*fronttest.Conn)) *mood {
	t.Helper()
	m := &mood{Backend: fronttest.Listen(t)}
	m.does.Store(&does)
	m.Serve(func(c *fronttest.Conn) { (*m.does.Load())(c) })
	return m
}

func (m *mood) now(does func(*fronttest.Conn)) { m.does.Store(&does) }

// Moods.
func hangsUp(c *fronttest.Conn) { _, _ = c.TryHead() }

func links(c *fronttest.Conn) {
	if head, err := c.TryHead(); err == nil && strings.Contains(head, "Upgrade: websocket") {
		_, _ = fmt.Fprint(c, fronttest.Switching)
		c.Rest()
		return
	}
	_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

func diesEarly(c *fronttest.Conn) {
	_, _ = c.TryHead()
	_, _ = fmt.Fprint(c, fronttest.Switching)
}

// linked opens a link, and reports its client.
func linked(t *testing.T, p *fronttest.Proxy) *fronttest.Conn {
	t.Helper()
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	c.Bytes(fronttest.Switching)
	return c
}

func TestFailingBackendIsTakenOutAndComesBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request string
		bad     func(*fronttest.Conn)
		reason  string
	}{
		{"handshakes", fronttest.Handshake, hangsUp, "bad answer, 3 times in a row"},
		{"requests", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", hangsUp, "bad answer, 3 times in a row"},
		{"links that die early", fronttest.Handshake, diesEarly, "early death of a link, 3 times in a row"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, other := moody(t, tt.bad), moody(t, links)
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
				Backends: before([]string{first.Addr}, other.Addr), Retries: -1,
			}}})
			// No pause is over before the test says so; links count at once where they are good.
			early := time.Duration(-1)
			if strings.Contains(tt.reason, "early") {
				early = time.Hour
			}
			state := judged(t, p, health.Passive{Failures: 3, Pause: 300 * time.Millisecond, EarlyDeath: early})
			w := state[first.Addr]
			for range 3 {
				c := fronttest.Dial(t, p.Addr)
				c.Send(tt.request)
				c.Rest()
			}
			p.Log.Await(t, 1, `msg="backend down"`, "backend="+first.Addr, tt.reason)

			// Out, and half open: the one that tries it fails, and the pause begins again.
			first.now(hangsUp)
			for n := w.admitted.Load(); w.admitted.Load() == n; {
				c := fronttest.Dial(t, p.Addr)
				c.Send(fronttest.Handshake)
				head, _ := c.TryHead()
				c.Close()
				if switched := strings.HasPrefix(head, "HTTP/1.1 101"); switched == (w.admitted.Load() > n) {
					t.Fatalf("a handshake while it is out gets %q", head)
				}
			}
			if n := w.admitted.Load(); n != 4 {
				t.Errorf("admitted = %d, want 3 and one that tries it", n)
			}

			// Back, by the next one.
			first.now(links)
			if early > 0 { // a link is a success when its client ends it
				eventually(t, "usable again", func() bool { return w.Usable(time.Now()) })
				linked(t, p).Close()
			} else {
				for len(p.Log.Lines(`msg="backend up"`)) == 0 {
					linked(t, p).Close()
				}
			}
			p.Log.Await(t, 1, `msg="backend up"`, "backend="+first.Addr, "pause of 600ms")
			linked(t, p).Close()
			if n := w.admitted.Load(); n != 6 {
				t.Errorf("admitted = %d, want two more", n)
			}
		})
	}
}

func TestHalfOpenLetsOneThrough(t *testing.T) {
	first, other := moody(t, hangsUp), moody(t, links)
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
		Backends: before([]string{first.Addr}, other.Addr), Retries: -1,
	}}})
	heard := judged(t, p, health.Passive{Failures: 1, Pause: time.Millisecond, EarlyDeath: -1})
	w := heard[first.Addr]
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	c.Rest()
	eventually(t, "half open", func() bool { return w.Usable(time.Now()) })

	asked, answer := make(chan struct{}), make(chan struct{})
	first.now(func(c *fronttest.Conn) {
		_, _ = c.TryHead()
		asked <- struct{}{}
		<-answer
		_, _ = fmt.Fprint(c, fronttest.Switching)
		c.Rest()
	})
	trial := fronttest.Dial(t, p.Addr)
	trial.Send(fronttest.Handshake)
	<-asked
	for range 10 {
		linked(t, p).Close()
	}
	if n := w.admitted.Load(); n != 2 {
		t.Errorf("admitted = %d, want one while it is half open", n-1)
	}

	// A client that leaves says nothing: another one may try.
	trial.Close()
	eventually(t, "half open again", func() bool { return w.Usable(time.Now()) })
	trial = fronttest.Dial(t, p.Addr)
	trial.Send(fronttest.Handshake)
	<-asked
	if n := len(p.Log.Lines(`msg="backend up"`)); n != 0 {
		t.Errorf("up %d times before anything has succeeded", n)
	}
	close(answer)
	trial.Bytes(fronttest.Switching)
	p.Log.Await(t, 1, `msg="backend up"`, "backend="+first.Addr)
	if w.abandoned.Load() != 1 {
		t.Errorf("abandoned = %d, want 1", w.abandoned.Load())
	}
}

// An answer counts when it begins: a stream has no end.
func TestAnswerCountsWhenItBegins(t *testing.T) {
	first := moody(t, hangsUp)
	p := fronttest.Start(t, fronttest.Config{Backend: first.Addr})
	w := judged(t, p, health.Passive{Failures: 1, Pause: time.Millisecond})[first.Addr]
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Answer()
	eventually(t, "half open", func() bool { return w.Usable(time.Now()) })
	first.now(func(c *fronttest.Conn) {
		_, _ = c.TryHead()
		_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
		c.Rest()
	})
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	p.Log.Await(t, 1, `msg="backend up"`, "backend="+first.Addr)
	c.Head()
	c.Bytes("2\r\nhi\r\n")
	c.Close()
}

func TestClientThatLeavesEndsTheAttempts(t *testing.T) {
	t.Run("while one is asked", func(t *testing.T) {
		first, other := fronttest.Listen(t), fronttest.Listen(t)
		p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{first.Addr}, other.Addr)}}})
		w := witnesses(t, p, nil)[first.Addr]
		c := fronttest.Dial(t, p.Addr)
		c.Send(fronttest.Handshake)
		b := first.Accept()
		b.Head()
		c.Close()
		b.Rest() // the proxy hangs up
		awaitLimits(t, p, front.LimitStats{})
		other.Untouched()
		if w.abandoned.Load() != 1 || w.failed.Load() != 0 {
			t.Errorf("abandoned %d, failed %d, want 1 and 0", w.abandoned.Load(), w.failed.Load())
		}
	})
	t.Run("before the next", func(t *testing.T) {
		first, other := fronttest.Listen(t), fronttest.Listen(t)
		p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{first.Addr}, other.Addr)}}})
		w := witnesses(t, p, nil)[first.Addr]
		c := fronttest.Dial(t, p.Addr)
		c.Send(fronttest.Handshake)
		b := first.Accept()
		b.Head()
		c.Close()
		b.Close()
		awaitLimits(t, p, front.LimitStats{})
		other.Untouched()
		if w.abandoned.Load()+w.failed.Load() != 1 {
			t.Errorf("abandoned %d, failed %d, want one of them", w.abandoned.Load(), w.failed.Load())
		}
	})
}

// Probes take a backend out that no request has failed on, and alone bring it back.
func TestProbedBackendIsTakenOutAndComesBack(t *testing.T) {
	unwell := func(c *fronttest.Conn) {
		_, _ = c.TryHead()
		_, _ = fmt.Fprint(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
	first, other := moody(t, links), moody(t, links)
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: before([]string{first.Addr}, other.Addr)}}})
	w := judged(t, p, health.Passive{Failures: 1, Pause: time.Millisecond, Probed: true})[first.Addr]
	prober := health.New(health.Config{Log: slog.New(p.Log)})
	t.Cleanup(prober.Close)
	prober.Add(health.Target{
		Name: first.Addr, Host: first.Addr, Probed: w.other.(stateJudge).Probed,
		Dial: func(timeout time.Duration) (net.Conn, error) { return net.DialTimeout("tcp", first.Addr, timeout) },
	}, health.Check{Kind: health.HTTP, Interval: 20 * time.Millisecond, Rise: 1, Fall: 1})

	linked(t, p).Close()
	for n := range 3 {
		first.now(unwell)
		p.Log.Await(t, n+1, `msg="backend down"`, "backend="+first.Addr, "by=probe")
		had := w.admitted.Load()
		for range 5 {
			linked(t, p).Close()
		}
		if now := w.admitted.Load(); now != had {
			t.Errorf("%d let through while it is down", now-had)
		}
		first.now(links)
		p.Log.Await(t, n+1, `msg="backend up"`, "backend="+first.Addr, "by=probe")
		linked(t, p).Close()
		if now := w.admitted.Load(); now != had+1 {
			t.Errorf("%d let through when it is up, want 1", now-had)
		}
	}
}
