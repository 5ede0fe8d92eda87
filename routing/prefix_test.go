package routing

import (
	"strings"
	"testing"
)

// prefixRoute is a route with a path and what becomes of its prefix, as the file writes it.
func prefixRoute(t testing.TB, path, prefix string) *Route {
	t.Helper()
	p, err := parsePathPrefix(prefix)
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable(&Config{Routes: []RouteConfig{{Path: path, Prefix: p,
		Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}}}}, echo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table.Routes()[0]
}

func TestRewrite(t *testing.T) {
	for _, tt := range []struct{ name, path, prefix, target, want string }{
		{"keep", "/ws/*", "keep", "/ws/a?x", "/ws/a?x"},
		{"keep every path", "/*", "keep", "//a", "//a"},
		{"keep one path", "/chat", "keep", "/chat?x", "/chat?x"},

		{"strip", "/ws/*", "strip", "/ws/a", "/a"},
		{"strip, nothing below", "/ws/*", "strip", "/ws", "/"},
		{"strip, a slash below", "/ws/*", "strip", "/ws/", "/"},
		{"strip, query", "/ws/*", "strip", "/ws?x=/ws//", "/?x=/ws//"},
		{"strip, empty query", "/ws/*", "strip", "/ws?", "/?"},
		{"strip, path and query", "/ws/*", "strip", "/ws/a//b/?/ws", "/a//b/?/ws"},
		{"strip once", "/ws/*", "strip", "/ws/ws/a", "/ws/a"},
		{"strip two segments", "/a/b/*", "strip", "/a/b/c", "/c"},
		{"no host of the first segment", "/ws/*", "strip", "/ws//evil.example/", "/evil.example/"},
		{"many slashes", "/ws/*", "strip", "/ws////?x", "/?x"},
		{"backslashes", "/ws/*", "strip", `/ws/\evil.example`, "/evil.example"},
		{"slashes and backslashes", "/ws/*", "strip", `/ws/\/\/evil\/`, `/evil\/`},
		{"encoded slashes are no slashes", "/ws/*", "strip", "/ws/%2fevil", "/%2fevil"},

		{"replace", "/ws/*", "/v2", "/ws/a", "/v2/a"},
		{"replace, nothing below", "/ws/*", "/v2", "/ws", "/v2"},
		{"replace, a slash below", "/ws/*", "/v2", "/ws/", "/v2/"},
		{"replace, query", "/ws/*", "/v2", "/ws?x", "/v2?x"},
		{"replace, slashes stay", "/ws/*", "/v2", "/ws//a", "/v2//a"},
		{"replace, slash at the end", "/ws/*", "/v2/", "/ws/a", "/v2/a"},
		{"replace, slash at the end, nothing below", "/ws/*", "/v2/", "/ws", "/v2"},
		{"replace by a slash", "/ws/*", "/", "/ws//a", "/a"},
		{"put before", "/*", "/v2", "/a?x", "/v2/a?x"},
		{"put before the root", "/*", "/v2/", "/", "/v2/"},
		{"put before slashes", "/*", "/v2", "//a", "/v2//a"},

		{"another path", "/chat", "/other", "/chat", "/other"},
		{"another path, query", "/chat", "/other", "/chat?x", "/other?x"},
		{"another path, slash at the end", "/chat", "/other/", "/chat?x", "/other/?x"},
		{"the root instead", "/chat", "/", "/chat?x", "/?x"},
		{"instead of the root", "/", "/other", "/?x", "/other?x"},

		{"not the route's", "/ws/*", "strip", "/other/a", "/other/a"},
		{"not the route's, shorter", "/ws/*", "strip", "/", "/"},
	} {
		r := prefixRoute(t, tt.path, tt.prefix)
		if got := string(r.Rewrite([]byte("GET "), []byte(tt.target))); got != "GET "+tt.want {
			t.Errorf("%s: %s with %s makes %q of %q, want %q", tt.name, tt.path, tt.prefix, got, tt.target, "GET "+tt.want)
		}
	}
}

func TestStripsPrefix(t *testing.T) {
	for _, tt := range []struct{ path, prefix, want string }{
		{"/ws/*", "keep", ""},
		{"/ws/*", "strip", "/ws"},
		{"/ws/*", "/", "/ws"},
		{"/a/b/*", "/v2", "/a/b"},
		{"/*", "/v2", ""},
		{"/chat", "/other", ""},
	} {
		if got := prefixRoute(t, tt.path, tt.prefix).StripsPrefix(); got != tt.want {
			t.Errorf("%s with %s strips %q, want %q", tt.path, tt.prefix, got, tt.want)
		}
	}
}

func TestRewriteAllocatesNothing(t *testing.T) {
	dst, target := make([]byte, 0, 64), []byte("/ws//a/b?c")
	for _, prefix := range []string{"keep", "strip", "/v2"} {
		r := prefixRoute(t, "/ws/*", prefix)
		if n := testing.AllocsPerRun(100, func() { r.Rewrite(dst, target) }); n != 0 {
			t.Errorf("%s: Rewrite allocates %v times, want 0", prefix, n)
		}
	}
}

// FuzzRewrite: whatever the route and the request, what a backend gets is a path below what stands in
// the file, with the client's query, and never begins like a host.
func FuzzRewrite(f *testing.F) {
	f.Add("/ws/*", "strip", "/ws//evil", "x")
	f.Add("/*", "/v2/", "//a", "?")
	f.Add("/chat", "/", "/chat", "")
	f.Add("/ws/*", "/", `/ws/\/..;`, "/../")
	f.Fuzz(func(t *testing.T, path, prefix, requested, query string) {
		p, err := parsePathPrefix(prefix)
		if err != nil || strings.Contains(requested, "?") {
			t.Skip()
		}
		table, err := NewTable(&Config{Routes: []RouteConfig{{Path: path, Prefix: p,
			Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}}}}, echo, nil)
		if err != nil {
			t.Skip()
		}
		r := table.Match(nil, []byte(requested))
		if r == nil {
			t.Skip()
		}
		got, gotQuery, _ := strings.Cut(string(r.Rewrite(nil, []byte(requested+"?"+query))), "?")
		if gotQuery != query {
			t.Errorf("%q with %q of %q: the query is %q, want %q", path, prefix, requested, gotQuery, query)
		}
		if !strings.HasPrefix(got, "/") || hasDotSegment([]byte(got)) {
			t.Errorf("%q with %q makes %q of %q", path, prefix, got, requested)
		}
		if p == (PathPrefix{}) {
			if got != requested {
				t.Errorf("%q is kept, and %q becomes %q", path, requested, got)
			}
			return
		}
		if len(got) > 1 && (got[1] == '/' || got[1] == '\\') {
			t.Errorf("%q with %q makes %q of %q, which begins like a host", path, prefix, got, requested)
		}
		if below := strings.TrimSuffix(p.Replace, "/"); !strings.HasPrefix(got, below) {
			t.Errorf("%q with %q makes %q of %q, which is not below", path, prefix, got, requested)
		}
	})
}
