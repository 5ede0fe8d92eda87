package front_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/tlsterm"
)

// clientCert makes a certificate for a client that is its own CA, and the CA's file.
func clientCert(t *testing.T) (cert tls.Certificate, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice", Organization: []string{"Example"}},
		DNSNames: []string{"alice.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

// forged are fields by which a client claims to be somebody; none may reach a backend.
const forged = "X-Client-Cert-Subject: CN=root\r\nx-client-cert-san: DNS:root\r\nX_Client_Cert_Fingerprint: 00\r\n" +
	"X-Client_Cert-Subject: CN=root\r\nX-Client-Cert: root\r\nClient-Cert: :cm9vdA==:\r\nclient_cert_chain: :cm9vdA==:\r\n"

// A backend is told who a client is by its certificate and by nothing else, for handshakes and for
// plain requests, in the header and behind the body.
func TestClientCertificateReachesTheBackend(t *testing.T) {
	cert, ca := clientCert(t)
	sum := sha256.Sum256(cert.Certificate[0])
	fields := "X-Client-Cert-Subject: CN=alice,O=Example\r\nX-Client-Cert-San: DNS:alice.test\r\n" +
		"X-Client-Cert-Fingerprint: " + hex.EncodeToString(sum[:]) + "\r\n"
	backend := fronttest.Listen(t)
	for _, tt := range []struct {
		name string
		auth tlsterm.ClientAuth
		show []tls.Certificate
		tls  bool
		want string
	}{
		{"plain", tlsterm.NoClientCert, nil, false, ""},
		{"TLS, off", tlsterm.NoClientCert, []tls.Certificate{cert}, true, ""},
		{"TLS, request, none", tlsterm.RequestClientCert, nil, true, ""},
		{"TLS, request, one", tlsterm.RequestClientCert, []tls.Certificate{cert}, true, fields},
		{"TLS, require", tlsterm.RequireClientCert, []tls.Certificate{cert}, true, fields},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fronttest.Start(t, fronttest.Config{
				Backend: backend.Addr,
				TLS:     func(c *tlsterm.Config) { c.ClientAuth, c.ClientCA = tt.auth, ca },
				Front:   func(c *front.Config) { c.Limits.Underscores = true },
			})
			addr := p.Addr
			if tt.tls {
				addr = p.TLSAddr
			}
			_, port, _ := net.SplitHostPort(addr)
			dial := func() *fronttest.Conn {
				if tt.tls {
					return fronttest.DialTLS(t, p.TLSAddr, tt.show...)
				}
				return fronttest.Dial(t, p.Addr)
			}
			check := func(what, head string) {
				if !strings.HasSuffix(head, "X-Forwarded-Host: site.test\r\nX-Forwarded-Port: "+port+"\r\n"+tt.want+"\r\n") {
					t.Errorf("%s: the backend gets\n%s, want at its end\n%s", what, head, tt.want)
				}
				for _, word := range []string{"root", "cm9vdA", "_"} {
					if strings.Contains(head, word) {
						t.Errorf("%s: the backend gets what the client made up:\n%s", what, head)
					}
				}
			}

			c := dial()
			c.Send(strings.Replace(fronttest.Handshake, "Host:", forged+"Host:", 1))
			b := backend.Accept()
			check("handshake", b.Head())
			b.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			c.Answer()
			c.Close()

			c = dial()
			c.Send("POST / HTTP/1.1\r\nHost: site.test\r\n" + forged + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" +
				"0\r\nX-Sum: 1\r\nX-Client-Cert-Subject: CN=root\r\nX_Client_Cert_San: DNS:root\r\n\r\n")
			b = backend.Accept()
			check("request", b.Head())
			b.Bytes("1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")
			b.Send("HTTP/1.1 204 No Content\r\n\r\n")
			c.Answer()
			c.Close()
		})
	}
}
