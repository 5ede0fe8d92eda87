package routing

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var echo = map[string]string{"echo": "127.0.0.1:1"}

// newTable makes a table of routes written host + path.
func newTable(t testing.TB, routes ...string) *Table {
	t.Helper()
	cfg := &Config{}
	for _, route := range routes {
		host, path, _ := strings.Cut(route, "/")
		cfg.Routes = append(cfg.Routes, RouteConfig{Host: host, Path: "/" + path,
			Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}})
	}
	table, err := NewTable(cfg, echo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func nameOf(r *Route) string {
	if r == nil {
		return "none"
	}
	return r.Name
}

func TestMatch(t *testing.T) {
	table := newTable(t,
		"chat.example.com/ws/*", "chat.example.com/ws/room", "chat.example.com/ws/room/*", "chat.example.com/",
		"*.example.com/ws/*", "*.example.com/wild", "*.eu.example.com/ws/*",
		"*/ws/*", "*/any/*", "*/exact", "*/api//v1/*",
		"::1/*", "10.0.0.1/*", "only.example.org/only")
	for _, tt := range []struct{ name, host, path, want string }{
		{"exact host", "chat.example.com", "/ws/x", "chat.example.com/ws/*"},
		{"port", "chat.example.com:8443", "/ws/x", "chat.example.com/ws/*"},
		{"empty port", "chat.example.com:", "/ws/x", "chat.example.com/ws/*"},
		{"upper case", "CHAT.Example.COM", "/ws/x", "chat.example.com/ws/*"},
		{"trailing dot", "chat.example.com.:80", "/ws/x", "chat.example.com/ws/*"},
		{"two trailing dots", "chat.example.com..", "/ws/x", "*/ws/*"},
		{"port of letters", "chat.example.com:x", "/ws/x", "*/ws/*"},
		{"two colons", "chat.example.com:80:80", "/ws/x", "*/ws/*"},
		{"user", "me@chat.example.com", "/ws/x", "*.example.com/ws/*"},
		{"no host", "", "/ws/x", "*/ws/*"},
		{"a dot", ".", "/ws/x", "*/ws/*"},
		{"overlong host", strings.Repeat("a", 250) + ".example.com", "/ws/x", "*/ws/*"},

		{"IPv6", "[::1]:8080", "/", "::1/*"},
		{"IPv6, no port", "[::1]", "/", "::1/*"},
		{"IPv6, bad port", "[::1]:x", "/", "none"},
		{"IPv6, not closed", "[::1", "/", "none"},
		{"IPv6 without brackets", "::1", "/", "none"},
		{"name in brackets", "[10.0.0.1]", "/", "none"},
		{"IPv4", "10.0.0.1:80", "/", "10.0.0.1/*"},

		{"wildcard, one label", "a.example.com", "/ws/x", "*.example.com/ws/*"},
		{"wildcard, two labels", "a.b.example.com", "/ws/x", "*.example.com/ws/*"},
		{"wildcard, no label", "example.com", "/ws/x", "*/ws/*"},
		{"wildcard, empty label", ".example.com", "/ws/x", "*/ws/*"},
		{"wildcard, other name", "badexample.com", "/ws/x", "*/ws/*"},
		{"longest wildcard", "a.eu.example.com", "/ws/x", "*.eu.example.com/ws/*"},

		{"exact path before prefix", "chat.example.com", "/ws/room", "chat.example.com/ws/room"},
		{"longest prefix", "chat.example.com", "/ws/room/1", "chat.example.com/ws/room/*"},
		{"not below the longer prefix", "chat.example.com", "/ws/rooms", "chat.example.com/ws/*"},
		{"prefix matches its name", "chat.example.com", "/ws", "chat.example.com/ws/*"},
		{"prefix matches with slash", "chat.example.com", "/ws/", "chat.example.com/ws/*"},
		{"prefix is whole segments", "chat.example.com", "/wsx", "none"},
		{"root alone", "chat.example.com", "/", "chat.example.com/"},
		{"case of the path counts", "chat.example.com", "/WS/x", "none"},
		{"nothing is decoded", "chat.example.com", "/%77s/x", "none"},
		{"slashes are not joined", "chat.example.com", "//ws/x", "none"},
		{"slashes within a prefix", "chat.example.com", "/ws//x", "chat.example.com/ws/*"},
		{"slashes in a route", "x", "/api//v1/y", "*/api//v1/*"},
		{"one slash for two", "x", "/api/v1/y", "none"},

		{"to the wildcard for a path", "chat.example.com", "/wild", "*.example.com/wild"},
		{"past two wildcards for a path", "a.eu.example.com", "/any/x", "*/any/*"},
		{"to a shorter wildcard for a path", "a.eu.example.com", "/wild", "*.example.com/wild"},
		{"to any host for a path", "chat.example.com", "/exact", "*/exact"},
		{"nobody has the path", "only.example.org", "/other", "none"},

		{"empty path", "chat.example.com", "", "none"},
		{"asterisk form", "chat.example.com", "*", "none"},
		{"absolute form", "chat.example.com", "http://chat.example.com/ws/x", "none"},
	} {
		if got := nameOf(table.Match([]byte(tt.host), []byte(tt.path))); got != tt.want {
			t.Errorf("%s: Match(%q, %q) = %s, want %s", tt.name, tt.host, tt.path, got, tt.want)
		}
	}
}

func TestMatchRefusesDotSegments(t *testing.T) {
	table := newTable(t, "*/*")
	for _, tt := range []struct {
		path string
		want bool
	}{
		{"/ws/../admin", false},
		{"/ws/./x", false},
		{"/..", false},
		{"/.", false},
		{"/ws/..", false},
		{"/ws/%2e%2e/admin", false},
		{"/ws/%2E./admin", false},
		{"/ws/.%2e", false},
		{"/ws/..%2fadmin", false},
		{"/ws%2F..%2Fadmin", false},
		{`/ws/..\admin`, false},
		{`/ws\..\admin`, false},
		{"/ws/..%5cadmin", false},
		{"/ws/..;/admin", false},
		{"/ws/..;a=b/admin", false},
		{"/ws/%2e%2e%3b/admin", false},
		{"/ws//../admin", false},
		{"/.well-known/x", true},
		{"/...", true},
		{"/a..b/..c/d..", true},
		{"/a;b..", true},
		{"/a;../b", true},
		{"/%2e%2e%2e", true},
		{"/%", true},
		{"/%2", true},
		{"/.%", true},
		{"/%zz", true},
		{"/a.", true},
		{"/\x80\xff", true},
	} {
		if got := table.Match([]byte("x"), []byte(tt.path)) != nil; got != tt.want {
			t.Errorf("Match(%q) matches: %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestNewTableFillsDefaults(t *testing.T) {
	cfg := &Config{Routes: []RouteConfig{{Backends: []BackendConfig{{URL: "http://a", Addr: "a:80"}}, DialTimeout: time.Hour}}}
	table, err := NewTable(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := table.Match(nil, []byte("/x"))
	if r == nil || r.Name != "*/*" || r.DialTimeout != time.Hour || r.HandshakeTimeout != 10*time.Second || r.ResponseTimeout != time.Minute ||
		r.ReadTimeout != 5*time.Minute || r.Pool != (Pool{MaxIdle: 128, IdleTimeout: 4 * time.Second}) {
		t.Errorf("Match = %+v, want */* with the default timeouts and pool", r)
	}
	if cfg.Routes[0].Path != "" || cfg.Routes[0].HandshakeTimeout != 0 {
		t.Errorf("NewTable changed its config: %+v", cfg.Routes[0])
	}
}

func TestNewTableRefuses(t *testing.T) {
	backends := []BackendConfig{{URL: "http://a", Addr: "a:80"}}
	for _, tt := range []struct {
		name   string
		routes []RouteConfig
		want   string
	}{
		{"no backends", []RouteConfig{{}}, "routes[0]: no backends"},
		{"a builtin that is not there", []RouteConfig{{Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}}},
			`routes[0]: backends[0]: "builtin:echo" has no address`},
		{"the same twice", []RouteConfig{{Host: "A.", Backends: backends}, {Host: "a", Path: "/*", Backends: backends}},
			"routes[1]: a/* is there already"},
		{"a bad host", []RouteConfig{{Host: "a b", Backends: backends}},
			`routes[0]: host: "a b" is not a host name; letters, digits, - and _ between dots are allowed`},
		{"a bad path", []RouteConfig{{Path: "a", Backends: backends}},
			`routes[0]: path: "a" does not begin with /; write a path like /chat, or a prefix like /ws/*`},
		{"a negative timeout", []RouteConfig{{ResponseTimeout: -1, Backends: backends}}, "routes[0]: a timeout is negative"},
		{"a negative timeout of the pool", []RouteConfig{{Pool: Pool{IdleTimeout: -1}, Backends: backends}}, "routes[0]: a timeout is negative"},
		{"a PROXY protocol there is not", []RouteConfig{{ProxyProtocol: 3, Backends: backends}},
			"routes[0]: there is no version 3 of the PROXY protocol"},
		{"a PROXY protocol header for a builtin", []RouteConfig{{ProxyProtocol: 2,
			Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}}}, `routes[0]: backends[0]: "builtin:echo" reads no PROXY protocol header`},
		{"nothing to strip", []RouteConfig{{Prefix: PathPrefix{Strip: true}, Backends: backends}},
			`routes[0]: path_prefix: there is nothing to strip from "/*"; write a path to put before every path, e.g. /v2, or leave path_prefix out`},
		{"a replacement that is no path", []RouteConfig{{Path: "/a", Prefix: PathPrefix{Replace: "b"}, Backends: backends}},
			`routes[0]: path_prefix: "b" does not begin with /; write a path like /chat, or a prefix like /ws/*`},
		{"a negative slow start", []RouteConfig{{SlowStart: -1, Backends: backends}}, "routes[0]: a timeout is negative"},
		{"a negative queue", []RouteConfig{{Queue: Queue{Size: -1}, Backends: backends}}, "routes[0]: a limit is negative"},
		{"a balance there is not", []RouteConfig{{Balance: 4, Backends: backends}}, "routes[0]: there is no balance 4"},
		{"nothing to hash", []RouteConfig{{Balance: Hash, Backends: backends}}, "routes[0]: hash: exactly one thing is to be hashed"},
		{"two things to hash", []RouteConfig{{Balance: Hash, HashKey: HashKey{Path: true, Query: "a"}, Backends: backends}},
			"routes[0]: hash: exactly one thing is to be hashed"},
		{"a weight too large", []RouteConfig{{Backends: []BackendConfig{{URL: "http://a", Addr: "a:80", Weight: 1001}}}},
			"routes[0]: backends[0]: weight is not from 1 to 1000"},
		{"a short key", []RouteConfig{{Sticky: &StickyConfig{Key: "hunter2"}, Backends: backends}},
			"routes[0]: sticky: a key of less than 16 bytes"},
		{"no cookie", []RouteConfig{{Sticky: &StickyConfig{Cookie: "a; b"}, Backends: backends}}, "routes[0]: sticky: that is no cookie"},
		{"an insecure cookie", []RouteConfig{{Sticky: &StickyConfig{Secure: "off", SameSite: "none"}, Backends: backends}},
			"routes[0]: sticky: secure is off, but same_site is none, which browsers take of a secure cookie only"},
		{"strip and a replacement", []RouteConfig{{Path: "/a/*", Prefix: PathPrefix{Strip: true, Replace: "/b"}, Backends: backends}},
			"routes[0]: path_prefix: both strip and a replacement"},
	} {
		if _, err := NewTable(&Config{Routes: tt.routes}, nil, nil); err == nil || err.Error() != tt.want {
			t.Errorf("%s: NewTable = %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestRoutesShareABackend(t *testing.T) {
	table, err := NewTable(&Config{Routes: []RouteConfig{
		{Host: "a", Backends: []BackendConfig{{URL: "http://x", Addr: "x:80"}, {URL: "http://y:81", Addr: "y:81"}}},
		{Host: "b", Backends: []BackendConfig{{URL: "ws://x:80", Addr: "x:80"}}},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	routes, backends := table.Routes(), table.Backends()
	if len(routes) != 2 || routes[0].Name != "a/*" || routes[1].Name != "b/*" {
		t.Errorf("Routes = %v, want a/*, b/*", routes)
	}
	if len(backends) != 2 || backends[0].URL != "http://x" || backends[1].URL != "http://y:81" || routes[1].Backends()[0] != backends[0] {
		t.Errorf("Backends = %v, want x shared by both routes, and y", backends)
	}
}

// tenThousand is a table of 10,000 routes: 900 hosts with ten paths each, 100 wildcards, 900 paths
// for any host.
func tenThousand(t testing.TB) *Table {
	var routes []string
	for i := range 900 {
		for j := range 10 {
			routes = append(routes, fmt.Sprintf("host-%d.example.com/path/%d/*", i, j))
		}
		routes = append(routes, fmt.Sprintf("*/any/%d/*", i))
	}
	for i := range 100 {
		routes = append(routes, fmt.Sprintf("*.zone-%d.example.com/ws/*", i))
	}
	return newTable(t, routes...)
}

var matched = []struct{ name, host, path, want string }{
	{"exact", "Host-777.example.com:8443", "/path/7/room/123", "host-777.example.com/path/7/*"},
	{"wildcard", "a.b.c.zone-77.example.com", "/ws/room/123", "*.zone-77.example.com/ws/*"},
	{"any", "host-777.example.com:8443", "/any/777/room/123", "*/any/777/*"},
	{"none", "host-777.example.com", "/other/path", "none"},
}

func TestMatchAllocatesNothing(t *testing.T) {
	table := tenThousand(t)
	if n := len(table.Routes()); n != 10_000 {
		t.Fatalf("%d routes, want 10000", n)
	}
	for _, tt := range matched {
		host, path := []byte(tt.host), []byte(tt.path)
		if got := nameOf(table.Match(host, path)); got != tt.want {
			t.Errorf("%s: Match(%q, %q) = %s, want %s", tt.name, host, path, got, tt.want)
		}
		if n := testing.AllocsPerRun(100, func() { table.Match(host, path) }); n != 0 {
			t.Errorf("%s: Match allocates %v times, want 0", tt.name, n)
		}
	}
}

// BenchmarkMatch is one request's look-up among 10,000 routes, everything in the cache.
func BenchmarkMatch(b *testing.B) {
	table := tenThousand(b)
	for _, tt := range matched {
		host, path := []byte(tt.host), []byte(tt.path)
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match(host, path)
			}
		})
	}
}
