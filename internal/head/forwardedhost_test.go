package head

import "testing"

func TestForwardedHost(t *testing.T) {
	for _, tt := range []struct{ name, fields, want string }{
		{"none", "Host: a\r\n", ""},
		{"one", "X-Forwarded-Host: a.test:8443\r\n", "a.test:8443"},
		{"a list, from the client on", "x-forwarded-host: a.test, b.test\r\n", "a.test"},
		{"two fields", "X-Forwarded-Host: a.test\r\nX-Forwarded-Host: b.test\r\n", "a.test"},
		{"empty, then one", "X-Forwarded-Host:\r\nX-Forwarded-Host: b.test\r\n", "b.test"},
		{"no host", "X-Forwarded-Host: a/b\r\n", ""},
	} {
		if got := ForwardedHost([]byte(tt.fields)); string(got) != tt.want {
			t.Errorf("%s: ForwardedHost = %q, want %q", tt.name, got, tt.want)
		}
	}
}
