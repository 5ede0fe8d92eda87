package fronttest

import (
	"os"
	"path/filepath"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// File is the Config of a proxy.yaml, whose first listener says how both of the Proxy's are.
func File(t testing.TB, text string) Config {
	t.Helper()
	name := filepath.Join(t.TempDir(), "proxy.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := routing.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	listener := func(c *tlsterm.Config) {
		if file.Listeners[0].ProxyProtocol {
			c.Proxied = file.TrustedProxies.Contains
		}
	}
	return Config{
		Routes: file.Routes,
		Front: func(c *front.Config) {
			c.Limits, c.Timeouts = file.Limits, file.Timeouts
			c.TrustedProxies, c.Forwarded = file.TrustedProxies, file.Forwarded
		},
		Plain: listener, TLS: listener,
	}
}
