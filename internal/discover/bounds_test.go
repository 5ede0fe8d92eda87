package discover

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock"
	"wsproxy/internal/sock/dnstest"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 20 * time.Second

func TestQuestionsAreBounded(t *testing.T) {
	const most = 2
	f := newFixture(t, Config{MaxQuestions: most}, sock.ResolverConfig{})
	var zone []dnsmessage.Resource
	for i := range 10 {
		host := fmt.Sprintf("%d.test.", i)
		zone = append(zone, dnstest.Service("app.test.", host, 80, 0, 0, 30), dnstest.Address(host, fmt.Sprintf("192.0.2.%d", i), 30))
	}
	heard, open := make(chan struct{}, 100), make(chan struct{})
	var under, top atomic.Int64
	f.server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		now := under.Add(1)
		for old := top.Load(); now > old && !top.CompareAndSwap(old, now); old = top.Load() {
		}
		heard <- struct{}{}
		<-open
		under.Add(-1) // before the answer, which lets the next one come
		return dnstest.Zone(q, zone)
	})
	service := f.follow(Name{Host: "app.test.", SRV: true})
	for i := range 10 {
		f.follow(Name{Host: fmt.Sprintf("%d.test.", i), Port: 80})
	}
	for range most {
		<-heard
	}
	close(open)
	f.clock.running.Wait()
	if got := top.Load(); got != most {
		t.Errorf("%d questions at the same time, want %d", got, most)
	}
	if got := len(<-service.sets); got != 10 {
		t.Errorf("told %d endpoints, want 10", got)
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	zone := func(n int) {
		var records []dnsmessage.Resource
		for i := range n { // too many for UDP
			records = append(records, dnstest.Address("app.test.", fmt.Sprintf("10.0.%d.%d", i/256, i%256), 30))
		}
		f.server.SetZone(records...)
	}
	zone(1005)
	to := f.follow(app)
	f.pass(0)
	first := <-to.sets
	if len(first) != 1000 || first[999].Addr.String() != "10.0.3.231:80" {
		t.Errorf("told %d endpoints, want the first 1000", len(first))
	}
	f.said("level=WARN", "host=app.test.", "addresses=1005", "used=1000")
	zone(1004)
	f.pass(30 * time.Second)
	to.want()
	f.said()
	zone(1000)
	f.pass(30 * time.Second)
	to.want()
	zone(1001)
	f.pass(30 * time.Second)
	to.want()
	f.said("level=WARN", "addresses=1001")
}

func TestCloseEndsLookups(t *testing.T) {
	server := dnstest.NewServer(t)
	asked := make(chan struct{}, 100)
	server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		if q.Name.String() == "app.test." {
			return dnstest.Zone(q, []dnsmessage.Resource{dnstest.Address("app.test.", "192.0.2.1", 30)})
		}
		asked <- struct{}{}
		return dnstest.Reply{Silent: true}
	})
	before := runtime.NumGoroutine()
	resolver := sock.NewResolver(sock.ResolverConfig{Server: server.Addr})
	d := New(Config{Resolver: resolver, MaxQuestions: 3, Log: slog.New(slog.DiscardHandler)})
	entered, back, returned := make(chan struct{}), make(chan struct{}), false
	d.Follow(app, func([]Endpoint) {
		close(entered)
		<-back
		returned = true
	})
	<-entered
	var names []Name
	stops := make(map[Name]func())
	for i := range 6 { // three of them wait their turn
		name := Name{Host: fmt.Sprintf("%d.test.", i), Port: 80, SRV: i%2 == 0}
		names = append(names, name)
		stops[name] = d.Follow(name, func([]Endpoint) { t.Errorf("told of %v", name) })
	}
	for range 3 {
		<-asked
	}
	waited := make(chan error)
	go func() { waited <- d.Wait(t.Context(), names...) }()
	closed := make(chan struct{})
	go func() { d.Close(); close(closed) }()
	if err := <-waited; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait while Close = %v, want net.ErrClosed", err)
	}
	close(back)
	<-closed
	if !returned {
		t.Error("Close has not waited for a call of changed")
	}
	for _, stop := range stops {
		stop()
	}
	d.Follow(app, func([]Endpoint) { t.Error("told after Close") })()
	if err := d.Wait(t.Context(), app); !errors.Is(err, net.ErrClosed) || len(d.Snapshot()) > 0 {
		t.Errorf("after Close: Wait = %v, Snapshot = %v", err, d.Snapshot())
	}
	d.Close()
	resolver.Close()
	allGone(t, before)
}

// allGone waits for what net.Resolver and the server have running: it ends by itself.
func allGone(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(hung); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// Followers come and go by the real clock while answers change; in the end, each that stays knows the
// last one.
func TestChurn(t *testing.T) {
	server := dnstest.NewServer(t)
	var turn atomic.Int64
	server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		addr := fmt.Sprintf("192.0.2.%d", 1+turn.Add(1)%3)
		return dnstest.Reply{Records: dnstest.Fitting(q, []dnsmessage.Resource{
			dnstest.Address(q.Name.String(), addr, 0), dnstest.Service(q.Name.String(), "one.test.", 80, 0, 0, 0)})}
	})
	before := runtime.NumGoroutine()
	resolver := sock.NewResolver(sock.ResolverConfig{Server: server.Addr})
	d := New(Config{Resolver: resolver, Log: slog.New(slog.DiscardHandler)})
	names := []Name{{Host: "0.test.", Port: 1}, {Host: "1.test.", Port: 1}, {Host: "2.test.", SRV: true}}
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for j := range 40 {
				name := names[(i+j)%len(names)]
				var first atomic.Bool
				stop := d.Follow(name, func(set []Endpoint) { first.Store(len(set) == 1) })
				if j%2 == 0 {
					if err := d.Wait(t.Context(), name); err != nil || !first.Load() {
						t.Errorf("Wait(%v) = %v, told: %v", name, err, first.Load())
					}
				}
				stop()
			}
		})
	}
	work.Wait()
	if all := d.Snapshot(); len(all) > 0 {
		t.Errorf("Snapshot = %v, want nothing", all)
	}
	stays := make([]string, len(names)) // guarded by Close
	for i, name := range names {
		d.Follow(name, func(set []Endpoint) { stays[i] = describe(set) })
	}
	if err := d.Wait(t.Context(), names...); err != nil {
		t.Error(err)
	}
	all := d.Snapshot()
	d.Close()
	if len(all) != len(names) || !slices.EqualFunc(all, stays, func(s Status, told string) bool { return describe(s.Endpoints) == told }) {
		t.Errorf("Snapshot = %v, told %q", all, stays)
	}
	resolver.Close()
	allGone(t, before)
}
