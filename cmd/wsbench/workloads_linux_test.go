package main

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// echoServer is a plain echo server by another author's hand.
type echoServer struct {
	url  string
	seen atomic.Int64 // messages echoed
}

// newEchoServer runs an echoServer, over wss if there is a TLS configuration, to which it adds a certificate. With
// drainAfter it closes every link with 1001 once it has echoed so many messages.
func newEchoServer(t *testing.T, config *tls.Config, drainAfter int64) *echoServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &echoServer{url: "ws://" + ln.Addr().String() + "/"}
	if config != nil {
		files, err := makeCertificate(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			t.Fatal(err)
		}
		s.url = "wss://" + ln.Addr().String() + "/"
		config.Certificates = []tls.Certificate{pair}
		ln = tls.NewListener(ln, config)
	}
	var (
		mu    sync.Mutex // guards conns
		conns = map[*websocket.Conn]bool{}
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
				if s.seen.Add(1) == drainAfter {
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
	return s
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
		{"fasthttp ws", newEchoServer(t, nil, 0).url},
		{"fasthttp wss", newEchoServer(t, &tls.Config{}, 0).url},
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
	for _, config := range []*tls.Config{nil, {}} {
		opt := Options{
			URL: newEchoServer(t, config, 100).url, Workload: workDrain, Connections: 20, Duration: 20 * time.Second,
			Interval: 5 * time.Millisecond, Insecure: true,
		}
		res, err := runLoad(context.Background(), opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.faulty() || res.Drain.CloseCodes[1001] != 20 || res.Drain.StillOpen != 0 || len(res.Drain.WithoutCode) > 0 || res.Drain.Spread.Count != 20 {
			t.Errorf("secure %t: drain %+v, faults %s, want 20 × 1001", config != nil, res.Drain, res.trouble())
		}
	}
}

func TestResumedTellsWhatWasResumed(t *testing.T) {
	const lanes = 4
	for _, tt := range []struct {
		name    string
		config  *tls.Config
		resumes bool
	}{
		{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"server without tickets", &tls.Config{SessionTicketsDisabled: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := runLoad(context.Background(), Options{
				URL: newEchoServer(t, tt.config, 0).url, Workload: workResumed, Connections: lanes, PID: os.Getpid(),
				Duration: 200 * time.Millisecond, WarmUp: 200 * time.Millisecond, Insecure: true,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.faulty() || res.Handshakes == 0 {
				t.Fatalf("%d handshakes, faults %q", res.Handshakes, res.trouble())
			}
			// Only the first of each lane has no ticket, and those belong to the warm-up unless this machine is slow.
			resumed := int(math.Round(*res.Resumed * float64(res.Handshakes)))
			if full := res.Handshakes - resumed; tt.resumes && full > lanes || !tt.resumes && resumed > 0 {
				t.Errorf("%d of %d handshakes resumed", resumed, res.Handshakes)
			}
			cpu, full := figures[workResumed][0].value(res), figures[workResumed][1].value(res)
			if cpu > 0 != (*res.Resumed >= 0.99) || full != 100*(1-*res.Resumed) {
				t.Errorf("%v resumed gives %v µs per handshake and %v%% full ones", *res.Resumed, cpu, full)
			}
		})
	}
}

func TestHandshakeResumesNothing(t *testing.T) {
	var resumed atomic.Int64
	config := &tls.Config{VerifyConnection: func(s tls.ConnectionState) error {
		if s.DidResume {
			resumed.Add(1)
		}
		return nil
	}}
	for workload, want := range map[string]bool{workHandshake: false, workResumed: true} {
		resumed.Store(0)
		res, err := runLoad(context.Background(), Options{
			URL: newEchoServer(t, config.Clone(), 0).url, Workload: workload, Connections: 4,
			Duration: 200 * time.Millisecond, Insecure: true,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := resumed.Load(); n > 0 != want || res.Handshakes == 0 || (res.Resumed != nil) != want {
			t.Errorf("%s: the server saw %d of %d resumed, result says %v", workload, n, res.Made, res.Resumed)
		}
	}
}

func TestIdleSendsWhatItSays(t *testing.T) {
	for _, tt := range []struct {
		name         string
		config       *tls.Config
		messages, of int
	}{
		{"ws", nil, 0, 2},
		{"wss", &tls.Config{}, 0, 5}, // 20 KB
		{"wss, as asked for", &tls.Config{}, 3, 3},
	} {
		server := newEchoServer(t, tt.config, 0)
		res, err := runLoad(context.Background(), Options{
			URL: server.url, Workload: workIdle, Connections: 4, WarmLinks: 2, Messages: tt.messages,
			Duration: time.Millisecond, WarmUp: -1, Insecure: true,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.faulty() || server.seen.Load() != int64(6*tt.of) || res.MessagesBefore != tt.of || res.Size != 4096 {
			t.Errorf("%s: server saw %d messages on 6 links, result says %d of %d bytes on each, faults %q; want %d",
				tt.name, server.seen.Load(), res.MessagesBefore, res.Size, res.trouble(), tt.of)
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
