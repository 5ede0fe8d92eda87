package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
)

// A file with faults changes nothing; its faults come back as Load has them, and the log has one line.
func TestFaultsChangeNothing(t *testing.T) {
	text := routed("{path: /a, backends: [builtin:echo]}")
	taken := closedPort(t)
	tests := []struct {
		name, text string
		want       []string // of the error, a line each; FILE stands for the file
	}{
		{"one", strings.Replace(text, "/a", "a", 1), []string{"FILE:5:"}},
		{"several", strings.Replace(text, "/a", "a", 1) + "engin: epoll\nlog: {level: loud}\n",
			[]string{"FILE:5:", "FILE:6:", "FILE:7:"}},
		{"not YAML", "listeners: [", []string{"FILE:"}},
		{"address that is not there", `
listeners: [{address: "127.0.0.1:0"}, {address: "` + taken + `"}, {address: "192.0.2.1:1"}]
routes: [{path: /b, backends: [builtin:echo]}]
log: {level: error}
`, []string{"listen on 192.0.2.1:1 (FILE:2): "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := starting(t, text, "")
			link, before := p.open("/a"), p.current.Load()
			p.write(tt.text)
			_, err := p.reload()
			if err == nil {
				t.Fatal("no fault was found")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Errorf("faults %q, want %d lines", lines, len(tt.want))
			}
			for i := range min(len(lines), len(tt.want)) {
				if want := strings.ReplaceAll(tt.want[i], "FILE", p.file); !strings.HasPrefix(lines[i], want) {
					t.Errorf("fault %q, want it to begin with %q", lines[i], want)
				}
			}
			if n := strings.Count(p.log.String(), "level=ERROR"); n != 1 || !strings.Contains(p.log.String(), "not reloaded") {
				t.Errorf("%d lines in the log, want one", n)
			}
			if p.current.Load() != before || len(p.listeners) != 1 {
				t.Error("something has changed")
			}
			lives(t, "link", link)
			lives(t, "new link", p.open("/a"))
			if conn, err := net.Dial("tcp", taken); err == nil {
				conn.Close()
				t.Errorf("%s is listened on", taken)
			}
			if changed := p.becomes(text); changed != "nothing has changed" {
				t.Errorf("the old file changes %q", changed)
			}
		})
	}
}

// What cannot change is said, by name, and stays; the rest of the file is taken over.
func TestWhatNeedsARestartIsSaid(t *testing.T) {
	text := routed("{path: /a, backends: [builtin:echo]}")
	p := starting(t, text, "")
	changed := p.becomes(routed("{path: /b, backends: [builtin:echo]}") + `
engine: goroutines
loops: 7
control: off
log: {format: json}
limits: {header_size: 64KiB, tls_handshakes: 9}
`)
	for _, name := range []string{"engine", "loops", "control", "log.format", "limits.header_size", "limits.tls_handshakes"} {
		if !strings.Contains(changed, name+" stays as it is until a restart") {
			t.Errorf("nothing is said of %s:\n%s", name, changed)
		}
	}
	if strings.Count(changed, "restart") != 6 {
		t.Errorf("more is said:\n%s", changed)
	}
	lives(t, "link of the new route", p.open("/b"))
	if changed := p.becomes(text); strings.Contains(changed, "restart") {
		t.Errorf("the old file changes %q", changed)
	}
}

func TestLimitsAndLevelsChangeLive(t *testing.T) {
	text := routed("{backends: [builtin:echo]}")
	p := starting(t, text, "")
	first := p.open("/")
	p.becomes(text + "limits: {links: 1}\n")
	if status := p.status("/"); status != http.StatusServiceUnavailable {
		t.Errorf("second link with links: 1: %d, want 503", status)
	}
	p.becomes(text + "limits: {links: 2}\n")
	second := p.open("/")
	lives(t, "first", first)
	lives(t, "second", second)

	p.becomes(text + "limits: {uri_size: 64B}\n")
	if status := p.status("/?" + strings.Repeat("x", 100)); status != http.StatusRequestURITooLong {
		t.Errorf("a long target: %d, want 414", status)
	}
	p.becomes(text)
	if status := p.status("/?" + strings.Repeat("x", 100)); status != http.StatusSwitchingProtocols {
		t.Errorf("a long target: %d, want 101", status)
	}

	p.becomes(strings.Replace(text, "{backends", "{deny: [127.0.0.0/8], backends", 1))
	if status := p.status("/"); status != http.StatusForbidden {
		t.Errorf("denied by the route: %d, want 403", status)
	}
	// The same client by the word of a proxy that is trusted now.
	spoken := func() int {
		header := http.Header{"X-Forwarded-For": {"192.0.2.7"}}
		conn, answer, err := websocket.DefaultDialer.Dial("ws://"+p.addr(0), header)
		if err == nil {
			conn.Close()
		}
		if answer == nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	denying := strings.Replace(text, "{backends", "{deny: [192.0.2.0/24], backends", 1)
	for _, tt := range []struct {
		text string
		want int
	}{{denying, 101}, {denying + "trusted_proxies: [127.0.0.1]\n", 403}, {denying, 101}} {
		p.becomes(tt.text)
		if status := spoken(); status != tt.want {
			t.Errorf("client of a proxy: %d, want %d", status, tt.want)
		}
	}

	p.becomes(text + "log: {level: error}\n")
	lines := strings.Count(p.log.String(), "\n")
	p.open("/").Close()
	p.becomes(text + "limits: {links: 5}\nlog: {level: error}\n")
	if n := strings.Count(p.log.String(), "\n"); n != lines {
		t.Errorf("%d lines more at level error", n-lines)
	}
	p.becomes(text)
	p.log.await(t, "level=INFO")
}

// A timeout of the file is one for requests that begin after the reload.
func TestTimeoutsChangeLive(t *testing.T) {
	text := routed("{backends: [builtin:echo]}")
	p := starting(t, text+"timeouts: {request_header: 1h}\n", "")
	if changed := p.becomes(text + "timeouts: {request_header: 20ms}\n"); changed != "timeouts changed" {
		t.Errorf("changed: %q", changed)
	}
	conn := p.connect()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\n")
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if errors.Is(err, os.ErrDeadlineExceeded) || n > 0 && !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408") {
		t.Errorf("half a head is answered %q, %v", answer[:n], err)
	}
}

// What has been counted and found out before a reload counts after it.
func TestCountsHealthAndStickyOutliveReloads(t *testing.T) {
	a, b, dead := naming(t, "a"), naming(t, "b"), closedPort(t)
	text := routed(
		fmt.Sprintf("{path: /few, max_links: 2, backends: [%q]}", naming(t, "few")),
		fmt.Sprintf("{path: /sticky, sticky: {}, backends: [%q, %q]}", a, b),
		fmt.Sprintf("{path: /down, passive: {failures: 1, pause: 1h, max_pause: 1h}, backends: [\"http://%s\"]}", dead),
		"{path: /mine, limits: {links: 1}, backends: [builtin:echo]}",
	)
	p := starting(t, text, "")
	first := p.open("/few")
	p.open("/few")
	p.open("/mine")
	if status := p.status("/down"); status != http.StatusBadGateway {
		t.Errorf("a backend that is dead: %d, want 502", status)
	}
	conn, answer, err := p.dial("/sticky")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	choice, cookie := named(t, conn), answer.Header.Get("Set-Cookie")
	for i := range 5 {
		p.becomes(text + fmt.Sprintf("  - {path: /more%d, backends: [builtin:echo]}\n", i))
		for _, path := range []string{"/few", "/mine", "/down"} {
			if status := p.status(path); status != http.StatusServiceUnavailable {
				t.Errorf("%s after reload %d: %d, want 503", path, i, status)
			}
		}
		header := http.Header{"Cookie": {strings.Split(cookie, ";")[0]}}
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+p.addr(0)+"/sticky", header)
		if err != nil {
			t.Fatal(err)
		}
		if name := named(t, conn); name != choice {
			t.Errorf("sticky after reload %d: %s, want %s", i, name, choice)
		}
		conn.Close()
	}
	for _, s := range p.backendStates() {
		if strings.Contains(s.Backend, dead) && (s.State != "down" || s.Reason == "" || s.Since.IsZero()) {
			t.Errorf("the dead backend: %+v, want it down", s)
		}
	}
	named(t, first)
	first.Close()
	p.log.await(t, "msg=link client="+first.LocalAddr().String())
	named(t, p.open("/few")) // the slot is free again
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	if _, err := p.reload(); err == nil {
		t.Error("a file that is gone is no fault")
	}
}
