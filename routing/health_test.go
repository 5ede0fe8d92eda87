package routing

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// healthOf gives what a route says whose file has these two lines.
func healthOf(t *testing.T, lines string) *Route {
	t.Helper()
	cfg, err := parse("proxy.yaml", []byte("listeners: [{address: \":0\"}]\nroutes:\n- backends: [builtin:echo]\n  "+lines))
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable(cfg, echo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table.Routes()[0]
}

func TestHealthDefaults(t *testing.T) {
	good := []StatusRange{{200, 399}}
	for _, tt := range []struct {
		lines string
		want  HealthCheck
	}{
		{"path: /a", HealthCheck{}},
		{"health:", HealthCheck{Type: "tcp", Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}},
		{"health: {interval: 1s}", HealthCheck{Type: "tcp", Interval: time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}},
		{"health: {type: http}", HealthCheck{Type: "http", Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
			Path: "/", Method: "GET", Status: good}},
		{"health: {type: http, method: HEAD, status: 204}", HealthCheck{Type: "http", Interval: 5 * time.Second, Timeout: 2 * time.Second,
			Rise: 2, Fall: 3, Path: "/", Method: "HEAD", Status: []StatusRange{{204, 204}}}},
		{"health: {type: websocket}", HealthCheck{Type: "websocket", Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3, Path: "/"}},
	} {
		if got := healthOf(t, tt.lines).Health; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s gives %+v, want %+v", tt.lines, got, tt.want)
		}
	}
	for _, tt := range []struct {
		lines           string
		failures        int
		pause, maxPause time.Duration
	}{
		{"passive:", 3, 5 * time.Second, time.Minute},
		{"passive: {failures: off}", -1, 5 * time.Second, time.Minute},
		{"passive: {max_pause: 1s}", 3, time.Second, time.Second},
		{"passive: {pause: 1h}", 3, time.Hour, time.Hour},
	} {
		p := healthOf(t, tt.lines).Passive
		if p.Failures != tt.failures || p.Pause != tt.pause || p.MaxPause != tt.maxPause {
			t.Errorf("%s gives %+v, want %d failures, pauses from %v to %v", tt.lines, p, tt.failures, tt.pause, tt.maxPause)
		}
	}
}

// TestTableRefusesHealthThatLoadWould is for configs built in Go.
func TestTableRefusesHealthThatLoadWould(t *testing.T) {
	for _, tt := range []struct {
		health  HealthCheck
		passive PassiveCheck
		want    string
	}{
		{HealthCheck{Type: "udp"}, PassiveCheck{}, `health: there is no type "udp"`},
		{HealthCheck{Type: "tcp", Timeout: -1}, PassiveCheck{}, "health: a number is negative"},
		{HealthCheck{Type: "tcp", Path: "/"}, PassiveCheck{}, `health: path is not for type "tcp"`},
		{HealthCheck{Host: "a"}, PassiveCheck{}, `health: host is not for type ""`},
		{HealthCheck{Type: "http", Path: "/ HTTP/1.0\r\n\r\n"}, PassiveCheck{}, `health: path: "/ HTTP/1.0\r\n\r\n" has a byte that a request has only in its %xx form; write it so`},
		{HealthCheck{Type: "http", Host: "a b"}, PassiveCheck{}, `health: host: "a b" is not a host name; letters, digits, - and _ between dots are allowed; write a host to send, e.g. app.internal or app.internal:9000`},
		{HealthCheck{Type: "http", Headers: []HealthHeader{{"X A", ""}}}, PassiveCheck{}, "health: headers: \"X A\" is not the name of a header; letters, digits and any of !#$%&'*+-.^_`|~ are allowed"},
		{HealthCheck{Type: "http", Headers: []HealthHeader{{"X-A", "a\r\nB: c"}}}, PassiveCheck{}, `health: headers: "X-A": a control character stands in it; a header is one line`},
		{HealthCheck{Type: "http", Method: "CONNECT"}, PassiveCheck{}, `health: method "CONNECT" is none of a probe`},
		{HealthCheck{Type: "http", Status: []StatusRange{{100, 200}}}, PassiveCheck{}, "health: there is no status from 100 to 200"},
		{HealthCheck{Type: "http", Method: "HEAD", Body: "a"}, PassiveCheck{}, "health: an answer to HEAD has no body"},
		{HealthCheck{Type: "websocket", Subprotocol: "a, b"}, PassiveCheck{}, "health: subprotocol: \"a, b\" is no subprotocol, which is one word of letters, digits and any of !#$%&'*+-.^_`|~"},
		{HealthCheck{}, PassiveCheck{Window: -1}, "passive: a duration is negative"},
		{HealthCheck{}, PassiveCheck{Pause: 2, MaxPause: 1}, "passive: the longest pause is shorter than the first"},
	} {
		_, err := NewTable(&Config{Routes: []RouteConfig{{
			Backends: []BackendConfig{{URL: "http://a", Addr: "a:80"}}, Health: tt.health, Passive: tt.passive}}}, nil, nil)
		if want := "routes[0]: " + tt.want; err == nil || err.Error() != want {
			t.Errorf("NewTable with %+v, %+v = %v, want %s", tt.health, tt.passive, err, want)
		}
	}
}

// TestKeysOfEachTypeAreKnown: a key that is renamed is renamed everywhere.
func TestKeysOfEachTypeAreKnown(t *testing.T) {
	for key, types := range healthKeyTypes {
		if !slices.Contains(healthKeys.names(), key) {
			t.Errorf("%s is no key of health", key)
		}
		for _, name := range types {
			if !slices.Contains(healthTypes, name) {
				t.Errorf("%s is for type %s, which there is not", key, name)
			}
		}
	}
	if _, err := parseHealthBody(strings.Repeat("a", maxHealthBody+1)); err == nil {
		t.Error("a body of any length is allowed")
	}
}
