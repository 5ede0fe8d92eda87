package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tlsConfig is a configuration with the pair that writePair puts into dir.
func tlsConfig(t *testing.T, dir, more string) (file string) {
	t.Helper()
	return config(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls:
      certificates: [{cert: %s/chain.pem, key: %s/key.pem}]
%s
routes: [{backends: [builtin:echo]}]
`, dir, dir, more))
}

func TestCheckWarnsOfCertificatesThatExpire(t *testing.T) {
	dir := t.TempDir()
	writePairUntil(t, dir, time.Now().Add(5*24*time.Hour+time.Hour))
	p := program(t, "check", "-c", tlsConfig(t, dir, ""))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(); status != 0 || !strings.Contains(p.stdout.String(), "warning: ") ||
		!strings.Contains(p.stdout.String(), "in 6 days") || !strings.Contains(p.stdout.String(), "is good") {
		t.Errorf("check exits with %d and says %q %q", status, p.stdout, p.stderr)
	}
}

// shownCert is the certificate that an address shows.
func shownCert(t *testing.T, wss string) string {
	t.Helper()
	addr := strings.TrimSuffix(strings.TrimPrefix(wss, "wss://"), "/")
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: hung}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return string(conn.ConnectionState().PeerCertificates[0].Raw)
}

func TestHangupReloadsCertificates(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGHUP")
	}
	dir := t.TempDir()
	writePair(t, dir)
	p, _, wss := running(t, tlsConfig(t, dir, ""))
	first := shownCert(t, wss)
	writePair(t, dir)
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// By itself or by the signal, whichever comes first.
	p.stderr.await(t, `msg=reloaded signal=hangup what="certificates, ticket keys and client CAs"`)
	if shownCert(t, wss) == first {
		t.Errorf("the old certificate is shown after SIGHUP:\n%s", p.stderr)
	}

	second := shownCert(t, wss)
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.stderr.await(t, "kept=1")
	if !strings.Contains(p.stderr.String(), "the old one stays in use") || shownCert(t, wss) != second {
		t.Errorf("a broken key is not kept out, or not said:\n%s", p.stderr)
	}
}

func TestFilesThatChangeAreReloaded(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	p, _, wss := running(t, tlsConfig(t, dir, ""))
	first := shownCert(t, wss)
	writePair(t, dir)
	p.stderr.await(t, `msg="reloaded certificate"`)
	if shownCert(t, wss) == first {
		t.Errorf("the old certificate is shown:\n%s", p.stderr)
	}
}

func TestRedirectIsAnnounced(t *testing.T) {
	p, ws, wss := running(t, config(t, `
listeners:
  - {address: "127.0.0.1:0", redirect: https}
  - {address: "127.0.0.1:0", tls: {self_signed: [localhost]}}
routes: [{backends: [builtin:echo]}]
`))
	if ws != "" || wss == "" || !strings.Contains(p.stdout.String(), "(redirects to https)") {
		t.Errorf("announcement:\n%s", p.stdout)
	}
}
