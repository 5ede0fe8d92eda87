package main

import (
	"log/slog"
	"strings"
	"testing"

	"wsproxy/routing"
)

func TestLimitsAreLogged(t *testing.T) {
	for _, tt := range []struct {
		name               string
		links, descriptors int
		want               []string // the lines, by what is in them
	}{
		{"auto", 0, 1024, []string{"level=INFO msg=limits links=461 descriptors=1024"}},
		{"fewer than there could be", 100, 1024, []string{"level=INFO msg=limits links=100 descriptors=1024"}},
		{"more", 500, 1024, []string{
			`level=WARN msg="limits.links is more than descriptors allow" links=500 allowed=461 descriptors=1024 remedy="raise the limit of open files`,
			"level=INFO msg=limits links=461 descriptors=1024",
		}},
		{"descriptors are not known", 500, 0, nil},
	} {
		var out strings.Builder
		logLimits(slog.New(slog.NewTextHandler(&out, nil)), &routing.Config{
			Limits: routing.Limits{LinkLimits: routing.LinkLimits{Links: tt.links}},
		}, tt.descriptors)
		lines := strings.SplitAfter(out.String(), "\n")
		lines = lines[:len(lines)-1]
		if len(lines) != len(tt.want) {
			t.Errorf("%s: %q, want %d lines", tt.name, lines, len(tt.want))
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: line %d is %q, want %q in it", tt.name, i, lines[i], want)
			}
		}
	}
}

// What the file says about clients is what they meet.
func TestAccessAndLimitsReachTheListener(t *testing.T) {
	p, ws, _ := running(t, config(t, `
listeners:
  - {address: "127.0.0.1:0", deny: [127.0.0.0/8]}
  - {address: "127.0.0.1:0", tls: {self_signed: [localhost]}}
limits: {links_per_client: 1}
routes: [{backends: ["builtin:echo"]}]
`))
	p.stderr.await(t, "msg=limits links=")
	refused := program(t, "connect", ws)
	if err := refused.Start(); err != nil {
		t.Fatal(err)
	}
	if status := refused.exit(); status == 0 || !strings.Contains(refused.stderr.String(), "403") {
		t.Errorf("connect exits with %d and says %q, want a 403", status, refused.stderr)
	}
	p.stderr.await(t, "reason=address")
}
