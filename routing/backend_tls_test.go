package routing

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// loadBackends loads a config of routes that stands in dir.
func loadBackends(t *testing.T, dir, routes string) (*Config, error) {
	t.Helper()
	file := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(file, []byte("listeners: [{address: \":0\"}]\nroutes:\n"+routes), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file)
}

func TestBackendTLS(t *testing.T) {
	dir := t.TempDir()
	c := newCertificate(t, dir, "wsproxy")
	c.write(t, "client.pem", "client.key")
	c.write(t, "ca.pem", "other")
	at := func(name string) string { return filepath.Join(dir, name) }
	cfg, err := loadBackends(t, dir, `
  - backends:
      - https://a.test
      - {tls: {ca: ca.pem, cert: client.pem, key: client.key}, url: "https://b.test:8443"}
      - {url: "wss://[::1]", tls: {server_name: c.test}}
      - http://d.test
    tls: {ca: ca.pem, server_name: shared.test}
  - path: /2
    backends: ["https://a.test", {url: "https://b.test:8443", tls: {}}]
  - path: /3
    backends: ["http://a.test:443", "https://a.test:443/"]
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []*BackendTLS
	for _, r := range cfg.Routes {
		for _, b := range r.Backends {
			got = append(got, b.TLS)
		}
	}
	want := []*BackendTLS{
		{ServerName: "shared.test", CA: at("ca.pem")},
		{ServerName: "b.test", CA: at("ca.pem"), Cert: at("client.pem"), Key: at("client.key")},
		{ServerName: "c.test"},
		nil,
		{ServerName: "a.test"},
		{ServerName: "b.test"},
		nil,
		{ServerName: "a.test"},
	}
	if !reflect.DeepEqual(got, want) {
		for i := range want {
			t.Errorf("backend %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("Warnings = %v, want none", cfg.Warnings)
	}

	// The same address spoken to in another way is another backend.
	table, err := NewTable(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.Backends()); n != 7 {
		t.Errorf("%d backends, want 7: that of /3 with TLS is that of /2", n)
	}
	if second, third := table.Routes()[1].Backends()[0], table.Routes()[2].Backends(); second != third[1] || third[0].TLS != nil {
		t.Errorf("backends of /2 and /3: %+v, %+v, %+v", second, third[0], third[1])
	}
}

func TestUnverifiedBackendsAreWarnedOf(t *testing.T) {
	cfg, err := loadBackends(t, t.TempDir(), `
  - backends: ["https://a.test", {url: "https://b.test", tls: {}}, "http://c.test"]
    tls: {insecure_skip_verify: on}
  - path: /2
    backends:
      - {url: "https://d.test", tls: {insecure_skip_verify: on}}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`4:16: routes[0].backends[0]: the certificate of "https://a.test" is not verified (insecure_skip_verify): `,
		`8:9: routes[1].backends[0]: the certificate of "https://d.test" is not verified (insecure_skip_verify): `,
	}
	if len(cfg.Warnings) != len(want) {
		t.Fatalf("Warnings = %v, want %d", cfg.Warnings, len(want))
	}
	for i, w := range cfg.Warnings {
		if !strings.HasPrefix(w.String(), cfg.File+":"+want[i]) {
			t.Errorf("warning %d = %q, want %q", i, w, want[i])
		}
	}
}

func TestClientPairOfABackendIsChecked(t *testing.T) {
	dir := t.TempDir()
	newCertificateFrom(t, dir, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "a").write(t, "a.pem", "a.key")
	newCertificate(t, dir, "b").write(t, "b.pem", "b.key")
	const routes = "  - backends: [{url: \"https://a.test\", tls: {cert: %s.pem, key: %s.key}}]\n"
	cfg, err := loadBackends(t, dir, fmt.Sprintf(routes, "a", "a"))
	if err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Problem, "expires within a day") {
		t.Errorf("Load = %v, %v, want a warning", cfg, err)
	}
	if _, err := loadBackends(t, dir, fmt.Sprintf(routes, "a", "b")); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("Load with the key of another: %v", err)
	}
}
