package routing

import (
	"strings"
	"testing"
)

// TestFitAgreesWithMatch: the first of MostSpecificFirst that fits is the one that Match gives.
func TestFitAgreesWithMatch(t *testing.T) {
	cfg := &Config{}
	for route := range strings.FieldsSeq("a.b/x a.b/x/* a.b/x/y/* *.b/* *.c.b/x *.c.b/x/* *.b/x */x */x/y/* */q/ ::1/* b/only") {
		host, path, _ := strings.Cut(route, "/")
		if host == "*" {
			host = ""
		}
		cfg.Routes = append(cfg.Routes, RouteConfig{Host: host, Path: "/" + path,
			Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}})
	}
	table, err := NewTable(cfg, echo, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host := range strings.FieldsSeq("a.b A.B.:80 c.b d.c.b e.d.c.b b z [::1]:9 bad:host:80") {
		for path := range strings.FieldsSeq("/ /x /x/ /x/y /x/y/z /X /xy /q /q/ /only /x/../y /%2e%2e/x x") {
			got := "no route"
			for _, r := range cfg.MostSpecificFirst() {
				f := r.Fit(host, path)
				if f.HostWhy == "" || f.PathWhy == "" {
					t.Errorf("%s does not say why it fits %s%s", r.Name(), host, path)
				}
				if f.Host && f.Path {
					got = r.Name()
					break
				}
			}
			want := "no route"
			if r := table.Match([]byte(host), []byte(path)); r != nil {
				want = r.Name
			}
			if got != want {
				t.Errorf("%s%s fits %s, Match gives %s", host, path, got, want)
			}
		}
	}
}

func TestFitSaysWhyNot(t *testing.T) {
	for _, tt := range []struct{ host, path, askedHost, askedPath, hostWhy, pathWhy string }{
		{"*.example.com", "/ws/*", "example.com", "/wsx", "*.example.com is for hosts below example.com, not for itself",
			"/ws/* is for /ws and what is below it, after a /"},
		{"example.com", "/chat", "www.example.com", "/chat/room", "example.com is for itself, not for hosts below; *.example.com is for these",
			"/chat is this path alone; /chat/* is for what is below, too"},
		{"", "/chat/", "x", "/chat", "any host", "differs in slashes"},
		{"a", "/Chat/*", "b", "/chat/x", "is for another host", "differs in upper and lower case"},
		{"a", "/chat", "a", "/x/../chat", "exactly this host", "a path with a . or .. segment, however it is written, has no route"},
		{"a", "/chat", "a", "/news", "exactly this host", "is for another path"},
	} {
		r := RouteConfig{Host: tt.host, Path: tt.path}
		if f := r.Fit(tt.askedHost, tt.askedPath); f.HostWhy != tt.hostWhy || f.PathWhy != tt.pathWhy {
			t.Errorf("%s for %s%s: %+v, want %q, %q", r.Name(), tt.askedHost, tt.askedPath, f, tt.hostWhy, tt.pathWhy)
		}
	}
}
