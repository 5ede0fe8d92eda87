package routing

import (
	"os"
	"strings"
	"testing"
)

// FuzzLoad: no file makes the decoder panic or talk without end, the same file gives the same
// message, and a config without faults makes a table.
func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, file := range configs(f, folder) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 4096 { // the larger ones only slow it down
				f.Add(data)
			}
		}
	}
	first, err := os.ReadFile("../proxy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse("proxy.yaml", data)
		if err != nil {
			message := err.Error()
			if lines := strings.Count(message, "\n") + 1; lines > printedFaults+1 || len(message) > 1000*lines {
				t.Errorf("a message of %d lines, %d bytes", lines, len(message))
			}
			if message == "" {
				t.Error("an empty message")
			}
			if _, again := parse("proxy.yaml", data); again == nil || again.Error() != message {
				t.Errorf("first\n%s\nthen\n%v", message, again)
			}
			return
		}
		if len(cfg.Listeners) == 0 || len(cfg.Routes) == 0 {
			t.Errorf("no fault, but %d listeners and %d routes", len(cfg.Listeners), len(cfg.Routes))
		}
		if _, err := NewTable(cfg, echo, nil); err != nil {
			t.Errorf("NewTable: %v", err)
		}
	})
}

// FuzzMatch: whatever the routes and the request, Match gives what a reading of its rules one by one
// gives.
func FuzzMatch(f *testing.F) {
	f.Add("chat.example.com/ws/* *.example.com/ws/* */*", "chat.example.com:80", "/ws/x")
	f.Add("*.a.b/x */x/* *.b/x/y/*", "q.A.B.", "/x/y/z")
	f.Add("::1/* [::1]/a 1.2.3.4/", "[::1]:1", "/a")
	f.Add("a/.. a/ws//* a/ws", "a", "/ws/%2e%2e/")
	f.Fuzz(func(t *testing.T, routes, host, path string) {
		cfg := &Config{}
		for route := range strings.FieldsSeq(routes) {
			i := strings.IndexByte(route, '/')
			if i < 0 {
				continue
			}
			cfg.Routes = append(cfg.Routes, RouteConfig{Host: route[:i], Path: route[i:],
				Backends: []BackendConfig{{URL: "builtin:echo", Builtin: "echo"}}})
		}
		table, err := NewTable(cfg, echo, nil)
		if err != nil {
			t.Skip()
		}
		got := nameOf(table.Match([]byte(host), []byte(path)))
		if want := naiveMatch(table.Routes(), host, path); got != want {
			t.Errorf("routes %q: Match(%q, %q) = %s, want %s", routes, host, path, got, want)
		}
	})
}

// naiveMatch is Match written another way: every route is looked at, and the most specific kept.
func naiveMatch(routes []*Route, host, path string) string {
	host = naiveHost(host)
	if !strings.HasPrefix(path, "/") || naiveDots(path) {
		return "none"
	}
	best, bestHost, bestPath := "none", -1, -1
	for _, r := range routes {
		i := strings.IndexByte(r.Name, '/')
		h, p := naiveHostScore(r.Name[:i], host), naivePathScore(r.Name[i:], path)
		if h >= 0 && p >= 0 && (h > bestHost || h == bestHost && p > bestPath) {
			best, bestHost, bestPath = r.Name, h, p
		}
	}
	return best
}

func naiveHostScore(pattern, host string) int {
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "*":
		return 0
	case !wildcard && pattern == host:
		return 1000
	case wildcard && strings.HasSuffix(host, suffix) && len(host) > len(suffix):
		return len(suffix)
	}
	return -1
}

func naivePathScore(pattern, path string) int {
	base, prefix := strings.CutSuffix(pattern, "/*")
	switch {
	case !prefix && pattern == path:
		return 10_000
	case prefix && (path == base || strings.HasPrefix(path, base+"/")):
		return len(base)
	}
	return -1
}

func naiveHost(host string) string {
	if i := strings.LastIndex(host, "]:"); strings.HasPrefix(host, "[") && i > 0 && strings.Trim(host[i+2:], "0123456789") == "" {
		host = host[:i+1]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed || strings.Contains(inner, "]") || !strings.Contains(inner, ":") {
			return ""
		}
		host = inner
	} else {
		parts := strings.Split(host, ":")
		if len(parts) > 2 || len(parts) == 2 && strings.Trim(parts[1], "0123456789") != "" {
			return ""
		}
		host = strings.TrimSuffix(parts[0], ".")
	}
	if len(host) > 253 {
		return ""
	}
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, host)
}

func naiveDots(path string) bool {
	path = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", "%3b", ";", "%3B", ";", `\`, "/").Replace(path)
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
