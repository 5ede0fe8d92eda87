package routing

import (
	"net/netip"
	"slices"
	"testing"
)

func TestAccess(t *testing.T) {
	networks := func(texts ...string) (n Networks) {
		for _, text := range texts {
			n = append(n, netip.MustParsePrefix(text))
		}
		return n
	}
	ten, nine := networks("10.0.0.0/8"), networks("10.9.0.0/16")
	for _, tt := range []struct {
		name   string
		access Access
		addr   string // empty for one that is not known
		want   bool
	}{
		{"no lists", Access{}, "192.0.2.1", true},
		{"no lists, unknown", Access{}, "", true},
		{"allowed", Access{Allow: ten}, "10.1.2.3", true},
		{"allowed, mapped", Access{Allow: ten}, "::ffff:10.1.2.3", true},
		{"not allowed", Access{Allow: ten}, "11.0.0.1", false},
		{"not allowed, of the other kind", Access{Allow: ten}, "2001:db8::1", false},
		{"not allowed, unknown", Access{Allow: ten}, "", false},
		{"denied", Access{Deny: nine}, "10.9.1.1", false},
		{"denied, mapped", Access{Deny: nine}, "::ffff:10.9.1.1", false},
		{"not denied", Access{Deny: nine}, "10.8.1.1", true},
		{"denied, with a zone", Access{Deny: networks("fe80::/10")}, "fe80::1%eth0", false},
		{"both, allowed", Access{Allow: ten, Deny: nine}, "10.8.1.1", true},
		{"both, denied", Access{Allow: ten, Deny: nine}, "10.9.1.1", false},
		{"both, denied the larger", Access{Allow: nine, Deny: ten}, "10.9.1.1", false},
		{"both, neither", Access{Allow: ten, Deny: nine}, "192.0.2.1", false},
	} {
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		if got := tt.access.Admits(addr); got != tt.want {
			t.Errorf("%s: Admits(%s) = %v, want %v", tt.name, tt.addr, got, tt.want)
		}
	}
}

func TestAccessThatServesNobodyIsWarnedOf(t *testing.T) {
	const file = `listeners: [{address: ":8080", allow: [192.0.2.1, 10.9.1.0/24, 10.0.0.0/8], deny: [10.9.0.0/16]}]
routes: [{backends: ["builtin:echo"], deny: [0.0.0.0/0]}]
`
	cfg, err := parse("p", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range cfg.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`p:1:51: listeners[0].allow[1]: nobody in "10.9.1.0/24" is served: deny has "10.9.0.0/16", and wins`,
		`p:2:46: routes[0].deny[0]: "0.0.0.0/0" is every address of its kind, and deny wins; to serve some alone, write them in allow and leave deny out`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings:\n%q\nwant\n%q", got, want)
	}
}
