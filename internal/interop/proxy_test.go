package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxy is a running wsproxy with a listener of each kind.
type proxy struct {
	*process
	plain, tls string // host:port of each listener
	cert       string // the file with its certificate, for clients to trust
}

// route sends a path to a backend. ca is the file of who vouches for one with TLS, if not the system's.
type route struct{ path, backend, ca string }

// startProxy runs wsproxy with some routes. The test stops it in the end and fails unless that goes
// well.
func startProxy(t *testing.T, routes []route) *proxy {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &proxy{cert: filepath.Join(dir, "cert.pem")}
	writeCertificate(t, p.cert, filepath.Join(dir, "key.pem"))
	var config strings.Builder
	config.WriteString(`listeners:
  - address: 127.0.0.1:0
  - address: 127.0.0.1:0
    tls: {certificates: [{cert: cert.pem, key: key.pem}]}
routes:
`)
	for _, r := range routes {
		tls := ""
		if r.ca != "" {
			tls = fmt.Sprintf(", tls: {ca: %q}", r.ca)
		}
		fmt.Fprintf(&config, "  - {path: %q, backends: [%q]%s}\n", r.path, r.backend, tls)
	}
	file := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	announced := make(chan string, 100)
	p.process = launch(t, "wsproxy", func(line string) {
		select {
		case announced <- line:
		default: // nobody waits for it
		}
	}, program, "run", "-c", file)
	t.Cleanup(func() { p.stop(t) })
	for p.plain == "" || p.tls == "" {
		select {
		case line := <-announced:
			p.listens(line)
		case <-p.exited:
			t.Fatalf("wsproxy ended at its start with\n%s", config.String())
		case <-time.After(patience):
			t.Fatal("wsproxy does not say where it listens")
		}
	}
	return p
}

// listens takes the address from a line like "  wss://127.0.0.1:8443/  https://127.0.0.1:8443/".
func (p *proxy) listens(line string) {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	u, err := url.Parse(first)
	switch {
	case err != nil:
	case u.Scheme == "ws":
		p.plain = u.Host
	case u.Scheme == "wss":
		p.tls = u.Host
	}
}

// at is a URL of the proxy: ws and http at the plain listener, wss and https at the other.
func (p *proxy) at(scheme, path string) string {
	if scheme == "wss" || scheme == "https" {
		return scheme + "://" + p.tls + path
	}
	return scheme + "://" + p.plain + path
}

// stop ends the proxy in good order, once.
func (p *proxy) stop(t *testing.T) {
	t.Helper()
	if p.gone() && p.cmd.ProcessState.Success() {
		return
	}
	p.terminate(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("wsproxy, stopped with SIGTERM: %v, want exit status 0", p.cmd.ProcessState)
	}
	log := p.stderr.bytes()
	for _, fault := range []string{"level=ERROR", "panic:", "DATA RACE"} {
		if bytes.Contains(log, []byte(fault)) {
			t.Errorf("wsproxy has logged %q", fault)
		}
	}
}

// writeCertificate makes a certificate for 127.0.0.1 that signs itself.
func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "wsproxy interop"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
