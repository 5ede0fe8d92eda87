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
	networks := func(texts ...string) (n Networks) {
		for _, text := range texts {
			n = append(n, netip.MustParsePrefix(text))
		}
		return n
	}
	defaults := func(c Config) Config {
		c.FillDefaults()
		return c
	}
	passive := PassiveCheck{Failures: 3, Window: 10 * time.Second, Pause: 5 * time.Second, MaxPause: time.Minute, EarlyDeath: time.Second}
	app := []BackendConfig{{URL: "http://10.0.0.7:9000", Addr: "10.0.0.7:9000"}, {URL: "ws://10.0.0.8:9000/", Addr: "10.0.0.8:9000"}}
	// What each of these comes to stands in environment.yaml.
	hidden := func(text string) Template {
		v := value(text)
		v.hidden = true
		return v
	}
	shared := []HeaderRule{
		{"X-Text", hidden(`a "b": $${client_ip} $$${x} {c}, #d`)},
		{"X-Several", hidden("$${WSPROXY_TEST_PORT} 8080$ ${client_ip} $$${WSPROXY_TEST_PORT}")},
		{"X-Default", hidden("no: [one]")},
		{"X-Apart", hidden("$${client_ip}")},
	}
	want := map[string]Config{
		"short.yaml": {
			Listeners: []Listener{{Address: ":8080", Line: 2}},
			Routes: []RouteConfig{{Path: "/*", Backends: app[:1], DialTimeout: 5 * time.Second,
				HandshakeTimeout: 10 * time.Second, ResponseTimeout: time.Minute, ReadTimeout: 5 * time.Minute,
				Pool:      Pool{MaxIdle: 128, IdleTimeout: 4 * time.Second},
				Queue:     Queue{Timeout: 5 * time.Second},
				WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Passive: passive, Line: 4,
				Retries: 2, Rebalance: Rebalance{Window: time.Minute}}},
			Timeouts: Timeouts{TLSHandshake: 10 * time.Second, RequestHeader: 10 * time.Second, RequestBody: time.Minute,
				Send: time.Minute, KeepAlive: time.Minute},
			Limits: Limits{HeaderSize: 16384, HeaderFields: 100, URISize: 8192, MinRate: 240,
				LinkLimits: LinkLimits{Handshakes: 4096}, Clients: 100_000},
			Drain:       Drain{Window: 10 * time.Second},
			Control:     "auto",
			GracePeriod: 30 * time.Second,
			Engine:      "auto",
			Log:         Log{Format: "text"},
		},
		"balance.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":8080", Line: 1}},
			Routes: []RouteConfig{
				{
					Path: "/1", Line: 4, Balance: LeastConnections, SlowStart: 30 * time.Second, MaxLinks: 10,
					Backends: []BackendConfig{
						{URL: app[0].URL, Addr: app[0].Addr, Weight: 1000, Backup: true, Drain: true, MaxLinks: 1_000_000},
						{URL: app[1].URL, Addr: app[1].Addr, Weight: 1, MaxLinks: -1},
					},
					Queue: Queue{Size: 100, Timeout: 500 * time.Millisecond},
					Sticky: &StickyConfig{Cookie: "__Host-node", Path: "/", Secure: "on", ScriptAccess: true, SameSite: "none",
						MaxAge: 400 * 24 * time.Hour, Key: "0123456789abcdef"},
				},
				{Path: "/2", Line: 19, Backends: app[:1], Balance: RandomTwo,
					Sticky: &StickyConfig{Cookie: "wsproxy", Path: "/", Secure: "auto", SameSite: "lax"}},
				{Path: "/3", Line: 20, Backends: app[:1], Sticky: new(StickyConfig)},
				{Path: "/4", Line: 25, Backends: app[:1],
					Sticky: &StickyConfig{Path: "/4", Domain: "example.com", SameSite: "strict", Key: "1234567890123456"}},
				{Path: "/5", Line: 28, Backends: app[:1], Balance: Hash, HashKey: HashKey{ClientIP: true}},
				{Path: "/6", Line: 29, Backends: app[:1], Balance: Hash, HashKey: HashKey{Header: "X-User"}},
				{Path: "/7", Line: 30, Backends: app[:1], Balance: Hash, HashKey: HashKey{Cookie: "session"}},
				{Path: "/8", Line: 31, Backends: app[:1], Balance: Hash, HashKey: HashKey{Query: "room[id]"}},
				{Path: "/9", Line: 32, Backends: app[:1], Balance: Hash, HashKey: HashKey{Path: true}},
			},
		}),
		"operation.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":8080", Line: 1}},
			Routes: []RouteConfig{
				{Path: "/1", Line: 3, Backends: app[:1], Retries: 10, OnDown: PaceLinks, Rebalance: Rebalance{Share: 50, Window: 90 * time.Second}},
				{Path: "/2", Line: 8, Backends: app[:1], Retries: -1, OnDown: CloseLinks, Rebalance: Rebalance{Share: 1}},
				{Path: "/3", Line: 9, Backends: app[:1]},
			},
			Drain: Drain{Window: -1}, Control: "off",
		}),
		"empty-sections.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":0", Line: 1}, {Address: ":0", Line: 1}},
			Routes:    []RouteConfig{{Backends: []BackendConfig{echo}, Line: 2}},
		}),
		"environment.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":8080", Line: 9}, {Address: "127.0.0.1:8080", Line: 10}},
			Routes: []RouteConfig{
				{Host: "one.example.com", Path: "/${client_ip}", Backends: []BackendConfig{{URL: "http://10.0.0.7:8080", Addr: "10.0.0.7:8080"}},
					RequestHeaders: HeaderRules{Set: shared}, Line: 12},
				{Host: "two.example.com", Backends: []BackendConfig{echo}, RequestHeaders: HeaderRules{Add: shared}, Line: 16},
			},
			Limits:      Limits{HeaderFields: 8080, HeaderSize: 8080},
			Loops:       7,
			GracePeriod: time.Minute,
			Log:         Log{Format: "json"},
		}),
		"include.yaml": defaults(Config{
			Files: []string{testdata + "good/include.yaml", testdata + "good/include.d/", testdata + "good/include.d/list.yaml",
				testdata + "good/include.d/mapping.yml", testdata + "good/more.d/", testdata + "good/more.d/routes.conf", testdata + "good/none.d/"},
			Listeners: []Listener{{Address: ":8080", Line: 1}},
			Routes: []RouteConfig{
				{Host: "one.example.com", Backends: []BackendConfig{echo}, File: testdata + "good/include.d/list.yaml", Line: 1},
				{Host: "two.example.com", Backends: []BackendConfig{{URL: "https://10.0.0.7", Addr: "10.0.0.7:443",
					TLS: &BackendTLS{ServerName: "10.0.0.7", CA: testdata + "good/ca.pem"}}}, File: testdata + "good/include.d/list.yaml", Line: 4},
				{Path: "/three", Backends: app[:1], File: testdata + "good/include.d/mapping.yml", Line: 4},
				{Path: "/four", Backends: []BackendConfig{echo}, File: testdata + "good/more.d/routes.conf", Line: 1},
			},
		}),
		"services.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":8080", Line: 1}},
			Routes: []RouteConfig{{Line: 3, Backends: []BackendConfig{
				{URL: "srv+http://_http._tcp.App.default.svc.cluster.local", Addr: "_http._tcp.app.default.svc.cluster.local", SRV: true},
				{URL: "srv+wss://_wss._tcp.app.test/", Addr: "_wss._tcp.app.test", SRV: true,
					TLS: &BackendTLS{ServerName: "app.test", CA: testdata + "good/ca.pem"}},
				{URL: "srv+https://app.service.consul.", Addr: "app.service.consul", SRV: true, TLS: &BackendTLS{ServerName: "app.service.consul"}},
				{URL: "http://app.service.consul", Addr: "app.service.consul:80"},
			}}},
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
				{Address: "8080.example:80", HTTPSPort: 8443, ProxyProtocol: true, Line: 2, Access: Access{
					Allow: networks("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"), Deny: networks("10.9.0.0/16"),
				}},
				{Address: "[::1]:8443", TLS: &TLS{
					SelfSigned: []string{"localhost", "127.0.0.1", "*.example.com"}, MinVersion: tls.VersionTLS13,
					Curves: []tls.CurveID{tls.CurveP256, tls.X25519MLKEM768}, Protocols: []string{"ocpp1.6", "http/1.1"},
					ClientAuth: "require", ClientCA: testdata + "good/ca.pem", TicketKeys: testdata + "good/tickets",
				}, Line: 7},
				{Address: "127.0.0.1:443", TLS: &TLS{
					ACME: &ACME{
						Hosts: []string{"chat.example.com", "www.example.com"}, Email: "ops@example.com",
						Directory: "https://acme.example.com/directory", Cache: "/var/lib/wsproxy/acme", CA: testdata + "good/ca.pem",
					},
					MinVersion: tls.VersionTLS12, AnyProtocol: true, ClientAuth: "off", NoTickets: true,
					Curves: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519,
						tls.CurveP256, tls.CurveP384, tls.CurveP521},
				}, Line: 18},
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
					DialTimeout: time.Second, HandshakeTimeout: 2 * time.Second, ResponseTimeout: time.Minute, Line: 32,
					Queue:       Queue{Timeout: 5 * time.Second},
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
					Health: HealthCheck{
						Type: "http", Interval: time.Second, Timeout: 3 * time.Second, Rise: 1, Fall: 100, Path: "/healthz?deep=1",
						Host: "[::1]:81", Method: "OPTIONS", Headers: []HealthHeader{{"Authorization", "Basic eA=="}, {"X-Empty", ""}},
						Status: []StatusRange{{200, 200}, {300, 308}, {503, 503}}, Body: "all ok",
					},
					Passive: PassiveCheck{Failures: 1, Window: time.Minute, Pause: time.Second, MaxPause: time.Second, EarlyDeath: -1},
					Origins: Origins{RefuseMissing: true, List: []Origin{
						{Scheme: "https", Host: "example.com", Port: 443}, {Scheme: "https", Host: "example.com", Port: 8443, Below: true},
						{Scheme: "http", Host: "2001:db8::1", Port: 80}, {Scheme: "capacitor", Host: "localhost"}, {Host: "null"},
					}},
					Access: Access{Allow: networks("0.0.0.0/0"), Deny: networks("10.8.0.0/16", "fe80::/10")},
					Limits: LinkLimits{Links: 1000, Handshakes: 10, LinksPerClient: 1000, HandshakeRate: 5, HandshakeBurst: 20},
					SourceAddresses: []netip.Addr{
						netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("::1"),
					},
					Retries: 5, OnDown: PaceLinks, Rebalance: Rebalance{Share: 10, Window: 2 * time.Minute},
				},
				{
					Host: "2001:db8::1", Path: "/exact", Backends: []BackendConfig{{URL: "http://10.0.0.7/", Addr: "10.0.0.7:80"}},
					HostHeader: HostHeader{Backend: true}, DialTimeout: 5 * time.Second, HandshakeTimeout: 10 * time.Second,
					ResponseTimeout: time.Minute, ReadTimeout: 10 * time.Second, Pool: Pool{MaxIdle: 100_000, IdleTimeout: 4 * time.Second},
					Prefix: PathPrefix{Replace: "/other/"}, ProxyProtocol: 2, Origins: Origins{Same: true},
					WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Line: 98,
					Health: HealthCheck{Type: "websocket", Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
						Path: "/", Subprotocol: "chat.v2"},
					Passive: PassiveCheck{Failures: -1, Window: 10 * time.Second, Pause: 2 * time.Minute, MaxPause: 2 * time.Minute,
						EarlyDeath: time.Second},
					Queue:   Queue{Timeout: 5 * time.Second},
					Retries: -1, Rebalance: Rebalance{Window: time.Minute},
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
				BodySize: 10_000_000, TLSHandshakes: 3, Clients: 1,
				LinkLimits: LinkLimits{Links: 100_000_000, Handshakes: -1, LinksPerClient: 100, HandshakeRate: 1_000_000, HandshakeBurst: 1}},
			Drain:       Drain{Window: time.Minute},
			Control:     "/run/wsproxy/control",
			GracePeriod: time.Millisecond,
			Engine:      "goroutines",
			Loops:       3,
			Log:         Log{Level: slog.LevelDebug, Format: "json"},
		},
	}
	t.Setenv("WSPROXY_TEST_PORT", "8080")
	t.Setenv("WSPROXY_TEST_TEXT", `a "b": ${client_ip} $${x} {c}, #d`)
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
		if want.Files == nil {
			want.Files = []string{file}
		}
		for i := range want.Routes {
			fill(&want.Routes[i].File, file)
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("Load(%q) =\n%+v\nwant\n%+v", file, *got, want)
		}
		if _, err := NewTable(got, map[string]string{"echo": "127.0.0.1:1"}, nil); err != nil {
			t.Errorf("NewTable of %q: %v", file, err)
		}
	}
}
