package routing

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// named are backends by URLs.
func named(t testing.TB, urls ...string) []BackendConfig {
	t.Helper()
	var backends []BackendConfig
	for _, url := range urls {
		b, err := ParseBackend(url)
		if err != nil {
			t.Fatal(err)
		}
		backends = append(backends, b)
	}
	return backends
}

// answers are endpoints of port 9000 by the last numbers of their addresses.
func answers(numbers ...int) []Endpoint {
	var endpoints []Endpoint
	for _, n := range numbers {
		endpoints = append(endpoints, Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 9000)})
	}
	return endpoints
}

// addrs are the addresses of backends, in their order; of those of answers the numbers alone.
func addrs(backends []*Backend) string {
	var all []string
	for _, b := range backends {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(b.Addr, "10.0.0."), ":9000"))
	}
	return strings.Join(all, " ")
}

var (
	appName = Name{Host: "app.test", Port: 9000}
	srvName = Name{Host: "_ws._tcp.app.test", SRV: true}
)

func TestNamesOfATable(t *testing.T) {
	urls := []string{"http://app.test:9000", "http://10.0.0.7", "http://[::1]:80", "http://localhost:81", "builtin:echo",
		"srv+http://_ws._tcp.App.test", "https://app.test"}
	table := reloaded(t, nil, RouteConfig{Path: "/1", Backends: named(t, urls...)},
		RouteConfig{Path: "/2", Backends: named(t, "ws://app.test:9000", "http://app.test:9001")})
	want := []Name{appName, srvName, {Host: "app.test", Port: 443}, {Host: "app.test", Port: 9001}}
	if got := table.Names(); !slices.Equal(got, want) {
		t.Errorf("Names = %v, want %v", got, want)
	}
	// Before any answer a name is dialled, and nobody knows where an SRV name leads.
	if got, want := addrs(table.Routes()[0].Backends()), "app.test 7:80 [::1]:80 localhost:81 127.0.0.1:1 app.test:443"; got != want {
		t.Errorf("before an answer: %s, want %s", got, want)
	}
	if got := reloaded(t, nil, RouteConfig{Backends: named(t, urls[5])}).Routes()[0]; len(got.Backends()) != 0 || got.Pick(&Ask{}) != nil {
		t.Errorf("an SRV name before its first answer has %s", addrs(got.Backends()))
	}
}

func TestResolve(t *testing.T) {
	table := reloaded(t, nil,
		RouteConfig{Path: "/1", Backends: named(t, "http://app.test:9000", "http://10.0.0.1:9000")},
		RouteConfig{Path: "/2", Backends: named(t, "http://10.0.0.2:9000", "http://app.test:9000")},
		RouteConfig{Path: "/3", Backends: named(t, "http://10.0.0.3:9000")})
	other := table.Routes()[2].candidates.Load()
	for _, tt := range []struct {
		name               string
		answers            []Endpoint
		first, second, all string
	}{
		{"the first", answers(7), "7 1", "2 7", "7 1 2 3"},
		{"more", answers(8, 7), "8 7 1", "2 8 7", "8 7 1 2 3"},
		{"less", answers(8), "8 1", "2 8", "8 1 2 3"},
		{"twice the same", answers(8, 8), "8 1", "2 8", "8 1 2 3"},
		{"one that the file has, too", answers(1, 2), "1 2", "2 1", "1 2 3"},
		{"none", nil, "1", "2", "1 2 3"},
		{"some again", answers(9), "9 1", "2 9", "9 1 2 3"},
	} {
		table.Resolve(appName, tt.answers, time.Now())
		first, second := table.Routes()[0].Backends(), table.Routes()[1].Backends()
		if addrs(first) != tt.first || addrs(second) != tt.second || addrs(table.Backends()) != tt.all {
			t.Errorf("%s: %s; %s; %s in all, want %s; %s; %s", tt.name, addrs(first), addrs(second), addrs(table.Backends()),
				tt.first, tt.second, tt.all)
		}
		if len(tt.answers) > 0 && tt.name != "one that the file has, too" && first[0] != second[1] {
			t.Errorf("%s: the routes do not share the backend", tt.name)
		}
		if b := first[0]; tt.answers != nil && (b.URL != "http://app.test:9000" && b.URL != "http://10.0.0.1:9000") {
			t.Errorf("%s: its URL is %s", tt.name, b.URL)
		}
	}
	table.Resolve(Name{Host: "other.test", Port: 80}, answers(5), time.Now())
	table.Resolve(Name{}, answers(5), time.Now())
	if got := addrs(table.Backends()); got != "9 1 2 3" || len(table.resolved) != 1 {
		t.Errorf("after names that are not the table's: %s and %v, want 9 1 2 3", got, table.resolved)
	}
	if table.Routes()[2].candidates.Load() != other {
		t.Error("a route without the name has been changed")
	}
}

// TestResolveForgets: addresses come and go for as long as the proxy runs.
func TestResolveForgets(t *testing.T) {
	table := reloaded(t, nil, RouteConfig{Backends: named(t, "http://app.test:9000")})
	table.Resolve(appName, answers(1), time.Now())
	linked := table.Backends()[0]
	linked.Acquire()
	for n := range 200 {
		table.Resolve(appName, answers(2+n), time.Now())
	}
	if n := len(table.places); n != 3 { // what there is, what there was before, and the one with a link
		t.Errorf("%d backends are remembered, want 3", n)
	}
	table.Resolve(appName, answers(1), time.Now())
	if got := table.Backends()[0]; got != linked || got.Links() != 1 {
		t.Errorf("one that comes back with a link is another, or has %d links", got.Links())
	}
}

func TestWeightsAndBackupsOfAnswers(t *testing.T) {
	backends := named(t, "srv+http://_ws._tcp.app.test", "http://app.test:9000", "http://10.0.0.9:9000")
	backends[0].Weight, backends[0].MaxLinks = 3, 1
	backends[1].Backup = true
	table := reloaded(t, nil, RouteConfig{Backends: backends})
	r := table.Routes()[0]
	srv := answers(1, 2, 3)
	srv[0].Weight, srv[1].Weight, srv[2].Backup = 2, 65535, true
	table.Resolve(srvName, srv, time.Now())
	table.Resolve(appName, answers(4, 1), time.Now()) // 1 is there already
	if got := addrs(r.Backends()); got != "1 2 3 4 9" {
		t.Fatalf("backends %s, want 1 2 3 4 9", got)
	}
	var weights []int
	for _, b := range r.Backends() {
		weights = append(weights, r.Weight(b))
	}
	if want := []int{6, 3 * 65535, 0, 0, 1}; !slices.Equal(weights, want) {
		t.Errorf("weights %v, want %v", weights, want)
	}
	primary := []*Backend{r.Backends()[0], r.Backends()[1], r.Backends()[4]}
	for range 100 {
		if b := r.Pick(&Ask{}); !slices.Contains(primary, b) {
			t.Fatalf("Pick = %s while others can be used", b.Addr)
		}
	}
	if b := r.Pick(&Ask{Tried: primary}); b == nil || b.Addr != "10.0.0.3:9000" && b.Addr != "10.0.0.4:9000" {
		t.Errorf("Pick = %v, want a backup when the others cannot be used", b)
	}
	// max_links is that of each answer.
	for _, b := range primary[1:] {
		b.SetHealthy(false, time.Now())
	}
	if b, err := r.Acquire(t.Context(), &Ask{}); err != nil || b != primary[0] {
		t.Errorf("Acquire = %v, %v, want the first", b, err)
	}
	if b, err := r.Acquire(t.Context(), &Ask{}); err != nil || b == primary[0] {
		t.Errorf("Acquire = %v, %v, want a backup, as the first is full", b, err)
	}
}

// TestHostOfAnswers: the name is what a Host header says, even where another name leads to the same server.
func TestHostOfAnswers(t *testing.T) {
	backends := named(t, "http://a.test", "http://b.test:81", "https://c.test", "https://d.test", "srv+http://_ws._tcp.e.test", "http://10.0.0.1")
	names := []Name{{"a.test", 80, false}, {"b.test", 81, false}, {"c.test", 443, false}, {"d.test", 443, false}, {"_ws._tcp.e.test", 0, true}}
	for _, tt := range []struct {
		name string
		host HostHeader
		want string
	}{
		{"backend", HostHeader{Backend: true}, "a.test b.test:81 c.test d.test e.test 10.0.0.1"},
		{"keep", HostHeader{}, "10.0.0.1 c.test d.test"}, // the same address is the same server
		{"a host", HostHeader{Literal: "x"}, "10.0.0.1 c.test d.test"},
	} {
		table := reloaded(t, nil, RouteConfig{HostHeader: tt.host, Backends: backends, Sticky: &StickyConfig{}})
		one := []Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80")}}
		for _, n := range names {
			table.Resolve(n, one, time.Now())
		}
		r := table.Routes()[0]
		var hosts []string
		identities := make(map[string]bool)
		for _, b := range r.Backends() {
			hosts = append(hosts, b.Host)
			identities[b.identity] = true
			if got := r.Sticky.Backend([]byte(cookieFor(r.Sticky, b))); got != b {
				t.Errorf("%s: the cookie of %s leads to another", tt.name, b.URL)
			}
		}
		if got := strings.Join(hosts, " "); got != tt.want || len(identities) != len(hosts) {
			t.Errorf("%s: Host %s with %d identities, want %s", tt.name, got, len(identities), tt.want)
		}
	}
}

func TestSlowStartOfAnswers(t *testing.T) {
	rc := RouteConfig{SlowStart: time.Hour, Backends: named(t, "http://app.test:9000", "http://10.0.0.1:9000")}
	slow := func(table *Table) string {
		var all []*Backend
		for _, b := range table.Backends() {
			if b.warmth(sinceEpoch(time.Now()), rc.SlowStart) < fullWeight/2 {
				all = append(all, b)
			}
		}
		return addrs(all)
	}
	table := reloaded(t, nil, rc)
	for _, tt := range []struct {
		answers []Endpoint
		want    string
	}{
		{answers(2), ""}, // the first answer is of servers that have been there
		{answers(2, 3), "3"},
		{answers(1, 2, 3), "3"}, // 1 is there by its address
		{answers(3), "3"},
		{answers(2, 3), "2 3"}, // back again
	} {
		table.Resolve(appName, tt.answers, time.Now())
		if got := slow(table); got != tt.want {
			t.Errorf("after %v: %q start slowly, want %q", tt.answers, got, tt.want)
		}
	}
	// The servers of a name that a reload adds are newcomers, those of one that had no answer yet are not.
	rc.Backends = append(rc.Backends, named(t, "srv+http://_ws._tcp.app.test")...)
	next := reloaded(t, table, rc)
	next.Resolve(srvName, answers(4), time.Now())
	if got := slow(next); got != "2 3 4" {
		t.Errorf("after a reload that adds a name: %q start slowly, want 2 3 4", got)
	}
	first := reloaded(t, nil, rc)
	second := reloaded(t, first, rc)
	second.Resolve(srvName, answers(4), time.Now())
	if got := slow(second); got != "" {
		t.Errorf("after a reload that adds none: %q start slowly, want none", got)
	}
}

func TestReloadKeepsAnswers(t *testing.T) {
	rc := RouteConfig{Backends: named(t, "http://app.test:9000", "srv+http://_ws._tcp.app.test")}
	first := reloaded(t, nil, rc)
	first.Resolve(appName, answers(1, 2), time.Now())
	first.Resolve(srvName, answers(3), time.Now())
	before := first.Backends()
	before[1].Acquire()
	before[2].SetHealthy(false, time.Now())

	second := reloaded(t, first, rc, RouteConfig{Path: "/other", Backends: rc.Backends[:1]})
	if got := second.Backends(); !slices.Equal(got, before) || !slices.Equal(second.Routes()[1].Backends(), before[:2]) {
		t.Errorf("Backends = %s, want those there were, %s", addrs(got), addrs(before))
	}
	if before[1].Links() != 1 || before[2].Healthy() {
		t.Error("links or health got lost")
	}
	// Neither table changes the other.
	second.Resolve(appName, answers(5), time.Now())
	if got := addrs(first.Backends()); got != "1 2 3" {
		t.Errorf("the table before has %s, want 1 2 3", got)
	}

	third := reloaded(t, second, RouteConfig{Backends: rc.Backends[1:]})
	if got := addrs(third.Backends()); got != "3" || len(third.Names()) != 1 || len(third.resolved) != 1 {
		t.Errorf("without the name: %s, with %v resolved; want 3", got, third.resolved)
	}
	fourth := reloaded(t, third, rc)
	if got := addrs(fourth.Backends()); got != "app.test 3" {
		t.Errorf("a name that is back has %s, want app.test 3: it is to be asked for again", got)
	}
	fourth.Resolve(appName, answers(1, 2), time.Now())
	if got := fourth.Backends(); got[1] != before[1] || got[1].Links() != 1 {
		t.Errorf("the one with a link is another: %s with %d links", got[1].Addr, got[1].Links())
	}
}
