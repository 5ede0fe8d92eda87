package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCert writes a certificate with its key.
func writeCert(t *testing.T, cert tls.Certificate) KeyPair {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pair := KeyPair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{
		pair.Cert: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, pair.Key: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

func TestClientConfig(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	soon := time.Now().Add(time.Hour)
	server := writeCert(t, ca.issue(t, "backend.test", soon, x509.ExtKeyUsageServerAuth))
	client := writeCert(t, ca.issue(t, "wsproxy", soon, x509.ExtKeyUsageClientAuth))
	ln := served(t, Config{Certs: mustLoad(t, server)})
	strict := served(t, Config{Certs: mustLoad(t, server), ClientAuth: RequireClientCert, ClientCA: ca.file})
	for _, tt := range []struct {
		name string
		cfg  ClientConfig
		to   *Listener
		want string // in the error; empty for none
	}{
		{"its CA and name", ClientConfig{ServerName: "backend.test", CA: ca.file}, ln, ""},
		{"the system's CAs", ClientConfig{ServerName: "backend.test"}, ln, "unknown authority"},
		{"another CA", ClientConfig{ServerName: "backend.test", CA: other.file}, ln, "unknown authority"},
		{"another name", ClientConfig{ServerName: "other.test", CA: ca.file}, ln, "not other.test"},
		{"anything", ClientConfig{ServerName: "other.test", InsecureSkipVerify: true}, ln, ""},
		{"a certificate", ClientConfig{ServerName: "backend.test", CA: ca.file, Cert: client.Cert, Key: client.Key}, strict, ""},
	} {
		cfg, err := tt.cfg.TLS()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		conn, err := shake(tt.to.Addr().String(), cfg)
		if err == nil {
			echo(t, conn)
			if proto := conn.ConnectionState().NegotiatedProtocol; proto != "http/1.1" {
				t.Errorf("%s: protocol %q, want http/1.1", tt.name, proto)
			}
			conn.Close()
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.pem")
	for _, cfg := range []ClientConfig{{CA: missing}, {Cert: missing, Key: client.Key}, {Cert: client.Cert, Key: missing},
		{CA: client.Key}, {Cert: client.Cert, Key: server.Key}} {
		if _, err := cfg.TLS(); err == nil || !strings.Contains(err.Error(), "load ") {
			t.Errorf("%+v: %v, want an error", cfg, err)
		}
	}
}

// A backend that speaks only what is old gets no request.
func TestClientConfigSpeaksAEADsOnly(t *testing.T) {
	cfg, err := (&ClientConfig{ServerName: "localhost", InsecureSkipVerify: true}).TLS()
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t).all[0].cert
	for name, server := range map[string]*tls.Config{
		"CBC":     {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"TLS 1.1": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		server.Certificates = []tls.Certificate{*cert}
		inner, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			if conn, err := inner.Accept(); err == nil {
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			}
		}()
		if conn, err := shake(inner.Addr().String(), cfg); err == nil {
			conn.Close()
			t.Errorf("handshake with a backend of %s succeeded", name)
		}
		<-accepted
		inner.Close()
	}
}
