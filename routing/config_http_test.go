package routing

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseTrustedProxy(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"192.0.2.1", "192.0.2.1/32"},
		{"192.0.2.1/32", "192.0.2.1/32"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"::1", "::1/128"},
		{"2001:DB8:0::/32", "2001:db8::/32"},
		{"::/0", "::/0"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"::ffff:0.0.0.0/96", "0.0.0.0/0"},
	} {
		got, err := parseNetwork(tt.text)
		if err != nil || got != netip.MustParsePrefix(tt.want) {
			t.Errorf("parseNetwork(%q) = %v, %v, want %s", tt.text, got, err, tt.want)
		}
	}
}

func TestEverybodyTrustedIsWarnedOf(t *testing.T) {
	cfg, err := parse("proxy.yaml", []byte(`listeners: [{address: ":0"}]
routes: [{backends: [builtin:echo]}]
trusted_proxies: [10.0.0.0/8, 0.0.0.0/0, "::/0"]
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range cfg.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`proxy.yaml:3:31: trusted_proxies[1]: "0.0.0.0/0" is every address: whoever connects can pass for any client`,
		`proxy.yaml:3:42: trusted_proxies[2]: "::/0" is every address: whoever connects can pass for any client`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Warnings =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestURISizeWithinTheHeader: only what the file says of both can be wrong.
func TestURISizeWithinTheHeader(t *testing.T) {
	for _, tt := range []struct {
		name, limits string
		header, uri  int64
	}{
		{"defaults", "{}", 16 << 10, 8 << 10},
		{"a small header", "{header_size: 4KiB}", 4 << 10, 4 << 10},
		{"a large header", "{header_size: 64KiB}", 64 << 10, 8 << 10},
		{"a large URI", "{uri_size: 64KiB}", 16 << 10, 64 << 10},
		{"both the same", "{uri_size: 4KiB, header_size: 4KiB}", 4 << 10, 4 << 10},
	} {
		cfg, err := parse("proxy.yaml", []byte("listeners: [{address: \":0\"}]\nroutes: [{backends: [builtin:echo]}]\nlimits: "+tt.limits))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := cfg.Limits; got.HeaderSize != tt.header || got.URISize != tt.uri {
			t.Errorf("%s: HeaderSize, URISize = %d, %d, want %d, %d", tt.name, got.HeaderSize, got.URISize, tt.header, tt.uri)
		}
	}
}

func TestRouteKeepsWhatItsConfigSays(t *testing.T) {
	value, err := ParseTemplate("${client_ip}")
	if err != nil {
		t.Fatal(err)
	}
	rc := RouteConfig{
		Path: "/ws/*", Backends: []BackendConfig{{URL: "http://a", Addr: "a:80"}},
		ProxyProtocol: 1, NoHTTP: true, Prefix: PathPrefix{Strip: true},
		RequestHeaders:  HeaderRules{Set: []HeaderRule{{"X-Real-IP", value}}},
		ResponseHeaders: HeaderRules{Remove: []string{"Server"}},
		ReadTimeout:     -1, Pool: Pool{MaxIdle: -1, IdleTimeout: time.Second},
	}
	table, err := NewTable(&Config{Routes: []RouteConfig{rc}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := table.Routes()[0]
	if r.ProxyProtocol != 1 || !r.NoHTTP || r.ReadTimeout >= 0 || r.Pool != rc.Pool || r.StripsPrefix() != "/ws" ||
		!reflect.DeepEqual(r.RequestHeaders, rc.RequestHeaders) || !reflect.DeepEqual(r.ResponseHeaders, rc.ResponseHeaders) {
		t.Errorf("Routes()[0] = %+v, want what %+v says", r, rc)
	}
}
