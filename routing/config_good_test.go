package routing

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestGoodConfigs holds every file of good/ against the Config it must give.
func TestGoodConfigs(t *testing.T) {
	echo := BackendConfig{URL: "builtin:echo", Builtin: "echo"}
	value := func(text string) Template {
		v, err := ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	defaults := func(c Config) Config {
		c.FillDefaults()
		return c
	}
	app := []BackendConfig{{URL: "http://10.0.0.7:9000", Addr: "10.0.0.7:9000"}, {URL: "ws://10.0.0.8:9000/", Addr: "10.0.0.8:9000"}}
	want := map[string]Config{
		"short.yaml": {
			Listeners: []Listener{{Address: ":8080", Line: 2}},
			Routes: []RouteConfig{{Path: "/*", Backends: app[:1], DialTimeout: 5 * time.Second,
				HandshakeTimeout: 10 * time.Second, ResponseTimeout: time.Minute, ReadTimeout: 5 * time.Minute,
				Pool:      Pool{MaxIdle: 128, IdleTimeout: 4 * time.Second},
				WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Line: 4}},
			Timeouts: Timeouts{TLSHandshake: 10 * time.Second, RequestHeader: 10 * time.Second, RequestBody: time.Minute,
				Send: time.Minute, KeepAlive: time.Minute},
			Limits:      Limits{HeaderSize: 16384, HeaderFields: 100, URISize: 8192, MinRate: 240},
			GracePeriod: 30 * time.Second,
			Engine:      "auto",
			Log:         Log{Format: "text"},
		},
		"empty-sections.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":0", Line: 1}, {Address: ":0", Line: 1}},
			Routes:    []RouteConfig{{Backends: []BackendConfig{echo}, Line: 2}},
		}),
		"aliases.yaml": defaults(Config{
			Listeners: []Listener{{Address: "127.0.0.1:8080", Line: 6}},
			Routes: []RouteConfig{
				{Host: "one.example.com", Backends: app, DialTimeout: 20 * time.Second, HandshakeTimeout: 90 * time.Second, Line: 8},
				{Host: "two.example.com", Path: "/two", Backends: app, DialTimeout: 20 * time.Second, HandshakeTimeout: 3 * time.Second,
					ResponseTimeout: 2 * time.Second, Line: 11},
			},
		}),
		"all-keys.yaml": {
			Listeners: []Listener{
				{Address: "8080.example:80", HTTPSPort: 8443, ProxyProtocol: true, Line: 2},
				{Address: "[::1]:8443", TLS: &TLS{
					SelfSigned: []string{"localhost", "127.0.0.1", "*.example.com"}, MinVersion: tls.VersionTLS13,
					Curves: []tls.CurveID{tls.CurveP256, tls.X25519MLKEM768}, Protocols: []string{"ocpp1.6", "http/1.1"},
					ClientAuth: "require", ClientCA: testdata + "good/ca.pem", TicketKeys: testdata + "good/tickets",
				}, Line: 5},
				{Address: "127.0.0.1:443", TLS: &TLS{
					ACME: &ACME{
						Hosts: []string{"chat.example.com", "www.example.com"}, Email: "ops@example.com",
						Directory: "https://acme.example.com/directory", Cache: "/var/lib/wsproxy/acme", CA: testdata + "good/ca.pem",
					},
					MinVersion: tls.VersionTLS12, AnyProtocol: true, ClientAuth: "off", NoTickets: true,
					Curves: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519,
						tls.CurveP256, tls.CurveP384, tls.CurveP521},
				}, Line: 16},
			},
			Routes: []RouteConfig{
				{
					Host: "*.example.com", Path: "/ws/*",
					Backends: []BackendConfig{
						{URL: "HTTP://App_1:9000", Addr: "app_1:9000"}, {URL: "ws://[::1]", Addr: "[::1]:80"},
						{URL: "https://10.0.0.9", Addr: "10.0.0.9:443", TLS: &BackendTLS{ServerName: "other.example"}},
						{URL: "wss://Secure.example:8443", Addr: "secure.example:8443",
							TLS: &BackendTLS{ServerName: "secure.example", CA: testdata + "good/ca.pem"}},
						echo,
					},
					HostHeader:  HostHeader{Literal: "app.internal:9000"},
					DialTimeout: time.Second, HandshakeTimeout: 2 * time.Second, ResponseTimeout: time.Minute, Line: 30,
					ReadTimeout: -1, Pool: Pool{MaxIdle: -1, IdleTimeout: 20 * time.Second}, NoHTTP: true,
					Prefix: PathPrefix{Strip: true},
					RequestHeaders: HeaderRules{
						Remove: []string{"X-Internal", "cookie"},
						Set:    []HeaderRule{{"X-Real-IP", value("${client_ip}")}, {"Authorization", value("Basic $${not")}, {"X-Empty", value("")}},
						Add:    []HeaderRule{{"Via", value("1.1 wsproxy")}, {"via", value("1.0 other")}},
					},
					ResponseHeaders: HeaderRules{Set: []HeaderRule{{"server", value("${route}\tat ${host}")}}},
					WebSocket: WebSocket{
						NoValidation: true, MaxFrame: 125, MaxMessage: 1 << 20, MessageRate: 100, MessageBurst: 250, RateBackend: true, RateWait: true,
						PingInterval: 30 * time.Second, PongTimeout: 5 * time.Second, PingBackend: true,
						IdleTimeout: 5 * time.Minute, MaxAge: 24 * time.Hour, StallTimeout: -1,
					},
				},
				{
					Host: "2001:db8::1", Path: "/exact", Backends: []BackendConfig{{URL: "http://10.0.0.7/", Addr: "10.0.0.7:80"}},
					HostHeader: HostHeader{Backend: true}, DialTimeout: 5 * time.Second, HandshakeTimeout: 10 * time.Second,
					ResponseTimeout: time.Minute, ReadTimeout: 10 * time.Second, Pool: Pool{MaxIdle: 100_000, IdleTimeout: 4 * time.Second},
					Prefix: PathPrefix{Replace: "/other/"}, ProxyProtocol: 2,
					WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Line: 69,
				},
			},
			TrustedProxies: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32"),
				netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.9/32"),
			},
			Forwarded: true,
			Timeouts: Timeouts{TLSHandshake: time.Second, RequestHeader: 2 * time.Second, RequestBody: 3 * time.Second, Send: -1,
				KeepAlive: 24 * time.Hour},
			Limits: Limits{HeaderSize: 32768, HeaderFields: 10_000, URISize: 32768, Underscores: true, MinRate: -1,
				BodySize: 10_000_000, TLSHandshakes: 3},
			GracePeriod: time.Millisecond,
			Engine:      "goroutines",
			Loops:       3,
			Log:         Log{Level: slog.LevelDebug, Format: "json"},
		},
	}
	for _, file := range configs(t, "good") {
		got, err := Load(file)
		if err != nil {
			t.Errorf("Load(%q): %v", file, err)
			continue
		}
		want, ok := want[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: nothing says what it should give", file)
			continue
		}
		want.File = file
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("Load(%q) =\n%+v\nwant\n%+v", file, *got, want)
		}
		if _, err := NewTable(got, map[string]string{"echo": "127.0.0.1:1"}); err != nil {
			t.Errorf("NewTable of %q: %v", file, err)
		}
	}
}
