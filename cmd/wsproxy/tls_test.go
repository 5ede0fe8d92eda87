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
	p.stderr.await(t, "msg=reloaded ") // the file is taken over by itself or by the signal, whichever comes first
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
	p.stderr.await(t, `msg="not reloaded, all goes on as it was"`)
	if !strings.Contains(p.stderr.String(), filepath.Join(dir, "key.pem")) || shownCert(t, wss) != second {
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

// What a listener's tls says is what its clients meet, and two nodes with the same ticket keys resume
// each other's sessions.
func TestTLSKeysReachTheListener(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	tickets := filepath.Join(dir, "tickets")
	if err := os.WriteFile(tickets, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := tlsConfig(t, dir, `      min_version: "1.3"
      curves: [P-384]
      alpn: [ocpp1.6]
      ticket_keys: `+tickets)
	_, _, one := running(t, shared)
	_, _, two := running(t, shared)
	_, _, off := running(t, tlsConfig(t, dir, "      session_tickets: off\n      alpn: off"))
	_, _, strict := running(t, tlsConfig(t, dir, "      client_auth: require\n      client_ca: "+dir+"/chain.pem"))

	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "chat.example.com", NextProtos: []string{"ocpp1.6"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, tt := range []struct {
		name, wss string
		resumed   bool
	}{{"first", one, false}, {"again", one, true}, {"another node", two, true}} {
		state := meet(t, tt.wss, cfg)
		if state == nil || state.Version != tls.VersionTLS13 || state.CurveID != tls.CurveP384 ||
			state.NegotiatedProtocol != "ocpp1.6" || state.DidResume != tt.resumed {
			t.Errorf("%s: %+v, want TLS 1.3, P-384, ocpp1.6, resumed %v", tt.name, state, tt.resumed)
		}
	}
	if meet(t, one, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) != nil {
		t.Error("TLS 1.2 was spoken, want 1.3 only")
	}
	if meet(t, one, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) != nil {
		t.Error("http/1.1 was accepted, want ocpp1.6 only")
	}
	without := &tls.Config{InsecureSkipVerify: true, ServerName: "chat.example.com", NextProtos: []string{"h2"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		if state := meet(t, off, without); state == nil || state.DidResume || state.NegotiatedProtocol != "" {
			t.Errorf("without tickets and ALPN: %+v", state)
		}
	}
	if meet(t, strict, &tls.Config{InsecureSkipVerify: true}) != nil {
		t.Error("a client without a certificate was let in")
	}
}

// meet asks for something over TLS, and returns what was agreed on; nil when there is no answer.
func meet(t *testing.T, wss string, cfg *tls.Config) *tls.ConnectionState {
	t.Helper()
	addr := strings.TrimSuffix(strings.TrimPrefix(wss, "wss://"), "/")
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: hung}, "tcp", addr, cfg)
	if err != nil {
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hung))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: chat.example.com\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil
	}
	state := conn.ConnectionState()
	return &state
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

// Whoever takes any certificate of a backend is told so at each start, once for each.
func TestUnverifiedBackendsAreWarnedOf(t *testing.T) {
	p, _, _ := running(t, config(t, `
listeners: [{address: "127.0.0.1:0"}]
routes:
  - tls: {insecure_skip_verify: on}
    backends: ["https://127.0.0.1:1", "https://127.0.0.1:2"]
  - path: /verified
    backends: ["https://127.0.0.1:3"]
`))
	p.stderr.await(t, "127.0.0.1:2")
	if n := strings.Count(p.stderr.String(), "is not verified (insecure_skip_verify)"); n != 2 || strings.Contains(p.stderr.String(), "127.0.0.1:3") {
		t.Errorf("%d warnings, want one for each of the two:\n%s", n, p.stderr)
	}
}

// What tls says of a backend is how it is spoken to, for requests and for links, by its name.
func TestBackendTLSKeysReachTheBackend(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	_, _, wss := running(t, tlsConfig(t, dir, ""))
	_, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(wss, "wss://"), "/"))
	for _, engine := range []string{"auto", "goroutines"} {
		_, ws, _ := running(t, config(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
engine: %s
routes:
  - backends: [{url: "wss://localhost:%s", tls: {ca: %s/chain.pem, server_name: chat.example.com}}]
  - path: /untrusted
    backends: ["wss://localhost:%s"]
`, engine, port, dir, port)))
		stdout, _, err := try(t, ws, connectOptions{}, "hello\n")
		if err != nil || stdout != "hello\n" {
			t.Errorf("engine %s: %q, %v, want hello", engine, stdout, err)
		}
		if _, _, err := try(t, ws+"untrusted", connectOptions{}, ""); err == nil || !strings.Contains(err.Error(), "502") {
			t.Errorf("engine %s: a backend nobody vouches for: %v, want 502", engine, err)
		}
	}
}
