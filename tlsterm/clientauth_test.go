package tlsterm

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA of a test.
type authority struct {
	file string // PEM
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key := ecdsaKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate of the authority for a client or a server.
func (a *authority) issue(t *testing.T, name string, notAfter time.Time, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key := ecdsaKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClientCertificates(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	soon := time.Now().Add(time.Hour)
	client := x509.ExtKeyUsageClientAuth
	good := ours.issue(t, "good", soon, client)
	for _, tt := range []struct {
		name string
		auth ClientAuth
		cert *tls.Certificate
		want Result
	}{
		{"off, with one", NoClientCert, &good, ResultOK},
		{"request, without", RequestClientCert, nil, ResultOK},
		{"request, with one", RequestClientCert, &good, ResultOK},
		{"request, with a stranger's", RequestClientCert, ptr(other.issue(t, "good", soon, client)), ResultClientCert},
		{"request, with one that has expired", RequestClientCert, ptr(ours.issue(t, "good", time.Now().Add(-time.Minute), client)), ResultClientCert},
		{"request, with a server's", RequestClientCert, ptr(ours.issue(t, "good", soon, x509.ExtKeyUsageServerAuth)), ResultClientCert},
		{"require, without", RequireClientCert, nil, ResultClientCert},
		{"require, with one", RequireClientCert, &good, ResultOK},
		{"require, with a stranger's", RequireClientCert, ptr(other.issue(t, "good", soon, client)), ResultClientCert},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+", "+tls.VersionName(version), func(t *testing.T) {
				ln := served(t, Config{Certs: selfSigned(t), ClientAuth: tt.auth, ClientCA: ours.file, Budget: NewBudget(1)})
				cfg := &tls.Config{InsecureSkipVerify: true, MaxVersion: version}
				if tt.cert != nil {
					// Whatever authorities the server names.
					cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.cert, nil }
				}
				conn, err := shake(ln.Addr().String(), cfg)
				if err == nil {
					defer conn.Close()
					// In TLS 1.3 a client learns with its first read what the server made of its certificate.
					if tt.want == ResultOK {
						echo(t, conn)
					} else if _, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "remote error") {
						t.Errorf("read: %v, want an alert", err)
					}
				} else if tt.want == ResultOK {
					t.Fatal(err)
				}
				awaitCount(t, ln, tt.want, 1)
				expectIdle(t, ln)
			})
		}
	}
}

func ptr[T any](v T) *T { return &v }

// A listener with another client CA does not take a session for a certificate of its own.
func TestSessionsDoNotCarryCertificatesAcrossCAs(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	cert := ours.issue(t, "good", time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)
	certs, keys := selfSigned(t), ticketFile(t, 1)
	a := served(t, Config{Certs: certs, ClientAuth: RequireClientCert, ClientCA: ours.file, TicketKeys: keys})
	b := served(t, Config{Certs: certs, ClientAuth: RequireClientCert, ClientCA: other.file, TicketKeys: keys})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(1), Certificates: []tls.Certificate{cert}}
		if !resumes(t, a, cfg, a) {
			t.Errorf("%s: session not resumed where it began", tls.VersionName(version))
		}
		conn, err := shake(b.Addr().String(), cfg)
		if err == nil {
			_, err = io.ReadAll(conn)
			conn.Close()
		}
		if err == nil {
			t.Errorf("%s: a client of another CA was let in", tls.VersionName(version))
		}
	}
	if n := b.Stats().Handshakes[ResultOK]; n != 0 {
		t.Errorf("%d handshakes of another CA's client ok, want none", n)
	}
}

func TestClientCAIsReloaded(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	log, logger := newLines()
	ln := served(t, Config{Certs: selfSigned(t), ClientAuth: RequireClientCert, ClientCA: ours.file, Log: logger})
	cert := other.issue(t, "good", time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)
	data, err := os.ReadFile(other.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		content string
		changed int
		line    string
	}{{"none", 0, "client CA, the old one stays"}, {string(data), 1, "reloaded client CA"}} {
		if err := os.WriteFile(ours.file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := ln.Reload(false); len(r.Changed) != tt.changed || len(log.with(tt.line, ours.file)) != 1 {
			t.Errorf("reload of %.10q = %+v, log %q", tt.content, r, log.with())
		}
	}
	conn, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn)
}
