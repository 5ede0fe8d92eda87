package head

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// trusted10 trusts 10.0.0.0/8 and fd00::/8.
func trusted10(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] == 10 || a.Is6() && a.As16()[0] == 0xfd
}

func TestClientAddr(t *testing.T) {
	tests := []struct {
		name, peer, fields string
		want               string // with Forwarded looked at
		without            string // if that is not the same
	}{
		{"nobody is trusted", "192.0.2.1", "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n", "192.0.2.1", ""},
		{"a trusted proxy that says nothing", "10.0.0.1", "A: b\r\n", "10.0.0.1", ""},
		{"one element", "10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1", ""},
		{"from the right", "10.0.0.1", "X-Forwarded-For: 198.51.100.1, 192.0.2.1\r\n", "192.0.2.1", ""},
		{"past those that are trusted", "10.0.0.1", "X-Forwarded-For: 198.51.100.1,192.0.2.1, 10.0.0.3 ,10.0.0.2\r\n", "192.0.2.1", ""},
		{"all are trusted", "10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3", ""},
		{"several fields are one list", "10.0.0.1",
			"X-Forwarded-For: 198.51.100.1\r\nA: b\r\nx-forwarded-for: 192.0.2.1, 10.0.0.3\r\nX-FORWARDED-FOR:\r\nX-Forwarded-For: 10.0.0.2\r\n",
			"192.0.2.1", ""},
		{"empty elements", "10.0.0.1", "X-Forwarded-For: ,192.0.2.1, ,10.0.0.2,\r\n", "192.0.2.1", ""},
		{"garbage ends it", "10.0.0.1", "X-Forwarded-For: 192.0.2.1, x, 10.0.0.2\r\n", "10.0.0.2", ""},
		{"garbage first", "10.0.0.1", "X-Forwarded-For: 192.0.2.1, unknown\r\n", "10.0.0.1", ""},
		{"obfuscated", "10.0.0.1", "X-Forwarded-For: 192.0.2.1, _hidden, 10.0.0.2\r\n", "10.0.0.2", ""},
		{"garbage behind a client", "10.0.0.1", "X-Forwarded-For: x, 192.0.2.1\r\n", "192.0.2.1", ""},
		{"a quote that a client began", "10.0.0.1", "X-Forwarded-For: \"x, 192.0.2.1\r\n", "192.0.2.1", ""},
		{"an underscore is not believed", "10.0.0.1", "X_Forwarded_For: 192.0.2.1\r\n", "10.0.0.1", ""},
		{"IPv4 in IPv6 everywhere", "::ffff:10.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.0.0.2\r\n", "192.0.2.1", ""},
		{"zones", "fd00::1%eth0", "X-Forwarded-For: 2001:db8::1%eth1, fd00::2%x\r\n", "2001:db8::1", ""},
		{"a peer with a zone", "fe80::1%eth0", "", "fe80::1", ""},

		{"IPv4 with a port", "10.0.0.1", "X-Forwarded-For: 192.0.2.1:567, 10.0.0.2:1\r\n", "192.0.2.1", ""},
		{"IPv6", "10.0.0.1", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1", ""},
		{"IPv6 in brackets", "10.0.0.1", "X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1", ""},
		{"IPv6 with a port", "10.0.0.1", "X-Forwarded-For: [2001:db8::1]:567\r\n", "2001:db8::1", ""},
		{"IPv4 in brackets", "10.0.0.1", "X-Forwarded-For: [192.0.2.1]\r\n", "10.0.0.1", ""},
		{"brackets that do not end", "10.0.0.1", "X-Forwarded-For: [2001:db8::1\r\n", "10.0.0.1", ""},
		{"something behind brackets", "10.0.0.1", "X-Forwarded-For: [2001:db8::1]567\r\n", "10.0.0.1", ""},
		{"an empty port", "10.0.0.1", "X-Forwarded-For: 192.0.2.1:\r\n", "10.0.0.1", ""},
		{"a port that is none", "10.0.0.1", "X-Forwarded-For: 192.0.2.1:65536\r\n", "10.0.0.1", ""},
		{"a port alone", "10.0.0.1", "X-Forwarded-For: :80\r\n", "10.0.0.1", ""},
		{"leading zeros", "10.0.0.1", "X-Forwarded-For: 192.0.02.1\r\n", "10.0.0.1", ""},
		{"something very long", "10.0.0.1", "X-Forwarded-For: fe80::1%" + strings.Repeat("x", 100) + "\r\n", "10.0.0.1", ""},

		{"Forwarded", "10.0.0.1", "Forwarded: for=198.51.100.1, for=192.0.2.1;proto=http, proto=http; FOR = 1;For=10.0.0.2\r\n", "192.0.2.1", "10.0.0.1"},
		{"Forwarded is not looked at beside X-Forwarded-For", "10.0.0.1", "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1", ""},
		{"X-Forwarded-For is empty", "10.0.0.1", "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: ,\r\n", "192.0.2.1", "10.0.0.1"},
		{"Forwarded, IPv6", "10.0.0.1", "Forwarded: host=a;for=\"[2001:db8::1]\"\r\n", "2001:db8::1", "10.0.0.1"},
		{"Forwarded, ports", "10.0.0.1", "Forwarded: For=\"[2001:db8::1]:567\", for=\"10.0.0.2:567\"\r\n", "2001:db8::1", "10.0.0.1"},
		{"Forwarded, a port without quotes", "10.0.0.1", "Forwarded: for=192.0.2.1:567\r\n", "192.0.2.1", "10.0.0.1"},
		{"Forwarded, separators in quotes", "10.0.0.1", "Forwarded: by=\";for=198.51.100.1,\\\";\";for=192.0.2.1\r\n", "192.0.2.1", "10.0.0.1"},
		{"Forwarded, without for", "10.0.0.1", "Forwarded: for=192.0.2.1, proto=http, for=10.0.0.2\r\n", "10.0.0.2", "10.0.0.1"},
		{"Forwarded, an empty for", "10.0.0.1", "Forwarded: for=192.0.2.1, for=\"\", for=10.0.0.2\r\n", "10.0.0.2", "10.0.0.1"},
		{"Forwarded, for twice", "10.0.0.1", "Forwarded: for=192.0.2.1;for=192.0.2.1\r\n", "10.0.0.1", ""},
		{"Forwarded, unknown", "10.0.0.1", "Forwarded: for=192.0.2.1, for=unknown, for=10.0.0.2\r\n", "10.0.0.2", "10.0.0.1"},
		{"Forwarded, obfuscated", "10.0.0.1", "Forwarded: for=\"_a:_b\"\r\n", "10.0.0.1", ""},
		{"Forwarded, escaped", "10.0.0.1", "Forwarded: for=\"\\192.0.2.1\"\r\n", "10.0.0.1", ""},
		{"Forwarded, half a quote", "10.0.0.1", "Forwarded: for=192.0.2.1\"\"\r\n", "10.0.0.1", ""},
		{"Forwarded, a quote that a client began to hide what it wrote before", "10.0.0.1",
			"Forwarded: for=198.51.100.1\r\nForwarded: for=\", for=192.0.2.1\r\n", "10.0.0.1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Check([]byte(tt.fields)); err != nil {
				t.Fatalf("Check(%q) = %v", tt.fields, err)
			}
			without := tt.without
			if without == "" {
				without = tt.want
			}
			for forwarded, want := range map[bool]string{true: tt.want, false: without} {
				if got := ClientAddr([]byte(tt.fields), netip.MustParseAddr(tt.peer), trusted10, forwarded); got.String() != want {
					t.Errorf("ClientAddr(%q, %s, %v) = %v, want %s", tt.fields, tt.peer, forwarded, got, want)
				}
			}
		})
	}
}

func TestClientAddrOfNobody(t *testing.T) {
	all := func(netip.Addr) bool { return true }
	if got := ClientAddr([]byte("X-Forwarded-For: 192.0.2.1\r\n"), netip.Addr{}, all, true); got.IsValid() {
		t.Errorf("ClientAddr without a peer = %v", got)
	}
}

func TestClientAddrLooksAtSoMany(t *testing.T) {
	for _, proxies := range []int{0, 1, maxProxies - 1, maxProxies, 5 * maxProxies} {
		list := []string{"192.0.2.1"}
		for i := range proxies {
			list = append(list, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
		}
		looked := 0
		trusted := func(a netip.Addr) bool { looked++; return trusted10(a) }
		got := ClientAddr([]byte("X-Forwarded-For: "+strings.Join(list, ", ")+"\r\n"), netip.MustParseAddr("10.9.9.9"), trusted, false)
		if want := list[max(0, len(list)-maxProxies)]; got.String() != want {
			t.Errorf("behind %d proxies: %v, want %s", proxies, got, want)
		}
		if want := 1 + min(len(list), maxProxies); looked != want {
			t.Errorf("behind %d proxies: looked at %d, want %d", proxies, looked, want)
		}
	}
}
