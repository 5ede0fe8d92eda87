package routing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// certificate is one made for a test, in a folder.
type certificate struct {
	dir       string
	cert, key []byte // PEM
}

func newCertificate(t *testing.T, dir string, names ...string) certificate {
	return newCertificateFrom(t, dir, time.Now().Add(-48*time.Hour), time.Now().Add(15*24*time.Hour), names...)
}

func newCertificateFrom(t *testing.T, dir string, from, to time.Time, names ...string) certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if len(names) == 0 {
		template.IPAddresses = nil
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{
		dir:  dir,
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

func (c certificate) write(t *testing.T, cert, key string) {
	t.Helper()
	for name, data := range map[string][]byte{cert: c.cert, key: c.key} {
		if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// loadWith loads a config in dir with one certificate.
func loadWith(t *testing.T, dir, cert, key string) (*Config, error) {
	t.Helper()
	file := filepath.Join(dir, "proxy.yaml")
	text := fmt.Sprintf("listeners:\n  - address: \":0\"\n    tls:\n      certificates:\n        - cert: %s\n          key: %s\n"+
		"routes: [{backends: [builtin:echo]}]\n", cert, key)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file)
}

func TestCertificatesAreRead(t *testing.T) {
	dir := t.TempDir()
	c := newCertificate(t, dir, "example.com", "*.example.com")
	c.write(t, "chain.pem", "key.pem")
	for _, tt := range []struct{ name, cert, key string }{
		{"relative to the config's folder", "chain.pem", "./key.pem"},
		{"absolute", filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")},
	} {
		cfg, err := loadWith(t, dir, tt.cert, tt.key)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := cfg.Listeners[0].TLS.Certificates[0]
		if got.Cert != filepath.Join(dir, "chain.pem") || got.Key != filepath.Join(dir, "key.pem") {
			t.Errorf("%s: Cert, Key = %q, %q, want both in %q", tt.name, got.Cert, got.Key, dir)
		}
		if want := []string{"example.com", "*.example.com", "127.0.0.1"}; !slices.Equal(got.Names, want) {
			t.Errorf("%s: Names = %q, want %q", tt.name, got.Names, want)
		}
		if len(cfg.Warnings) > 0 || got.NotAfter.Before(time.Now()) {
			t.Errorf("%s: Warnings = %v, NotAfter = %v, want none and later", tt.name, cfg.Warnings, got.NotAfter)
		}
	}
}

func TestBadCertificates(t *testing.T) {
	dir := t.TempDir()
	c := newCertificate(t, dir, "example.com")
	c.write(t, "chain.pem", "key.pem")
	newCertificate(t, dir, "example.com").write(t, "other.pem", "other.key")
	secret := "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
	for name, text := range map[string]string{
		"broken.pem":    "-----BEGIN CERTIFICATE-----\n" + secret + "\n-----END CERTIFICATE-----\n",
		"broken.key":    "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
		"encrypted.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + secret + "\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"old.key":       "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + secret + "\n-----END RSA PRIVATE KEY-----\n",
		"odd.key":       "-----BEGIN " + secret + "-----\n" + secret + "\n-----END " + secret + "-----\n",
		"empty":         "",
		"large":         strings.Repeat(secret, maxPEMSize/len(secret)+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ cert, key, want string }{
		{"chain.pem", "other.key", `6:16: …key: "/other.key" is not the key of the certificate in "/chain.pem"`},
		{"chain.pem", "chain.pem", `6:16: …key: "/chain.pem" holds a certificate and no private key`},
		{"chain.pem", "broken.key", `6:16: …key: "/broken.key" holds a key that cannot be read; RSA, ECDSA and Ed25519 are supported`},
		{"chain.pem", "encrypted.key", `6:16: …key: "/encrypted.key" holds an encrypted key; a key without passphrase is needed`},
		{"chain.pem", "old.key", `6:16: …key: "/old.key" holds an encrypted key; a key without passphrase is needed`},
		{"chain.pem", "odd.key", `6:16: …key: "/odd.key" holds no private key; a PEM file with BEGIN PRIVATE KEY is needed`},
		{"chain.pem", "empty", `6:16: …key: "/empty" holds no private key; a PEM file with BEGIN PRIVATE KEY is needed`},
		{"chain.pem", "large", `6:16: …key: "/large": is too large; at most 1024 KiB are read`},
		{"key.pem", "key.pem", `5:17: …cert: "/key.pem" holds no certificate; a PEM file with BEGIN CERTIFICATE is needed`},
		{"broken.pem", "key.pem", `5:17: …cert: "/broken.pem" holds a certificate that cannot be read; a PEM file of X.509 certificates is needed`},
	} {
		_, err := loadWith(t, dir, tt.cert, tt.key)
		if err == nil {
			t.Errorf("Load with %s, %s has no fault", tt.cert, tt.key)
			continue
		}
		got := strings.TrimPrefix(err.Error(), filepath.Join(dir, "proxy.yaml")+":")
		got = strings.NewReplacer(dir, "", "listeners[0].tls.certificates[0].", "…").Replace(got)
		if got != tt.want {
			t.Errorf("Load with %s, %s says\n%s\nwant\n%s", tt.cert, tt.key, got, tt.want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("Load with %s, %s shows what the file holds: %v", tt.cert, tt.key, err)
		}
	}
}

func TestDoubtfulCertificatesAreWarnedOf(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name     string
		from, to time.Time
		names    []string
		want     string
	}{
		{"expired", now.Add(-time.Hour), now.Add(-time.Minute), []string{"a"}, "expired on "},
		{"early", now.Add(time.Hour), now.Add(2 * time.Hour), []string{"a"}, "is not valid before "},
		{"over within a day", now.Add(-time.Hour), now.Add(time.Hour), []string{"a"}, "expires within a day"},
		{"over soon", now.Add(-time.Hour), now.Add(13*24*time.Hour + time.Hour), []string{"a"},
			"expires on " + now.Add(13*24*time.Hour+time.Hour).UTC().Format(time.DateOnly) + ", in 14 days"},
		{"nameless", now.Add(-time.Hour), now.Add(15 * 24 * time.Hour), nil, "is for no host name and no IP address"},
	} {
		dir := t.TempDir()
		newCertificateFrom(t, dir, tt.from, tt.to, tt.names...).write(t, "chain.pem", "key.pem")
		cfg, err := loadWith(t, dir, "chain.pem", "key.pem")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Problem, tt.want) || cfg.Warnings[0].Line != 5 {
			t.Errorf("%s: Warnings = %v, want one in line 5 with %q", tt.name, cfg.Warnings, tt.want)
		}
	}
}
