package head

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestClientCertOf(t *testing.T) {
	id := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/a b,c"}
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name         string
		cert         x509.Certificate
		subject, san string
	}{
		{"all kinds", x509.Certificate{
			Subject:     pkix.Name{CommonName: "alice", Organization: []string{"Example"}},
			DNSNames:    []string{"a.example", "*.b.example"},
			IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
			URIs:        []*url.URL{id}, EmailAddresses: []string{"alice@example.org"},
		}, "CN=alice,O=Example",
			"DNS:a.example, DNS:*.b.example, IP:192.0.2.1, IP:2001:db8::1, URI:spiffe://example.org/a%20b%2Cc, email:alice@example.org"},
		{"none", x509.Certificate{}, "", ""},
		{"what would end a field", x509.Certificate{
			Subject: pkix.Name{CommonName: "a\r\nX-Admin: 1\x00"}, DNSNames: []string{"a\r\nX-Admin: 1"},
		}, `CN=a\0D\0AX-Admin: 1\00`, "DNS:a%0D%0AX-Admin:%201"},
		{"what would be another name", x509.Certificate{
			Subject: pkix.Name{CommonName: "a,O=Other"}, DNSNames: []string{"a, DNS:root", "b%2C"},
		}, `CN=a\,O=Other`, "DNS:a%2C%20DNS:root, DNS:b%252C"},
		{"not ASCII", x509.Certificate{Subject: pkix.Name{CommonName: "é"}}, `CN=\C3\A9`, ""},
		{"very many", x509.Certificate{DNSNames: []string{long, long, long, long, long, "y"}}, "",
			"DNS:" + strings.Join([]string{long, long, long, long}, ", DNS:") + ", DNS:y"},
	} {
		got := ClientCertOf(&tt.cert)
		if got.Subject != tt.subject || got.San != tt.san || len(got.Fingerprint) != 64 {
			t.Errorf("%s:\n%q\n%q %s, want\n%q\n%q", tt.name, got.Subject, got.San, got.Fingerprint, tt.subject, tt.san)
		}
		if err := Check(got.append(nil)); err != nil {
			t.Errorf("%s: its fields: %v", tt.name, err)
		}
	}
}

func TestReserved(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "x_forwarded-host": true, "FORWARDED": true, "X-Forwarded": false,
		"X-Client-Cert": true, "X-Client-Cert-Subject": true, "x_client_cert_san": true, "X-Client_Cert-Anything": true,
		"Client-Cert": true, "client_cert": true, "Client-Cert-Chain": true, "CLIENT_CERT_CHAIN": true,
		"X-Client-Certificate": false, "X-Client": false, "Client-Cert-Other": true, "Cookie": false,
	} {
		if got := Reserved([]byte(name)); got != want {
			t.Errorf("Reserved(%q) = %v, want %v", name, got, want)
		}
	}
}
