package front_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/health"
	"wsproxy/routing"
)

// Clients of all kinds meet backends of all kinds, while the configuration is read again and again: nothing
// is left behind, and no more is tried than may be.
func TestAttemptsLeaveNothingBehind(t *testing.T) {
	t.Run("first", churnAttempts) // what is made once
	goroutines, files := count(t)
	t.Run("second", churnAttempts)
	var g, f int
	for deadline := time.Now().Add(fronttest.Hung); time.Now().Before(deadline); runtime.Gosched() {
		if g, f = count(t); g <= goroutines && f <= files {
			return
		}
	}
	t.Fatalf("goroutines %d, want %d; descriptors %d, want %d\n%s", g, goroutines, f, files, stacks())
}

func churnAttempts(t *testing.T) {
	var turn atomic.Int32
	moods := []func(*fronttest.Conn){hangsUp, links, diesEarly, links, func(c *fronttest.Conn) {
		_, _ = c.TryHead()
		fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}, func(c *fronttest.Conn) {
		_, _ = c.TryHead()
		fmt.Fprint(c, strings.Replace(fronttest.Switching, fronttest.Accept, "AAAA", 1))
	}}
	flaky := moody(t, func(c *fronttest.Conn) { moods[int(turn.Add(1))%len(moods)](c) })
	good := moody(t, links)
	var backends []routing.BackendConfig
	for _, addr := range []string{nobody(t), flaky.Addr, good.Addr} {
		backends = append(backends, backendAt(addr)...)
	}
	routes := []routing.RouteConfig{{
		Backends: backends, Balance: routing.LeastConnections, MaxLinks: 3, Sticky: new(routing.StickyConfig),
		Queue: routing.Queue{Size: 2, Timeout: 20 * time.Millisecond}, HandshakeTimeout: fronttest.Hung,
	}}
	p := fronttest.Start(t, fronttest.Config{Routes: routes})
	heard := judged(t, p, health.Passive{Pause: 5 * time.Millisecond, MaxPause: 10 * time.Millisecond, EarlyDeath: time.Millisecond})

	const clients, each = 8, 60
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range each {
				churnOne(t, p.Addr, r)
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for running := true; running; {
		update(t, p, routes, nil)
		select {
		case <-ended:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
	}

	awaitLimits(t, p, front.LimitStats{})
	if n, most := admitted(heard), clients*each*6/5+10; n > most {
		t.Errorf("attempts = %d, want %d at most", n, most)
	}
	if n := p.Table.Routes()[0].Waiting(); n != 0 {
		t.Errorf("%d wait at the end, want 0", n)
	}
	p.Stop() // which looks at the slots
}

// churnOne is one client. Whatever the answer is, it comes, and is one that there can be.
func churnOne(t *testing.T, addr string, r *rand.Rand) {
	c, err := fronttest.TryDial(addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(fronttest.Hung))
	what := r.IntN(6)
	request := fronttest.Handshake
	switch what {
	case 4:
		request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	case 5:
		request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
	}
	_, _ = io.WriteString(c, request)
	if what == 0 {
		return // gone before the answer
	}
	br := bufio.NewReader(c)
	answer, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Errorf("no answer to %.4q: %v", request, err)
		return
	}
	switch answer.StatusCode {
	case 101:
		if what == 1 {
			return // gone without a Close
		}
		_, _ = io.WriteString(c, fronttest.ClientHello+fronttest.ClientClose)
	case 200, 403, 502, 503:
	default:
		t.Errorf("status = %d", answer.StatusCode)
	}
}
