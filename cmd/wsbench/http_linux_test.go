package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newHTTPServer answers the HTTP workloads, over https if secure, by another author's hand: net/http, which answers in
// chunks what is long. With closeEvery it announces the end of the connection with every so many answers. It returns its
// URL and how many requests there were.
func newHTTPServer(t *testing.T, secure bool, closeEvery int64) (string, *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String()
	if secure {
		files, err := makeCertificate(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			t.Fatal(err)
		}
		url = "https://" + ln.Addr().String()
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	var seen atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := seen.Add(1); closeEvery > 0 && n%closeEvery == 0 {
			w.Header().Set("Connection", "close")
		}
		tg, _ := parseTag([]byte(r.FormValue("tag")))
		size, _ := strconv.Atoi(r.FormValue("size"))
		b := newBody(tg)
		switch r.URL.Path {
		case "/get", "/download":
			_, _ = w.Write(bodyOf(tg, size))
		case "/upload":
			got, err := io.ReadAll(r.Body)
			if err == nil {
				_, _ = w.Write(appendReport(nil, &b, int64(len(got)), int64(b.agrees(got, 0))))
			}
		case "/events":
			interval, _ := time.ParseDuration(r.FormValue("interval"))
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for number := uint64(0); ; number++ {
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
				_, _ = w.Write(appendEvent(nil, &b, number, monotonic(), size))
				_ = http.NewResponseController(w).Flush()
			}
		default:
			http.NotFound(w, r)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return url, &seen
}

func TestEveryHTTPWorkloadAgainstPlainServers(t *testing.T) {
	plain, _ := newHTTPServer(t, false, 0)
	secure, _ := newHTTPServer(t, true, 0)
	servers := []struct{ name, url string }{
		{"backend", httpBackend(t)},
		{"net/http", plain},
		{"net/http with TLS", secure},
	}
	for _, tt := range []struct {
		name string
		opt  Options
	}{
		{"get", Options{Workload: workGet}},
		{"get at a rate", Options{Workload: workGet, Rate: 2000}},
		{"get of more than a read", Options{Workload: workGet, Size: 1 << 20, Connections: 4}},
		{"get with sources", Options{Workload: workGet, Sources: loopbackSources}},
		{"download", Options{Workload: workDownload, Size: 1 << 20}},
		{"upload", Options{Workload: workUpload, Size: 1 << 20}},
		{"upload of little", Options{Workload: workUpload, Size: tagSize}},
		{"events", Options{Workload: workEvents, Interval: 20 * time.Millisecond}},
		{"large events", Options{Workload: workEvents, Interval: 20 * time.Millisecond, Size: 20_000}},
	} {
		for _, s := range servers {
			t.Run(tt.name+"/"+s.name, func(t *testing.T) {
				opt := tt.opt
				opt.URL, opt.Insecure, opt.PID = s.url, true, os.Getpid()
				if opt.Workload == workGet || opt.Workload == workEvents {
					fill(&opt.Connections, 20)
				}
				fill(&opt.WarmUp, 20*time.Millisecond)
				// A busy machine may need longer for the first of what is measured: a measure in which nothing
				// came is made again, and nothing else is.
				var res *Result
				var err error
				for opt.Duration = 200 * time.Millisecond; opt.Duration < 10*time.Second; opt.Duration *= 2 {
					res, err = runLoad(context.Background(), opt, nil)
					if err == nil && (res.faulty() || res.Latency != nil) ||
						err != nil && !strings.HasPrefix(err.Error(), "nothing came in the ") {
						break
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if res.faulty() {
					t.Errorf("faulty: %s", res.trouble())
				}
				if res.Made == 0 || res.Handshakes != 0 {
					t.Errorf("%d connections made, %d of them in the measure, want all before it", res.Made, res.Handshakes)
				}
				if res.Bytes == 0 || res.Latency == nil {
					t.Errorf("%d bytes, latency %+v", res.Bytes, res.Latency)
				}
				if opt.Workload == workGet && opt.Size == 0 && (res.Messages == 0 || res.Bytes != 128*res.Messages) {
					t.Errorf("%d requests, %d bytes, want 128 each", res.Messages, res.Bytes)
				}
				for _, f := range figures[opt.Workload] {
					// The process that is measured is this one, which may have less memory at the end.
					if v := f.value(res); !(v >= 0) && f.unit != "bytes" {
						t.Errorf("%s is %v", f.name, v)
					}
				}
			})
		}
	}
}

func TestAnnouncedEndIsNoFault(t *testing.T) {
	const links = 4
	for _, opt := range []Options{{}, {Interval: 5 * time.Millisecond}} {
		for _, secure := range []bool{false, true} {
			url, seen := newHTTPServer(t, secure, 5)
			opt.URL, opt.Workload, opt.Connections, opt.Insecure = url, workGet, links, true
			opt.Duration, opt.WarmUp = 300*time.Millisecond, -1
			res, err := runLoad(context.Background(), opt, nil)
			if err != nil {
				t.Fatal(err)
			}
			ends := int(seen.Load()) / 5
			if res.faulty() || ends == 0 || res.Made < links+ends-links || res.Made > links+ends {
				t.Errorf("interval %v, secure %t: %d connections for %d requests, %d of them the last, faults %q",
					opt.Interval, secure, res.Made, seen.Load(), ends, res.trouble())
			}
		}
	}
}

func TestEventsCountFromTheirWriting(t *testing.T) {
	// A relay holds back what the backend sends, all that comes within one hold.
	const hold = 50 * time.Millisecond
	proxy := newFaultyHTTPProxy(t, httpBackend(t), func(p *proxyAnswer) { p.delay = hold })
	res, err := runLoad(context.Background(), Options{
		URL: proxy, Workload: workEvents, Connections: 4, Interval: 100 * time.Millisecond, Duration: 500 * time.Millisecond, WarmUp: -1,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if least := float64(hold.Microseconds()); res.faulty() || res.Messages == 0 || res.Latency.P50 < least*0.99 {
		t.Errorf("%d events, latency %+v, faults %q, want %v µs at least", res.Messages, res.Latency, res.trouble(), least)
	}
}

func TestEventsThatStopAreMissed(t *testing.T) {
	// All that a stream owes is awaited at the end, so a proxy that goes silent within the timeout is found as well.
	proxy := newFaultyHTTPProxy(t, httpBackend(t), func(p *proxyAnswer) { p.hold = p.conn == 0 && p.number == 2 })
	res, err := runLoad(context.Background(), Options{
		URL: proxy, Workload: workEvents, Connections: 2, Interval: 10 * time.Millisecond,
		Duration: 200 * time.Millisecond, WarmUp: -1, Timeout: 400 * time.Millisecond,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "link 0: request 0: nothing moved for "; res.Faults[faultLate] == 0 || len(res.Details) == 0 {
		t.Errorf("faults %v, %q, want late and %q", res.Faults, res.Details, want)
	}
}

func TestNothingMeasuredIsAnError(t *testing.T) {
	proxy := newFaultyHTTPProxy(t, httpBackend(t), func(p *proxyAnswer) { p.delay = time.Second })
	_, err := runLoad(context.Background(), Options{
		URL: proxy, Workload: workGet, Connections: 1, Duration: time.Millisecond, WarmUp: -1,
	}, nil)
	if want := "nothing came in the "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func ExampleResult_print() {
	r := Result{Workload: workGet, URL: "http://localhost/", Size: 128, Made: 2, Seconds: 2, Messages: 1000, MessagesPerSecond: 500, Bytes: 128_000, BytesPerSecond: 64_000,
		Proxy: &ProxyResult{PID: 7, Processes: 1, CPUSeconds: 0.02, MicrosPerMessage: 20, Note: "nothing"}}
	r.print(os.Stdout)
	fmt.Println()
	r.Workload, r.RatePerLink, r.Latency = workEvents, 1, &Quantiles{1, 1, 2, 3, 4, 5}
	r.Proxy = nil
	r.print(os.Stdout)
	// Output:
	// workload               get of 128 bytes each to http://localhost/
	// connections            2 made, 0 failed
	// measured               2.00 s
	// handshakes             all before the measure, 0/s
	// requests               1000, 500/s
	// payload                125.00 KiB, 62.50 KiB/s
	// proxy                  process 7, 1 in its tree
	//   CPU                  0.020 s, 1.0% of one core
	//                        20.00 µs per request
	//   private memory       0 B
	//   left out             nothing
	//
	// workload               events of 128 bytes each to http://localhost/
	// connections            2 made, 0 failed
	// measured               2.00 s
	// handshakes             all before the measure, 0/s
	// events                 1000, 500/s
	// payload                125.00 KiB, 62.50 KiB/s
	// latency from write     p50 1 µs  p90 2 µs  p99 3 µs  p99.9 4 µs  max 5 µs
}
