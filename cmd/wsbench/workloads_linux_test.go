package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// newEchoServer runs a plain echo server by another author's hand and returns its URL. With drainAfter it closes
// every link with 1001 once it has echoed so many messages.
func newEchoServer(t *testing.T, secure bool, drainAfter int64) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + ln.Addr().String() + "/"
	if secure {
		files, err := makeCertificate(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			t.Fatal(err)
		}
		url = "wss://" + ln.Addr().String() + "/"
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	var (
		mu    sync.Mutex // guards conns
		conns = map[*websocket.Conn]bool{}
		seen  atomic.Int64
	)
	drain := func() {
		mu.Lock()
		defer mu.Unlock()
		for c := range conns {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Now().Add(time.Second))
		}
	}
	upgrader := websocket.FastHTTPUpgrader{}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		_ = upgrader.Upgrade(ctx, func(c *websocket.Conn) {
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			for {
				kind, p, err := c.ReadMessage()
				if err == nil {
					err = c.WriteMessage(kind, p)
				}
				if err != nil {
					break
				}
				if seen.Add(1) == drainAfter {
					drain()
				}
			}
			mu.Lock()
			delete(conns, c)
			mu.Unlock()
		})
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return url
}

// newTestBackend runs the backend in this process and returns its URL without a path.
func newTestBackend(t *testing.T) string {
	t.Helper()
	b, err := newBackend("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("backend: %v", err)
		}
	})
	return "ws://" + b.addr()
}

func TestEveryWorkloadAgainstPlainServers(t *testing.T) {
	servers := []struct{ name, url string }{
		{"backend", newTestBackend(t) + "/echo"},
		{"fasthttp ws", newEchoServer(t, false, 0)},
		{"fasthttp wss", newEchoServer(t, true, 0)},
	}
	const links = 20
	for _, tt := range []struct {
		name     string
		opt      Options
		messages bool // some must have been measured
	}{
		{"idle", Options{Workload: workIdle, WarmLinks: 5}, false},
		{"echo", Options{Workload: workEcho}, true},
		{"echo at a rate", Options{Workload: workEcho, Rate: 2000}, true},
		{"echo with many in flight", Options{Workload: workEcho, InFlight: 32, Size: 16}, true},
		{"sparse", Options{Workload: workSparse, Interval: 20 * time.Millisecond}, true},
		{"bulk", Options{Workload: workBulk}, true},
		{"handshake", Options{Workload: workHandshake, Connections: 4}, false},
		{"storm by reset", Options{Workload: workStorm, Duration: 10 * time.Second, Storms: 2}, true},
		{"storm by end", Options{Workload: workStorm, Duration: 10 * time.Second, Storms: 1, Drop: "close"}, true},
		{"ramp and sources", Options{Workload: workEcho, Ramp: 20 * time.Millisecond, Sources: loopbackSources}, true},
	} {
		for _, s := range servers {
			t.Run(tt.name+"/"+s.name, func(t *testing.T) {
				opt := tt.opt
				opt.URL, opt.Insecure, opt.PID = s.url, true, os.Getpid()
				fill(&opt.Connections, links)
				fill(&opt.Duration, 200*time.Millisecond)
				fill(&opt.WarmUp, 20*time.Millisecond)
				res, err := runLoad(context.Background(), opt, nil)
				if err != nil {
					t.Fatal(err)
				}
				if res.faulty() {
					t.Errorf("faulty: %s", res.trouble())
				}
				if res.Made < opt.Connections {
					t.Errorf("%d connections made, want %d at least", res.Made, opt.Connections)
				}
				if tt.messages && (res.Messages == 0 || res.Latency == nil || res.Bytes != 2*res.Messages*int64(res.Size)) {
					t.Errorf("%d messages, %d bytes, latency %+v", res.Messages, res.Bytes, res.Latency)
				}
				if opt.Workload == workHandshake && (res.Handshakes == 0 || res.HandshakeLatency == nil) {
					t.Errorf("%d handshakes, latency %+v", res.Handshakes, res.HandshakeLatency)
				}
				if opt.Workload == workStorm && (len(res.Storm.AllBackSeconds) != opt.Storms || res.Handshakes < opt.Storms*links) {
					t.Errorf("storm %+v, %d handshakes", res.Storm, res.Handshakes)
				}
				if opt.Workload == workIdle && res.Proxy.PrivateBefore == 0 {
					t.Error("no memory measured")
				}
			})
		}
	}
}

func TestDrainRecordsHowLinksEnd(t *testing.T) {
	for _, secure := range []bool{false, true} {
		opt := Options{
			URL: newEchoServer(t, secure, 100), Workload: workDrain, Connections: 20, Duration: 20 * time.Second,
			Interval: 5 * time.Millisecond, Insecure: true,
		}
		res, err := runLoad(context.Background(), opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.faulty() || res.Drain.CloseCodes[1001] != 20 || res.Drain.StillOpen != 0 || len(res.Drain.WithoutCode) > 0 || res.Drain.Spread.Count != 20 {
			t.Errorf("secure %t: drain %+v, faults %s, want 20 × 1001", secure, res.Drain, res.trouble())
		}
	}
}

func TestLatencyCountsFromDueTime(t *testing.T) {
	// A link owes a message every 2 ms and the server stalls once, for two fifths of the measure.
	const stall = 400 * time.Millisecond
	run := func(opt Options) *Result {
		stalled := false
		proxy := newFaultyProxy(t, newTestBackend(t), func(f *proxyFrame) {
			if f.number == 50 && !stalled {
				stalled = true
				time.Sleep(stall) // the fault itself, nobody waits for it
			}
		})
		opt.URL, opt.Workload, opt.Connections, opt.WarmUp = proxy, workEcho, 1, -1
		opt.Duration = stall * 5 / 2
		res, err := runLoad(context.Background(), opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.faulty() {
			t.Fatalf("faulty: %s", res.trouble())
		}
		return res
	}
	quarter := float64((stall / 4).Microseconds())
	due := run(Options{Interval: 2 * time.Millisecond})
	if due.Latency.P90 < quarter || due.Latency.Max < 3*quarter {
		t.Errorf("paced: p90 %.0f µs, max %.0f µs, want the stall of %v in both", due.Latency.P90, due.Latency.Max, stall)
	}
	closed := run(Options{})
	if closed.Latency.P90 >= quarter || closed.Latency.Max < 3*quarter {
		t.Errorf("closed loop: p90 %.0f µs, max %.0f µs, want the stall of %v in the second only", closed.Latency.P90, closed.Latency.Max, stall)
	}
}
