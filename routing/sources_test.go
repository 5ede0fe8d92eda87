package routing

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSourcesTakeTurns(t *testing.T) {
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	table, err := NewTable(&Config{Routes: []RouteConfig{
		{Backends: []BackendConfig{{URL: "http://10.0.0.7:1", Addr: "10.0.0.7:1"}}, SourceAddresses: []netip.Addr{a, b, c}},
		{Path: "/none", Backends: []BackendConfig{{URL: "http://10.0.0.7:1", Addr: "10.0.0.7:1"}}},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := table.Routes()[0]
	for i, want := range [][]netip.Addr{{a, b, c}, {b, c, a}, {c, a, b}, {a, b, c}} {
		if got := r.Sources(); !slices.Equal(got, want) {
			t.Errorf("turn %d: Sources() = %v, want %v", i, got, want)
		}
	}
	if got := table.Routes()[1].Sources(); len(got) != 0 {
		t.Errorf("Sources() of a route without = %v, want none", got)
	}
}

// What Load lets nobody write.
func TestNewTableRefusesBadLimitsAndSources(t *testing.T) {
	app := []BackendConfig{{URL: "http://10.0.0.7:1", Addr: "10.0.0.7:1"}}
	for _, tt := range []struct {
		name  string
		route RouteConfig
		want  string
	}{
		{"links", RouteConfig{Limits: LinkLimits{Links: -1}}, "limits: a limit is negative"},
		{"a rate", RouteConfig{Limits: LinkLimits{HandshakeRate: -1}}, "limits: a limit is negative"},
		{"no address", RouteConfig{SourceAddresses: []netip.Addr{{}}}, "source_addresses: "},
		{"any address", RouteConfig{SourceAddresses: []netip.Addr{netip.IPv4Unspecified()}}, "source_addresses: "},
		{"a mapped address", RouteConfig{SourceAddresses: []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")}}, "source_addresses: "},
	} {
		tt.route.Backends = app
		if _, err := NewTable(&Config{Routes: []RouteConfig{tt.route}}, nil, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewTable: %v, want %q", tt.name, err, tt.want)
		}
	}
}
