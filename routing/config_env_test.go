package routing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestNoFaultShowsWhatAVariableHolds puts values that may be secrets into every key there is: no fault
// and no warning may show four bytes of what tells one secret from another.
func TestNoFaultShowsWhatAVariableHolds(t *testing.T) {
	const file = `
listeners:
  - address: %[1]s
    redirect: %[1]s
    proxy_protocol: %[1]s
    tls:
      certificates:
        - cert: %[1]s
          key: %[1]s
      self_signed:
        - %[1]s
      min_version: %[1]s
      curves:
        - %[1]s
      alpn:
        - %[1]s
      client_auth: %[1]s
      client_ca: %[1]s
      session_tickets: %[1]s
      ticket_keys: %[1]s
  - address: ":1"
    tls:
      alpn: %[1]s
      acme:
        hosts:
          - %[1]s
        email: %[1]s
        directory: %[1]s
        cache: %[1]s
        ca: %[1]s
  - %[1]s
  - tls: %[1]s
routes:
  - host: %[1]s
    path: %[1]s
    backends:
      - %[1]s
      - url: %[1]s
        tls:
          ca: %[1]s
          server_name: %[1]s
          cert: %[1]s
          key: %[1]s
          insecure_skip_verify: %[1]s
      - %[1]s
    host_header: %[1]s
    proxy_protocol: %[1]s
    http: %[1]s
    path_prefix: %[1]s
    request_headers:
      remove:
        - %[1]s
      set:
        X-A: %[1]s
      add: %[1]s
    response_headers: %[1]s
    dial_timeout: %[1]s
    read_timeout: %[1]s
    pool:
      max_idle: %[1]s
      idle_timeout: %[1]s
    websocket:
      validate: %[1]s
      max_frame: %[1]s
      message_rate: %[1]s
      rate_excess: %[1]s
      ping_interval: %[1]s
    health:
      type: %[1]s
      interval: %[1]s
      rise: %[1]s
      path: %[1]s
      host: %[1]s
      headers:
        X-A: %[1]s
      method: %[1]s
      status: %[1]s
      body: %[1]s
      subprotocol: %[1]s
    passive:
      failures: %[1]s
      pause: %[1]s
      max_pause: 1ms
  - host: %[1]s
    backends: [http://a, http://a]
  - host: %[1]s
    backends: [http://a]
  - host: %[1]s
    backends: [http://a]
    tls: %[1]s
  - path: %[1]s
    path_prefix: strip
    backends: ["builtin:echo"]
  - path: /b
    backends:
      - %[1]s
      - %[1]s
include:
  - %[1]s
  - a: b
trusted_proxies:
  - %[1]s
forwarded: %[1]s
limits:
  header_size: %[1]s
  header_fields: %[1]s
  uri_size: %[1]s
timeouts: %[1]s
engine: %[1]s
loops: %[1]s
log:
  level: %[1]s
  format: %[1]s
`
	const mark = "qZ7x9WvK"
	for _, secret := range []string{
		mark, mark + "/" + mark, "/" + mark, "/" + mark + "/*", mark + ".example.com", "*." + mark, mark + ":80808", mark + ":80",
		":" + mark, "http://" + mark, "http://" + mark + ":99999", "https://u:" + mark + "@h", "ws://h/" + mark, "builtin:" + mark,
		"${" + mark + "}", mark + "\n" + mark, "\x01" + mark, strings.Repeat(mark, 20), strings.Repeat(mark, 600), `"` + mark + `"`,
		mark + "@example.com", "-----BEGIN " + mark, "https:" + mark, "10.0.0.1/" + mark, "/" + mark + "?" + mark, "/../" + mark,
		"X-" + mark, "X " + mark, "h2" + mark, mark + ".yaml", mark + "*.yaml", mark + ".d/*", "[" + mark, "unix:" + mark, "ä" + mark,
	} {
		for _, form := range []string{"${WSPROXY_TEST_SECRET}", `"${WSPROXY_TEST_SECRET}"`, "a${WSPROXY_TEST_SECRET}", "${WSPROXY_TEST_UNSET:-1}${WSPROXY_TEST_SECRET}"} {
			t.Setenv("WSPROXY_TEST_SECRET", secret)
			said := ""
			cfg, err := parse("proxy.yaml", fmt.Appendf(nil, file, form))
			if err == nil {
				t.Fatalf("%q: no fault, %v", secret, cfg)
			}
			for _, f := range err.(Faults) {
				said += f.String() + "\n"
			}
			if faults := strings.Count(said, "\n"); faults < 20 {
				t.Errorf("%q as %s gives %d faults alone", secret, form, faults)
			}
			for i := 0; i+4 <= len(mark); i++ {
				if part := strings.ToLower(mark[i : i+4]); strings.Contains(strings.ToLower(said), part) {
					at := strings.Index(strings.ToLower(said), part)
					line := said[strings.LastIndexByte(said[:at], '\n')+1:]
					line, _, _ = strings.Cut(line, "\n")
					t.Errorf("%q as %s shows in %s", secret, form, line)
					break
				}
			}
		}
	}
	for _, secret := range []string{"48391", "7391ms", "4839100h", "7391.5", "2031-07-09", "10.73.91.48/33", "73.91.48.2/8", "2001:DB8:0:0::7391/64", "true", "7391KiB"} {
		t.Setenv("WSPROXY_TEST_SECRET", secret)
		_, err := parse("proxy.yaml", fmt.Appendf(nil, file, "${WSPROXY_TEST_SECRET}"))
		for _, f := range err.(Faults) {
			if strings.Contains(strings.ToLower(f.Problem), strings.ToLower(secret)) || strings.Contains(f.Problem, "7391") {
				t.Errorf("%q shows in %v", secret, f)
			}
		}
	}
}

func TestVariablesAreBounded(t *testing.T) {
	const head = "listeners: [{address: ':1'}]\nroutes: [{backends: ['builtin:echo']}]\nx-a:\n"
	t.Setenv("WSPROXY_TEST_LONG", strings.Repeat("x", maxExpanded))
	for _, tt := range []struct {
		name, file string
		faults     int
	}{
		{"one", "  - ${WSPROXY_TEST_LONG}\n", 0},
		{"twice in one", "  - ${WSPROXY_TEST_LONG}${WSPROXY_TEST_LONG}\n", 1},
		{"as many as fit", strings.Repeat("  - ${WSPROXY_TEST_LONG}\n", maxExpandedTotal/maxExpanded), 0},
		{"one more", strings.Repeat("  - ${WSPROXY_TEST_LONG}\n", maxExpandedTotal/maxExpanded+1), 1},
	} {
		_, err := parse("proxy.yaml", []byte(head+tt.file))
		faults, _ := err.(Faults)
		if len(faults) != tt.faults || len(faults) > 0 && !strings.Contains(faults[0].Problem, "too long") {
			t.Errorf("%s: %d faults, want %d: %.300v", tt.name, len(faults), tt.faults, err)
		}
	}
	t.Setenv("WSPROXY_TEST_LONG", "\xff")
	if _, err := parse("proxy.yaml", []byte(head+"  - ${WSPROXY_TEST_LONG}\n")); err == nil || !strings.Contains(err.Error(), "no UTF-8") {
		t.Errorf("bytes that are no UTF-8 give %v", err)
	}
}

// TestVariablesMeanNoYAML: what a variable holds is one text, whatever it looks like.
func TestVariablesMeanNoYAML(t *testing.T) {
	for _, held := range []string{"{a: b}", "[a, b]", "&a", "*a", "!!int 7", "# a", "- a", "a: b", "|", "'a", "${X}", "$${", "${client_ip}", "$"} {
		t.Setenv("WSPROXY_TEST_TEXT", held)
		for _, form := range []string{"${WSPROXY_TEST_TEXT}", "'${WSPROXY_TEST_TEXT}'", "${WSPROXY_TEST_UNSET:-}${WSPROXY_TEST_TEXT}"} {
			cfg, err := parse("proxy.yaml", []byte("listeners: [{address: ':1'}]\nroutes:\n"+
				"  - backends: ['builtin:echo']\n    request_headers:\n      set:\n        X-A: "+form+"\n        X-B: \""+strings.Trim(form, "'")+"{client_ip}\"\n"))
			if err != nil {
				t.Errorf("%q as %s: %v", held, form, err)
				continue
			}
			for i, more := range []string{"", "{client_ip}"} {
				value := cfg.Routes[0].RequestHeaders.Set[i].Value
				if got := string(value.Append(nil, &Vars{})); got != held+more || !value.Hidden() {
					t.Errorf("%q as %s%s is sent as %q", held, form, more, got)
				}
			}
		}
	}
}

func TestVariablesMayBeTyped(t *testing.T) {
	for _, tt := range []struct{ held, form, want string }{
		{"30", "${WSPROXY_TEST_TEXT}", "has no unit"},
		{"30", `"${WSPROXY_TEST_TEXT}"`, "is not a duration"},
		{"30", "!!str ${WSPROXY_TEST_TEXT}", "is not a duration"},
		{"", "${WSPROXY_TEST_TEXT}", "nothing stands here"},
		{"", "${WSPROXY_TEST_TEXT:-30}", "has no unit"},
		{"30", "${WSPROXY_TEST_TEXT}0", "is not a duration"},
		{"30", "${WSPROXY_TEST_TEXT:-2s}", "has no unit"},
	} {
		t.Setenv("WSPROXY_TEST_TEXT", tt.held)
		_, err := parse("proxy.yaml", []byte("listeners: [{address: ':1'}]\nroutes: [{backends: ['builtin:echo']}]\ngrace_period: "+tt.form+"\n"))
		faults, _ := err.(Faults)
		if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.Problem, tt.want) && f.Line == 3 && f.Column == 15 }) {
			t.Errorf("%q as %s gives %v, want %q", tt.held, tt.form, err, tt.want)
		}
	}
}
