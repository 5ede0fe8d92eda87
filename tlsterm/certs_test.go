package tlsterm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyPair writes a self-signed certificate with a common name, by which tests tell it, and names.
func keyPair(t *testing.T, key crypto.Signer, commonName string, names ...string) KeyPair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     names,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := KeyPair{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	for file, block := range map[string]*pem.Block{
		pair.Cert: {Type: "CERTIFICATE", Bytes: der},
		pair.Key:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

func ecdsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCertificateByServerName(t *testing.T) {
	key := ecdsaKey(t)
	certs, err := LoadCerts([]KeyPair{
		keyPair(t, key, "first", "first.test"),
		keyPair(t, key, "exact", "chat.example.com", "Upper.Example.Com"),
		keyPair(t, key, "wildcard", "*.example.com"),
		keyPair(t, key, "deeper", "*.eu.example.com"),
		keyPair(t, key, "both", "both.test", "*.both.test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, Config{Certs: certs})
	for _, tt := range []struct{ name, want string }{
		{"first.test", "first"},
		{"chat.example.com", "exact"},
		{"CHAT.example.COM", "exact"},
		{"upper.example.com", "exact"},
		{"other.example.com", "wildcard"},
		{"a.eu.example.com", "deeper"},
		{"a.b.eu.example.com", "first"}, // a wildcard stands for one label
		{"a.other.example.com", "first"},
		{"example.com", "first"}, // and not for none
		{"both.test", "both"},
		{"a.both.test", "both"},
		{"unknown.test", "first"},
		{"localhost", "first"},
		{"", "first"},
	} {
		conn, err := shake(addr, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("handshake for %q: %v", tt.name, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != tt.want {
			t.Errorf("certificate for %q = %q, want %q", tt.name, got, tt.want)
		}
		conn.Close()
	}
}

func TestRSAAndECDSASideBySide(t *testing.T) {
	certs, err := LoadCerts([]KeyPair{
		keyPair(t, ecdsaKey(t), "ecdsa", "a.test"),
		keyPair(t, rsaKey(t), "rsa", "a.test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, Config{Certs: certs})
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	onlyECDSA := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	for _, tt := range []struct {
		name, server string
		suites       []uint16
		want         string
	}{
		{"both", "a.test", nil, "ecdsa"},
		{"only RSA", "a.test", onlyRSA, "rsa"},
		{"only ECDSA", "a.test", onlyECDSA, "ecdsa"},
		{"only RSA, a name nobody has", "b.test", onlyRSA, "rsa"},
		{"only ECDSA, a name nobody has", "b.test", onlyECDSA, "ecdsa"},
	} {
		conn, err := shake(addr, &tls.Config{
			ServerName: tt.server, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: tt.suites,
		})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != tt.want {
			t.Errorf("%s: certificate %q, want %q", tt.name, got, tt.want)
		}
		conn.Close()
	}
}

// In TLS 1.3 the suites say nothing of the certificate's kind, the signature algorithms do.
func TestRSAAndECDSASideBySideInTLS13(t *testing.T) {
	certs, err := LoadCerts([]KeyPair{
		keyPair(t, ecdsaKey(t), "ecdsa", "a.test", "*.b.test"),
		keyPair(t, rsaKey(t), "rsa", "a.test", "*.b.test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	pss, p256 := []tls.SignatureScheme{tls.PSSWithSHA256}, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	for _, tt := range []struct {
		server  string
		schemes []tls.SignatureScheme
		want    string
	}{
		{"a.test", pss, "rsa"},
		{"a.test", p256, "ecdsa"},
		{"a.test", append(pss, p256...), "ecdsa"},
		{"x.b.test", pss, "rsa"},
		{"x.b.test", p256, "ecdsa"},
		{"other.test", pss, "rsa"},
		{"", p256, "ecdsa"},
	} {
		cert, err := certs.Get(&tls.ClientHelloInfo{ServerName: tt.server, SignatureSchemes: tt.schemes,
			SupportedVersions: []uint16{tls.VersionTLS13}, SupportedCurves: []tls.CurveID{tls.X25519}})
		if err != nil || cert.Leaf.Subject.CommonName != tt.want {
			t.Errorf("certificate for %q with %v = %v, %v, want %s", tt.server, tt.schemes, cert.Leaf.Subject, err, tt.want)
		}
	}
}

func TestSelfSignedIsForItsNames(t *testing.T) {
	certs, err := SelfSigned([]string{"localhost", "dev.test", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, Config{Certs: certs})
	roots := x509.NewCertPool()
	roots.AddCert(certs.all[0].cert.Leaf)
	for _, name := range []string{"localhost", "dev.test", "192.0.2.1", "127.0.0.1", "::1"} {
		conn, err := shake(addr, &tls.Config{ServerName: name, RootCAs: roots})
		if err != nil {
			t.Errorf("handshake for %q: %v", name, err)
			continue
		}
		conn.Close()
	}
	if conn, err := shake(addr, &tls.Config{ServerName: "other.test", RootCAs: roots}); err == nil {
		conn.Close()
		t.Error("handshake for other.test succeeded, want a name that does not fit")
	}
}

func TestLoadCertsNamesTheFile(t *testing.T) {
	good := keyPair(t, ecdsaKey(t), "good", "a.test")
	other := keyPair(t, ecdsaKey(t), "other", "a.test")
	for name, pair := range map[string]KeyPair{
		"missing":               {Cert: filepath.Join(t.TempDir(), "none.pem"), Key: good.Key},
		"key of another":        {Cert: good.Cert, Key: other.Key},
		"key for a certificate": {Cert: good.Key, Key: good.Key},
	} {
		_, err := LoadCerts([]KeyPair{good, pair})
		if err == nil || !strings.Contains(err.Error(), pair.Cert) {
			t.Errorf("LoadCerts with %s: %v, want an error that names %s", name, err, pair.Cert)
		}
	}
}

func TestNoCertificateIsAnError(t *testing.T) {
	if cert, err := (&Certs{}).Get(&tls.ClientHelloInfo{Conn: &net.TCPConn{}}); err == nil {
		t.Errorf("Get = %v, want an error", cert)
	}
}
