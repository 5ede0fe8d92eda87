package sock

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

// testResolver asks server, and goes by a clock that only ahead moves.
type testResolver struct {
	*Resolver
	t     *testing.T
	moved atomic.Int64
}

func newTestResolver(t *testing.T, server *dnstest.Server, cfg ResolverConfig) *testResolver {
	cfg.Server = server.Addr
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &testResolver{Resolver: NewResolver(cfg), t: t}
	began := time.Now()
	r.now = func() time.Time { return began.Add(time.Duration(r.moved.Load())) }
	t.Cleanup(r.Close)
	return r
}

func (r *testResolver) ahead(d time.Duration) { r.moved.Add(int64(d)) }

// want asks for a host, waits for the lookups that this has started, and checks the answer.
func (r *testResolver) want(host string, want ...string) {
	r.t.Helper()
	addrs, err := r.Lookup(host, 0)
	r.lookups.Wait()
	got := make([]string, len(addrs))
	for i, a := range addrs {
		got[i] = a.String()
	}
	if err != nil || !slices.Equal(got, want) {
		r.t.Errorf("Lookup(%q) = %v, %v, want %v", host, got, err, want)
	}
}

// due is how long the answer for a host is still good.
func (r *testResolver) due(host string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[host].due.Sub(r.now())
}

// asks checks whether f makes the server hear a question.
func (r *testResolver) asks(server *dnstest.Server, want bool, f func()) {
	r.t.Helper()
	before := server.Questions.Load()
	f()
	if got := server.Questions.Load() - before; got > 0 != want {
		r.t.Errorf("%d questions reached the server, want any: %v", got, want)
	}
}

func TestLiteralNeedsNoServer(t *testing.T) {
	server := dnstest.NewServer(t)
	r := newTestResolver(t, server, ResolverConfig{})
	tests := []struct{ address, want string }{
		{"192.0.2.1:80", "192.0.2.1:80"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[fe80::1%lo]:1", "[fe80::1%lo]:1"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
	}
	r.asks(server, false, func() {
		for _, tt := range tests {
			var got []netip.AddrPort
			var err error
			var room [4]netip.AddrPort
			allocs := testing.AllocsPerRun(10, func() { got, err = r.AppendAddrPorts(room[:0], tt.address, 0) })
			if err != nil || len(got) != 1 || got[0].String() != tt.want || allocs != 0 {
				t.Errorf("AppendAddrPorts(%q) = %v, %v in %v allocations, want %v in none", tt.address, got, err, allocs, tt.want)
			}
			host, _, _ := net.SplitHostPort(tt.address)
			if addrs, err := r.Lookup(host, 0); err != nil || len(addrs) != 1 || addrs[0] != got[0].Addr() {
				t.Errorf("Lookup(%q) = %v, %v", host, addrs, err)
			}
		}
	})
}

func TestKnownNameCostsNoAllocation(t *testing.T) {
	server := dnstest.NewServer(t)
	server.SetRecords(dnstest.Address("db.test.", "192.0.2.1", 60), dnstest.Address("db.test.", "192.0.2.2", 60))
	r := newTestResolver(t, server, ResolverConfig{})
	r.want("db.test.", "192.0.2.1", "192.0.2.2")
	var room [4]netip.AddrPort
	var got []netip.AddrPort
	allocs := testing.AllocsPerRun(10, func() { got, _ = r.AppendAddrPorts(room[:0], "db.test.:9000", 0) })
	if fmt.Sprint(got) != "[192.0.2.1:9000 192.0.2.2:9000]" || allocs != 0 {
		t.Errorf("AppendAddrPorts = %v in %v allocations", got, allocs)
	}
}

func TestAnswerIsKeptForItsTime(t *testing.T) {
	byTCP := func(q dnsmessage.Question, network string) dnstest.Reply {
		if network == "udp" {
			return dnstest.Reply{Cut: true, Records: dnstest.Fitting(q, []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.9", 1)})}
		}
		return dnstest.Reply{Records: dnstest.Fitting(q, []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.1", 40)})}
	}
	tests := []struct {
		name    string
		records []dnsmessage.Resource
		answer  func(dnsmessage.Question, string) dnstest.Reply
		want    time.Duration
	}{
		{"one address", []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.1", 30)}, nil, 30 * time.Second},
		{"the smaller of two", []dnsmessage.Resource{
			dnstest.Address("db.test.", "192.0.2.1", 30), dnstest.Address("db.test.", "192.0.2.1", 20)}, nil, 20 * time.Second},
		{"an alias", []dnsmessage.Resource{
			dnstest.Alias("db.test.", "a.test.", 10), dnstest.Address("a.test.", "192.0.2.1", 30)}, nil, 10 * time.Second},
		{"other records do not count", []dnsmessage.Resource{
			dnstest.Text("db.test.", 5), dnstest.Address("db.test.", "192.0.2.1", 30)}, nil, 30 * time.Second},
		{"zero", []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.1", 0)}, nil, time.Second},
		{"a day", []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.1", 86400)}, nil, time.Hour},
		{"no time at all", []dnsmessage.Resource{dnstest.Address("db.test.", "192.0.2.1", 1<<31)}, nil, time.Second},
		{"cut off by UDP, whole by TCP", nil, byTCP, 40 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := dnstest.NewServer(t)
			server.SetRecords(tt.records...)
			if tt.answer != nil {
				server.Set(tt.answer)
			}
			r := newTestResolver(t, server, ResolverConfig{})
			addrs, err := r.Lookup("db.test.", 0)
			if err != nil || addrs[0].String() != "192.0.2.1" {
				t.Fatalf("Lookup = %v, %v", addrs, err)
			}
			server.SetRecords(dnstest.Address("db.test.", "192.0.2.2", 60))
			r.ahead(tt.want - time.Nanosecond)
			old := addrs[0].String()
			r.asks(server, false, func() { r.Lookup("db.test.", 0); r.lookups.Wait() })
			r.ahead(time.Nanosecond)
			r.asks(server, true, func() {
				if addrs, err := r.Lookup("db.test.", 0); err != nil || addrs[0].String() != old {
					t.Errorf("Lookup of a stale name = %v, %v, want %v at once", addrs, err, old)
				}
				r.lookups.Wait()
			})
			r.want("db.test.", "192.0.2.2")
		})
	}
}

func TestBothFamiliesCount(t *testing.T) {
	server := dnstest.NewServer(t)
	server.SetRecords(dnstest.Address("db.test.", "192.0.2.1", 30), dnstest.Address("db.test.", "2001:db8::1", 7))
	r := newTestResolver(t, server, ResolverConfig{})
	addrs, err := r.Lookup("db.test.", 0)
	if err != nil || len(addrs) != 2 || addrs[0].Is4() == addrs[1].Is4() || addrs[0].Is4In6() || addrs[1].Is4In6() {
		t.Errorf("Lookup = %v, %v, want one address of each family", addrs, err)
	}
	r.ahead(7*time.Second - 1)
	r.asks(server, false, func() { r.Lookup("db.test.", 0); r.lookups.Wait() })
	r.ahead(1)
	r.asks(server, true, func() { r.Lookup("db.test.", 0); r.lookups.Wait() })
}

func TestHostsFileIsReadAgainSoon(t *testing.T) {
	server := dnstest.NewServer(t)
	r := newTestResolver(t, server, ResolverConfig{})
	addrs, err := r.Lookup("localhost", 0)
	if err != nil || server.Questions.Load() > 0 {
		t.Skip("localhost is not in this system's hosts file")
	}
	for _, addr := range addrs {
		if !addr.IsLoopback() || addr.Is4In6() {
			t.Errorf("Lookup = %v, want IPv4 addresses as such", addrs)
		}
	}
	if got := r.due("localhost"); got != hostsTTL {
		t.Errorf("kept for %v, want %v", got, hostsTTL)
	}
}

// held makes the server answer when release is called, and asked receives its questions.
func held(t *testing.T, server *dnstest.Server, records ...dnsmessage.Resource) (asked <-chan string, release func()) {
	heard, open := make(chan string, 64), make(chan struct{})
	server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		heard <- q.Name.String()
		<-open
		return dnstest.Reply{Records: dnstest.Fitting(q, records)}
	})
	release = sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	return heard, release
}

func TestCallersShareOneLookup(t *testing.T) {
	server := dnstest.NewServer(t)
	asked, release := held(t, server, dnstest.Address("db.test.", "192.0.2.1", 30))
	r := newTestResolver(t, server, ResolverConfig{})
	ask := func(callers *sync.WaitGroup, want string) {
		for range 20 {
			callers.Go(func() {
				if addrs, err := r.Lookup("db.test.", 0); err != nil || addrs[0].String() != want {
					t.Errorf("Lookup = %v, %v, want %v", addrs, err, want)
				}
			})
		}
	}
	var callers sync.WaitGroup
	ask(&callers, "192.0.2.1")
	<-asked
	release()
	callers.Wait()
	if got := server.Questions.Load(); got != 2 {
		t.Errorf("%d questions for a new name, want 2: A and AAAA", got)
	}

	_, release = held(t, server, dnstest.Address("db.test.", "192.0.2.2", 30))
	r.ahead(time.Minute)
	ask(&callers, "192.0.2.1")
	callers.Wait() // all have the old answer while the server holds the next
	release()
	r.lookups.Wait()
	if got := server.Questions.Load(); got != 4 {
		t.Errorf("%d questions after a refresh, want 4", got)
	}
	r.want("db.test.", "192.0.2.2")
}

func TestCallerWaitsNoLongerThanItsTimeout(t *testing.T) {
	server := dnstest.NewServer(t)
	_, release := held(t, server, dnstest.Address("db.test.", "192.0.2.1", 30))
	r := newTestResolver(t, server, ResolverConfig{})
	_, err := r.Lookup("db.test.", time.Millisecond)
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("Lookup = %v, want a timeout", err)
	}
	release()
	r.want("db.test.", "192.0.2.1")
	if got := server.Questions.Load(); got != 2 {
		t.Errorf("%d questions, want the 2 of the first caller's lookup", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	server := dnstest.NewServer(t)
	server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		return dnstest.Reply{Records: dnstest.Fitting(q, []dnsmessage.Resource{dnstest.Address(q.Name.String(), "192.0.2.1", 30)})}
	})
	r := newTestResolver(t, server, ResolverConfig{MaxNames: 3})
	for _, host := range []string{"a.test.", "b.test.", "c.test.", "a.test.", "d.test."} {
		r.want(host, "192.0.2.1")
		r.ahead(time.Second)
	}
	r.asks(server, false, func() { r.want("a.test.", "192.0.2.1") })
	r.asks(server, true, func() { r.want("b.test.", "192.0.2.1") })
	if got := len(r.names); got != 3 {
		t.Errorf("%d names, want 3", got)
	}

	r.ahead(forgetAfter)
	r.want("e.test.", "192.0.2.1")
	if got := len(r.names); got != 1 {
		t.Errorf("%d names, want e.test. alone: nobody has asked for the others", got)
	}

	// A name that was forgotten is a new one: its old addresses are of no use.
	r.ahead(forgetAfter)
	server.Set(func(dnsmessage.Question, string) dnstest.Reply { return dnstest.Reply{Code: dnsmessage.RCodeNameError} })
	if addrs, err := r.Lookup("e.test.", 0); err == nil {
		t.Errorf("Lookup of a forgotten name = %v, want not found", addrs)
	}
}

func TestLookupsAreBounded(t *testing.T) {
	server := dnstest.NewServer(t)
	asked, release := held(t, server, dnstest.Address("a.test.", "192.0.2.1", 30))
	r := newTestResolver(t, server, ResolverConfig{MaxNames: 1})
	var first sync.WaitGroup
	first.Go(func() { r.Lookup("a.test.", 0) })
	<-asked
	addrs, err := r.Lookup("b.test.", time.Second)
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsTemporary || dns.IsTimeout {
		t.Errorf("Lookup beyond the table = %v, %v, want an error at once", addrs, err)
	}
	release()
	first.Wait()
	r.want("a.test.", "192.0.2.1")
}

func TestCloseEndsLookups(t *testing.T) {
	server := dnstest.NewServer(t)
	asked := make(chan struct{}, 8)
	server.Set(func(dnsmessage.Question, string) dnstest.Reply {
		asked <- struct{}{}
		return dnstest.Reply{Silent: true}
	})
	before := runtime.NumGoroutine()
	r := newTestResolver(t, server, ResolverConfig{})
	r.names["known.test."] = &name{addrs: []netip.Addr{netip.IPv6Loopback()}, due: r.now().Add(time.Hour), asked: r.now()}
	failed := make(chan error)
	go func() {
		_, err := r.Lookup("db.test.", 0)
		failed <- err
	}()
	<-asked
	<-asked
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Lookup while Close = %v, want net.ErrClosed", err)
	}
	<-closed
	for _, host := range []string{"db.test.", "known.test.", "new.test."} {
		if _, err := r.Lookup(host, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Lookup(%q) after Close = %v, want net.ErrClosed", host, err)
		}
	}
	if addrs, err := r.Lookup("192.0.2.1", 0); err != nil {
		t.Errorf("Lookup of a literal address after Close = %v, %v", addrs, err)
	}
	// What net.Resolver has running ends by itself when its connections are closed.
	deadline := time.Now().Add(4 * time.Second) // below the five that it would wait for an answer
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}
