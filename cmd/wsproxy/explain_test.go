package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const explained = `
listeners:
  - address: ":80"
    redirect: https
  - address: ":443"
    tls: {self_signed: [chat.example.com]}
  - address: "192.0.2.1:8080"
  - address: ":81"
    deny: [192.0.2.66]
trusted_proxies: [10.0.0.0/8]
limits: {body_size: 1MiB}
routes:
  - host: chat.example.com
    path: /ws/*
    backends: ["http://10.0.0.7:9000", "https://app.internal"]
    path_prefix: strip
    host_header: backend
    http: off
    read_timeout: off
    request_headers:
      remove: [Cookie]
      set: {X-Real-IP: "${client_ip}", Authorization: Basic abc, X-From: "${path}?${query} ${scheme} ${server_port}"}
      add: {X-Held: "a${WSPROXY_TEST_HELD}"}
    response_headers: {set: {X-By: "${backend}"}}
  - host: "*.example.com"
    path: /chat
    backends: [builtin:echo]
  - path: /any
    backends: [builtin:echo]
  - path: /some
    backends: [{url: "builtin:echo", weight: 5}]
    allow: [192.0.2.0/24]
    origins: [https://example.com]
    missing_origin: refuse
    sticky:
`

// asked runs check with arguments and gives what it prints and its exit status.
func asked(t *testing.T, file string, args ...string) (string, int) {
	t.Helper()
	p := program(t, append([]string{"check", "-c", file}, args...)...)
	p.Env = append(p.Env, "WSPROXY_TEST_HELD=hunter2")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	status := p.exit()
	return p.stdout.String() + p.stderr.String(), status
}

func TestExplainSaysWhatBecomesOfARequest(t *testing.T) {
	file := config(t, explained)
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   []string // lines, with one space for several
	}{
		{"a WebSocket through a trusted proxy",
			[]string{"wss://chat.example.com/ws/room?a=b", "--from", "10.1.2.3", "--header", "X-Forwarded-For: 192.0.2.9, 10.9.9.9"}, 0,
			[]string{"GET wss://chat.example.com/ws/room?a=b (a WebSocket)",
				":443 wss:// and https://; certificate self-signed for chat.example.com",
				"10.1.2.3 a trusted proxy: its X-Forwarded-For and the like are kept and added to", "192.0.2.9 the client, by its word",
				"chat.example.com/ws/* FILE:13", "because exactly this host, a path of /ws/*", "serves WebSockets",
				"http://10.0.0.7:9000 Host: 10.0.0.7:9000", "https://app.internal Host: app.internal; TLS, as app.internal by the system's CAs",
				"GET /room?a=b", "remove Cookie", "set X-Real-IP: 192.0.2.9", "set Authorization: (not shown)",
				"set X-From: /ws/room?a=b https 443", "add X-Held: (not shown)", "set X-By: ${backend}",
				"read_timeout off (default 5m)", "dial_timeout 5s", "websocket.max_frame unlimited", "limits.body_size 1MiB (default unlimited)"}},
		{"plain HTTP where there are WebSockets alone", []string{"https://chat.example.com/ws"}, 0,
			[]string{"refused the route has http: off; what is no WebSocket is refused with 426", "set X-Real-IP: ${client_ip}"}},
		{"a handshake by header", []string{"https://chat.example.com/ws", "--header", "upgrade: WebSocket", "--method", "POST"}, 0,
			[]string{"POST https://chat.example.com/ws (a WebSocket)", "refused a WebSocket handshake that is not GET is refused with 405"}},
		{"an address nobody trusts", []string{"https://x/any", "--from", "192.0.2.7", "--header", "X-Forwarded-For: 192.0.2.9"}, 0,
			[]string{"192.0.2.7 no trusted proxy: its X-Forwarded-For and the like are dropped", "because any host, exactly this path",
				":443 has no certificate for x", "builtin:echo Host: x"}},
		{"a listener that redirects", []string{"http://a.example.com/chat"}, 0,
			[]string{":80 sends everything to https, port 443", ":80 sends everything to https; the rest is for https",
				"because a host below example.com, exactly this path"}},
		{"a WebSocket where everything is sent to https", []string{"ws://a.example.com/chat"}, 0,
			[]string{":80 refuses WebSockets with 403, since it sends everything to https; the rest is for https"}},
		{"a listener of one address", []string{"http://192.0.2.1:8080/any"}, 0, []string{"192.0.2.1:8080 ws:// and http://"}},
		{"no listener", []string{"http://192.0.2.2:8080/any"}, 0,
			[]string{"no listener without tls is on port 8080; this is for one that the request comes to in another way"}},
		{"another Host", []string{"https://192.0.2.1/any", "--header", "Host: chat.example.com"}, 0, []string{"builtin:echo Host: chat.example.com"}},
		{"whom nobody knows", []string{"http://x:81/some"}, 0,
			[]string{":81 serves some addresses alone; --from says whose request it is",
				"the route serves some addresses alone; --from says whose request it is",
				"builtin:echo Host: x:81; weight 5", "sticky.secure auto", "sticky.max_age off"}},
		{"a client of neither", []string{"http://x:81/some", "--from", "192.0.2.66", "--header", "X-Forwarded-For: 203.0.113.1"}, 0,
			[]string{":81 refuses 192.0.2.66 with 403, by its allow and deny"}},
		{"a client behind a proxy", []string{"http://x:81/some", "--from", "10.1.2.3", "--header", "X-Forwarded-For: 203.0.113.1"}, 0,
			[]string{"refused allow and deny of the route leave 203.0.113.1 out; it is refused with 403"}},
		{"a page", []string{"wss://x/some", "--from", "192.0.2.7", "--header", "Origin: https://a.example.com"}, 0,
			[]string{"refused origins of the route leave this Origin out; it is refused with 403"}},
		{"a program", []string{"wss://x/some", "--from", "192.0.2.7"}, 0,
			[]string{"refused the route has missing_origin: refuse; a handshake without an Origin is refused with 403"}},
		{"below a prefix", []string{"https://chat.example.com/wsx"}, 1,
			[]string{"no route: the answer is 404", "chat.example.com/ws/* /ws/* is for /ws and what is below it, after a / (FILE:13)",
				"*/any is for another path (FILE:28)"}},
		{"a wildcard's own host", []string{"wss://example.com/chat"}, 1,
			[]string{"*.example.com/chat *.example.com is for hosts below example.com, not for itself (FILE:25)"}},
		{"a dot segment", []string{"https://chat.example.com/x/%2e%2e/ws/a"}, 1,
			[]string{"chat.example.com/ws/* is for the path without such segments, /ws/a (FILE:13)",
				"a path with a . or .. segment, however it is written, has no route; clients resolve these before they send a path"}},
		{"no scheme", []string{"chat.example.com/ws"}, 2, []string{"wsproxy: \"chat.example.com/ws\" is not a URL with http, https, ws or wss and a host; write e.g. https://chat.example.com/ws"}},
		{"no URL", []string{"http://a/%zz"}, 2, []string{"wsproxy: \"http://a/%zz\" is not a URL; write e.g. https://chat.example.com/ws"}},
		{"no header", []string{"http://a/", "--header", "Name"}, 2, []string{"wsproxy: \"Name\" is not a header; write 'Name: value'"}},
		{"no address", []string{"http://a/", "--from", "here"}, 2, []string{"wsproxy: \"here\" is not an IP address; write e.g. 192.0.2.7"}},
		{"no method", []string{"http://a/", "--method", "G T"}, 2, []string{"wsproxy: \"G T\" is not a method"}},
	} {
		said, status := asked(t, file, append([]string{"--explain"}, tt.args...)...)
		if status != tt.status {
			t.Errorf("%s: exit status %d, want %d:\n%s", tt.name, status, tt.status, said)
		}
		var lines []string
		for line := range strings.Lines(strings.ReplaceAll(said, file, "FILE")) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		for _, want := range tt.want {
			if !slices.Contains(lines, want) {
				t.Errorf("%s: no line %q in\n%s", tt.name, want, said)
			}
		}
		if strings.Contains(said, "hunter2") || strings.Contains(said, "Basic abc") {
			t.Errorf("%s: a secret is shown:\n%s", tt.name, said)
		}
	}
}

func TestExplainAsJSON(t *testing.T) {
	file := config(t, explained)
	said, status := asked(t, file, "--json", "--explain", "wss://chat.example.com/ws/room")
	var e explanation
	if err := json.Unmarshal([]byte(said), &e); err != nil {
		t.Fatalf("%v in %s", err, said)
	}
	if status != 0 || e.Kind != "websocket" || e.Route == nil || e.Route.Name != "chat.example.com/ws/*" || e.Sent.Target != "/room" ||
		len(e.Route.Backends) != 2 || len(e.Listeners) != 1 {
		t.Errorf("exit status %d, %s", status, said)
	}
	if said, status = asked(t, file, "--json", "--explain", "wss://chat.example.com/"); status != 1 || !strings.Contains(said, `"near": [`) {
		t.Errorf("without a route: exit status %d, %s", status, said)
	}
}

func TestCheckExplainsTheConfiguration(t *testing.T) {
	file := config(t, explained)
	said, status := asked(t, file)
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	at := 0
	for _, want := range []string{
		" is good: 4 listeners, 4 routes\n", "\nlisteners\n", ":443 ", "\nsettings\n", "limits.body_size  1MiB (default unlimited)\n",
		"\nroutes, the most specific first\n", "  chat.example.com/ws/*  ", "    → https://app.internal  TLS", "    read_timeout      off (default 5m)\n",
		"    request_headers   5 changes\n", "  *.example.com/chat  ", "  */any  ",
	} {
		i := strings.Index(said[at:], want)
		if i < 0 {
			t.Fatalf("no %q where it should be in\n%s", want, said)
		}
		at += i
	}
	if strings.Contains(said, "hunter2") || strings.Contains(said, "Basic abc") {
		t.Errorf("a secret is shown:\n%s", said)
	}
	said, status = asked(t, file, "--json")
	var s summary
	if err := json.Unmarshal([]byte(said), &s); err != nil || status != 0 || len(s.Routes) != 4 || s.Routes[2].Name != "*/any" {
		t.Errorf("--json: exit status %d, %v, %s", status, err, said)
	}
	said, status = asked(t, config(t, "listeners: 7\n"), "--json")
	var bad struct{ Faults []faultInfo }
	if err := json.Unmarshal([]byte(said), &bad); err != nil || status != 1 || len(bad.Faults) != 2 || bad.Faults[1].Line != 1 {
		t.Errorf("--json of a bad file: exit status %d, %v, %s", status, err, said)
	}
	if said, status = asked(t, file, "--from", "192.0.2.7"); status != 1 || !strings.Contains(said, "--from belongs to --explain") {
		t.Errorf("--from alone: exit status %d, %s", status, said)
	}
}

// FuzzQuestion: whatever is asked, there is an answer or a reason why not.
func FuzzQuestion(f *testing.F) {
	f.Add("wss://chat.example.com/ws/room?a=b", "GET", "X-Forwarded-For: 192.0.2.9", "10.1.2.3")
	f.Add("http://[::1]:80/..", "", "Host: [", "::1%eth0")
	f.Add("https:///", "CONNECT", ": ", "")
	f.Setenv("WSPROXY_TEST_HELD", "hunter2")
	file := filepath.Join(f.TempDir(), "proxy.yaml")
	if err := os.WriteFile(file, []byte(explained), 0o600); err != nil {
		f.Fatal(err)
	}
	cfg, err := load(file, false, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, url, method, header, from string) {
		q := &question{URL: url, Method: method, Headers: []string{header}, From: from}
		if err := q.parse(); err != nil {
			return
		}
		e, err := q.answer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		e.print(&out)
		if err := printJSON(&out, e); err != nil {
			t.Error(err)
		}
		if e.Route == nil && len(e.Near) == 0 {
			t.Errorf("neither a route nor one that is near: %s", out.String())
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("a secret is shown: %s", out.String())
		}
	})
}

func TestSchemaIsPrinted(t *testing.T) {
	for _, args := range [][]string{{"schema"}, {"schema", "--included"}} {
		p := program(t, args...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		var s map[string]any
		if status, err := p.exit(), json.Unmarshal([]byte(p.stdout.String()), &s); status != 0 || err != nil ||
			s["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%v: exit status %d, %v, %q", args, status, err, p.stdout)
		}
	}
}

func TestExitStatusOfExplain(t *testing.T) {
	var status exitStatus
	if err := explainRequest("none.yaml", &question{URL: "x"}, false, nil); !errors.As(err, &status) || status != 2 {
		t.Errorf("a bad URL gives %v, want exit status 2 before the file is read", err)
	}
}
