package head

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestOriginAppend(t *testing.T) {
	trusted := func(o *Origin) { o.Trusted = true }
	both := func(o *Origin) { o.Trusted, o.Forwarded = true, true }
	const ours = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8080\r\n"
	const behind = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8080\r\n" // ours behind the list
	tests := []struct {
		name   string
		change func(*Origin)
		fields string
		want   string
	}{
		{"nothing but ours", nil, "A: b\r\n", ours},
		{"nobody is believed", nil,
			"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n" +
				"X-Forwarded-Prefix: /evil\r\nForwarded: for=10.0.0.1\r\n", ours},
		{"IPv6", func(o *Origin) { o.Peer = netip.MustParseAddr("2001:db8::1") }, "",
			"X-Forwarded-For: 2001:db8::1\r\n" + behind},
		{"IPv4 in IPv6", func(o *Origin) { o.Peer = netip.MustParseAddr("::ffff:192.0.2.7") }, "", ours},
		{"a zone", func(o *Origin) { o.Peer = netip.MustParseAddr("fe80::1%eth0") }, "",
			"X-Forwarded-For: fe80::1\r\n" + behind},
		{"no address", func(o *Origin) { o.Peer, o.Forwarded = netip.Addr{}, true }, "",
			"X-Forwarded-For: unknown\r\n" + behind + "Forwarded: for=unknown;host=\"a.example:8080\";proto=https\r\n"},
		{"no Host", func(o *Origin) { o.Host, o.Forwarded = "", true }, "",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7;proto=https\r\n"},
		{"port and prefix", func(o *Origin) { o.Port, o.Prefix = 8443, "/app" }, "",
			ours + "X-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /app\r\n"},

		{"Forwarded", func(o *Origin) { o.Forwarded = true }, "Forwarded: for=10.0.0.1\r\n",
			ours + "Forwarded: for=192.0.2.7;host=\"a.example:8080\";proto=https\r\n"},
		{"Forwarded with a host that is a token", func(o *Origin) { o.Forwarded, o.Host = true, "a" }, "",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\nForwarded: for=192.0.2.7;host=a;proto=https\r\n"},
		{"Forwarded with quotes", func(o *Origin) { o.Forwarded, o.Host = true, `a"b\` }, "",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\"b\\\r\n" +
				`Forwarded: for=192.0.2.7;host="a\"b\\";proto=https` + "\r\n"},
		{"Forwarded for IPv6", func(o *Origin) { o.Forwarded, o.Host, o.Peer = true, "", netip.MustParseAddr("2001:db8::1%1") }, "",
			"X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\nForwarded: for=\"[2001:db8::1]\";proto=https\r\n"},
		{"Forwarded for IPv4 in IPv6", func(o *Origin) { o.Forwarded, o.Host, o.Peer = true, "", netip.MustParseAddr("::ffff:192.0.2.7") }, "",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7;proto=https\r\n"},

		{"a trusted proxy that says nothing", trusted, "A: b\r\n", ours},
		{"a trusted proxy's list goes on", trusted, "X-Forwarded-For: 10.0.0.1\r\n", "X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n" + behind},
		{"of several fields", trusted, "x-forwarded-for: a,b ,, \"c\r\nX-Forwarded-For:\r\nX-FORWARDED-FOR: d\r\n",
			"X-Forwarded-For: a, b, \"c, d, 192.0.2.7\r\n" + behind},
		{"an underscore is not believed", trusted, "X_Forwarded_For: 10.0.0.1\r\nX-Forwarded_Proto: http\r\n", ours},
		{"what it says is kept", trusted,
			"X-Forwarded-Proto: http\r\nx-forwarded-host: b.example:1\r\nX-Forwarded-Port: 080\r\nX-Forwarded-Prefix: /p,q\r\n",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: b.example:1\r\nX-Forwarded-Port: 080\r\n" +
				"X-Forwarded-Prefix: /p,q\r\n"},
		{"the first that says anything", trusted,
			"X-Forwarded-Proto:\r\nX-Forwarded-Proto: , WSS, http\r\nX-Forwarded-Proto: https\r\n" +
				"X-Forwarded-Host: b, c\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Port: 2\r\nX-Forwarded-Host: d\r\n",
			"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: WSS\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 1\r\n"},
		{"what makes no sense is ours", func(o *Origin) { o.Trusted, o.Port, o.Prefix = true, 443, "/app" },
			"X-Forwarded-Proto: ftp\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 65536\r\nX-Forwarded-Prefix: //evil\r\n",
			ours + "X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /app\r\n"},
		{"ports that are none", trusted, "X-Forwarded-Port: 0\r\n", ours},
		{"a port that is long", trusted, "X-Forwarded-Port: 18446744073709551617\r\n", ours},
		{"a port with a sign", trusted, "X-Forwarded-Port: +80\r\n", ours},
		{"prefixes are joined", func(o *Origin) { o.Trusted, o.Prefix = true, "/app" }, "X-Forwarded-Prefix: /outer/\r\n",
			ours + "X-Forwarded-Prefix: /outer/app\r\n"},
		{"a prefix of nothing", trusted, "X-Forwarded-Prefix: /\r\n", ours},
		{"a prefix that is no path", trusted, "X-Forwarded-Prefix: outer\r\n", ours},
		{"a prefix with a space", trusted, "X-Forwarded-Prefix: /a b\r\n", ours},

		{"Forwarded of a trusted proxy, not wanted", trusted, "Forwarded: for=10.0.0.1\r\n", ours},
		{"Forwarded of a trusted proxy", both, "Forwarded: for=10.0.0.1;by=\"a,b\"\r\nforwarded: proto=http , for=_x\r\n",
			ours + "Forwarded: for=10.0.0.1;by=\"a,b\", proto=http, for=_x, for=192.0.2.7;host=\"a.example:8080\";proto=https\r\n"},
		{"Forwarded that would swallow ours", both,
			"Forwarded: for=10.0.0.1\r\nForwarded: for=\"10.0.0.2, for=10.0.0.3\r\nForwarded: for=10.0.0.4\r\n",
			ours + "Forwarded: for=10.0.0.1, for=unknown, for=10.0.0.4, for=192.0.2.7;host=\"a.example:8080\";proto=https\r\n"},
		{"Forwarded that ends in a backslash", both, "Forwarded: a, for=\"\\\r\n",
			ours + "Forwarded: for=unknown, for=192.0.2.7;host=\"a.example:8080\";proto=https\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Check([]byte(tt.fields)); err != nil {
				t.Fatalf("Check(%q) = %v", tt.fields, err)
			}
			r := Request{
				Method: []byte("GET"), Target: []byte("/"), Host: "b:1", Fields: []byte(tt.fields),
				Origin: Origin{Peer: netip.MustParseAddr("192.0.2.7"), Proto: "https", Host: "a.example:8080"},
			}
			if tt.change != nil {
				tt.change(&r.Origin)
			}
			got := string(r.Append(nil))
			got = got[strings.Index(got, "Host: b:1\r\n")+len("Host: b:1\r\n"):]
			if want := tt.want + "\r\n"; got != want {
				t.Errorf("the origin of %q:\n%q, want\n%q", tt.fields, got, want)
			}
		})
	}
}

// What a trusted proxy has of these names is passed on, or not, where it stands.
func TestTrustedFieldsInPlace(t *testing.T) {
	r := Request{
		Method: []byte("GET"), Target: []byte("/"),
		Fields: []byte("X-Forwarded-For: 10.0.0.1\r\nx-forwarded-Server: lb\r\nHost: a\r\nX-Forwarded_Server: evil\r\n" +
			"X-Client-Cert-Subject: CN=root\r\nClient-Cert: :AA==:\r\nClient-Cert-Chain: x\r\nx_client_cert: y\r\n" +
			"X-Forwarded-By: c\r\nForwarded: for=10.0.0.1\r\nforwar_ded: d\r\n"),
		Origin:     Origin{Peer: netip.MustParseAddr("192.0.2.7"), Proto: "http", Trusted: true},
		ClientCert: &ClientCert{Subject: "CN=a", Fingerprint: "00"},
	}
	want := "GET / HTTP/1.1\r\nx-forwarded-Server: lb\r\nHost: a\r\nX-Forwarded-By: c\r\nforwar_ded: d\r\n" +
		"X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\nX-Forwarded-Proto: http\r\n" +
		"X-Client-Cert-Subject: CN=a\r\nX-Client-Cert-Fingerprint: 00\r\n\r\n"
	if got := string(r.Append(nil)); got != want {
		t.Errorf("Append:\n%q, want\n%q", got, want)
	}
}

func TestListsOfTrustedProxiesAreBounded(t *testing.T) {
	const own = "192.0.2.7"
	const size = 98                                       // of an element, 100 with the comma and the space
	const fit = (maxList - len(own)) / (size + len(", ")) // elements
	for _, n := range []int{fit, fit + 1, 3 * fit} {
		var fields []byte
		want := "X-Forwarded-For: "
		for i := range n {
			element := fmt.Sprintf("%0*d", size, i)
			fields = AppendField(fields, "X-Forwarded-For", element)
			if i >= n-fit {
				want += element + ", "
			}
		}
		o := Origin{Peer: netip.MustParseAddr(own), Proto: "http", Trusted: true}
		if line, _, _ := strings.Cut(string(o.append(nil, fields)), "\r\n"); line != want+own {
			t.Errorf("%d elements: %d bytes, want %d", n, len(line), len(want+own))
		}
	}
	// An element that is longer than the whole list may be ends it.
	fields := []byte("X-Forwarded-For: a, " + strings.Repeat("x", maxList) + ", b\r\n")
	o := Origin{Peer: netip.MustParseAddr(own), Proto: "http", Trusted: true}
	if line, _, _ := strings.Cut(string(o.append(nil, fields)), "\r\n"); line != "X-Forwarded-For: b, "+own {
		t.Errorf("behind an element that is too long: %q", line)
	}
}

func TestForwardedProto(t *testing.T) {
	for fields, want := range map[string]string{
		"":                              "",
		"X-Forwarded-Proto: https\r\n":  "https",
		"x-forwarded-proto: HTTP\r\n":   "http",
		"X-Forwarded-Proto: ws\r\n":     "http",
		"X-Forwarded-Proto: WSS\r\n":    "https",
		"X-Forwarded-Proto: ftp\r\n":    "",
		"X_Forwarded_Proto: https\r\n":  "",
		"X-Forwarded-Proto: https,\r\n": "https",
		"X-Forwarded-Proto: ,http, https\r\nX-Forwarded-Proto: https\r\n": "http",
		"X-Forwarded-Proto: \r\nX-Forwarded-Proto: https\r\n":             "https",
		"X-Forwarded-Proto: ftp\r\nX-Forwarded-Proto: https\r\n":          "",
	} {
		if got := ForwardedProto([]byte(fields)); got != want {
			t.Errorf("ForwardedProto(%q) = %q, want %q", fields, got, want)
		}
	}
}
