package routing

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

var update = flag.Bool("update", false, "write the .want files of testdata/config/bad anew, to be read before they are kept")

const testdata = "../testdata/config/"

func configs(t testing.TB, folder string) []string {
	files, err := filepath.Glob(testdata + folder + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	return files
}

// TestBadConfigsGiveTheirMessage holds every file of bad/ against the .want beside it.
func TestBadConfigsGiveTheirMessage(t *testing.T) {
	for _, file := range configs(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file)
			if err == nil {
				t.Fatalf("Load(%q) has no fault", file)
			}
			got := strings.ReplaceAll(err.Error(), testdata+"bad/", "") + "\n"
			wantFile := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("Load(%q) says\n%s\nwant\n%s", file, got, want)
			}
			for _, word := range []string{"hunter2", "c2VjcmV0", "!!", "yaml.", "routing.", "map[", "string"} {
				if strings.Contains(got, word) {
					t.Errorf("Load(%q) prints %q:\n%s", file, word, got)
				}
			}
			if _, again := Load(file); again == nil || strings.ReplaceAll(again.Error(), testdata+"bad/", "")+"\n" != got {
				t.Errorf("Load(%q) says another time\n%v\nwant\n%s", file, again, got)
			}
		})
	}
}

func TestGoodConfigs(t *testing.T) {
	echo := BackendConfig{URL: "builtin:echo", Builtin: "echo"}
	defaults := func(c Config) Config {
		c.FillDefaults()
		return c
	}
	app := []BackendConfig{{URL: "http://10.0.0.7:9000", Addr: "10.0.0.7:9000"}, {URL: "ws://10.0.0.8:9000/", Addr: "10.0.0.8:9000"}}
	want := map[string]Config{
		"short.yaml": {
			Listeners: []Listener{{Address: ":8080", Line: 2}},
			Routes: []RouteConfig{{Path: "/*", Backends: app[:1], DialTimeout: 5 * time.Second,
				HandshakeTimeout: 10 * time.Second, ResponseTimeout: time.Minute,
				WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Line: 4}},
			Timeouts:    Timeouts{TLSHandshake: 10 * time.Second, RequestHeader: 10 * time.Second, KeepAlive: time.Minute},
			Limits:      Limits{HeaderSize: 16384},
			GracePeriod: 30 * time.Second,
			Engine:      "auto",
			Log:         Log{Format: "text"},
		},
		"empty-sections.yaml": defaults(Config{
			Listeners: []Listener{{Address: ":0", Line: 1}, {Address: ":0", Line: 1}},
			Routes:    []RouteConfig{{Backends: []BackendConfig{echo}, Line: 2}},
		}),
		"aliases.yaml": defaults(Config{
			Listeners: []Listener{{Address: "127.0.0.1:8080", Line: 6}},
			Routes: []RouteConfig{
				{Host: "one.example.com", Backends: app, DialTimeout: 20 * time.Second, HandshakeTimeout: 90 * time.Second, Line: 8},
				{Host: "two.example.com", Path: "/two", Backends: app, DialTimeout: 20 * time.Second, HandshakeTimeout: 3 * time.Second,
					ResponseTimeout: 2 * time.Second, Line: 11},
			},
		}),
		"all-keys.yaml": {
			Listeners: []Listener{
				{Address: "8080.example:80", HTTPSPort: 8443, Line: 2},
				{Address: "[::1]:8443", TLS: &TLS{
					SelfSigned: []string{"localhost", "127.0.0.1", "*.example.com"}, MinVersion: tls.VersionTLS13,
					Curves: []tls.CurveID{tls.CurveP256, tls.X25519MLKEM768}, Protocols: []string{"ocpp1.6", "http/1.1"},
					ClientAuth: "require", ClientCA: testdata + "good/ca.pem", TicketKeys: testdata + "good/tickets",
				}, Line: 4},
				{Address: "127.0.0.1:443", TLS: &TLS{
					ACME: &ACME{
						Hosts: []string{"chat.example.com", "www.example.com"}, Email: "ops@example.com",
						Directory: "https://acme.example.com/directory", Cache: "/var/lib/wsproxy/acme", CA: testdata + "good/ca.pem",
					},
					MinVersion: tls.VersionTLS12, AnyProtocol: true, ClientAuth: "off", NoTickets: true,
					Curves: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519,
						tls.CurveP256, tls.CurveP384, tls.CurveP521},
				}, Line: 14},
			},
			Routes: []RouteConfig{
				{
					Host: "*.example.com", Path: "/ws/*",
					Backends: []BackendConfig{
						{URL: "HTTP://App_1:9000", Addr: "app_1:9000"}, {URL: "ws://[::1]", Addr: "[::1]:80"},
						{URL: "https://10.0.0.9", Addr: "10.0.0.9:443", TLS: &BackendTLS{ServerName: "other.example"}},
						{URL: "wss://Secure.example:8443", Addr: "secure.example:8443",
							TLS: &BackendTLS{ServerName: "secure.example", CA: testdata + "good/ca.pem"}},
						echo,
					},
					HostHeader:  HostHeader{Literal: "app.internal:9000"},
					DialTimeout: time.Second, HandshakeTimeout: 2 * time.Second, ResponseTimeout: time.Minute, Line: 26,
					WebSocket: WebSocket{
						NoValidation: true, MaxFrame: 125, MaxMessage: 1 << 20, MessageRate: 100, MessageBurst: 250, RateBackend: true, RateWait: true,
						PingInterval: 30 * time.Second, PongTimeout: 5 * time.Second, PingBackend: true,
						IdleTimeout: 5 * time.Minute, MaxAge: 24 * time.Hour, StallTimeout: -1,
					},
				},
				{
					Host: "2001:db8::1", Path: "/exact", Backends: []BackendConfig{{URL: "http://10.0.0.7/", Addr: "10.0.0.7:80"}},
					HostHeader: HostHeader{Backend: true}, DialTimeout: 5 * time.Second, HandshakeTimeout: 10 * time.Second,
					ResponseTimeout: time.Minute, WebSocket: WebSocket{PongTimeout: 10 * time.Second, StallTimeout: time.Minute}, Line: 53,
				},
			},
			Timeouts:    Timeouts{TLSHandshake: time.Second, RequestHeader: 2 * time.Second, KeepAlive: 24 * time.Hour},
			Limits:      Limits{HeaderSize: 32768, BodySize: 10_000_000, TLSHandshakes: 3},
			GracePeriod: time.Millisecond,
			Engine:      "goroutines",
			Loops:       3,
			Log:         Log{Level: slog.LevelDebug, Format: "json"},
		},
	}
	for _, file := range configs(t, "good") {
		got, err := Load(file)
		if err != nil {
			t.Errorf("Load(%q): %v", file, err)
			continue
		}
		want, ok := want[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: nothing says what it should give", file)
			continue
		}
		want.File = file
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("Load(%q) =\n%+v\nwant\n%+v", file, *got, want)
		}
		if _, err := NewTable(got, map[string]string{"echo": "127.0.0.1:1"}); err != nil {
			t.Errorf("NewTable of %q: %v", file, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("#", maxFileSize+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, want string }{
		{"missing", filepath.Join(dir, "none.yaml"), "no such file or directory"},
		{"a folder", dir, "is a folder; a file is needed"},
		{"too large", large, "is too large; at most 4096 KiB are read"},
	} {
		_, err := Load(tt.file)
		if want := tt.file + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: Load = %v, want %s", tt.name, err, want)
		}
	}
}

func TestManyFaultsAreCountedNotPrinted(t *testing.T) {
	for _, tt := range []struct {
		faults int
		last   string
	}{
		{50, "f: 50"},
		{51, "and 1 more"},
		{keptFaults, "and at least 950 more"},
	} {
		var faults Faults
		for i := range tt.faults {
			faults = append(faults, Fault{File: "f", Problem: fmt.Sprint(i + 1)})
		}
		lines := strings.Split(faults.Error(), "\n")
		if last := lines[len(lines)-1]; last != tt.last || len(lines) > printedFaults+1 {
			t.Errorf("%d faults: %d lines, the last %q, want %q", tt.faults, len(lines), last, tt.last)
		}
	}
	_, err := parse("p", []byte("routes: ["+strings.Repeat("1, ", 100_000)+"]"))
	if faults, ok := err.(Faults); !ok || len(faults) != keptFaults {
		t.Errorf("a file of faults gives %d, want %d", len(faults), keptFaults)
	}
}

func TestFirstRunLoads(t *testing.T) {
	cfg, err := Load("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("Warnings = %v, want none", cfg.Warnings)
	}
	table, err := NewTable(cfg, map[string]string{"echo": "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if r := table.Match([]byte("localhost:8443"), []byte("/")); r == nil || r.Backends[0].URL != "builtin:echo" {
		t.Errorf(`Match("localhost:8443", "/") = %v, want builtin:echo`, r)
	}
	if c := cfg.Listeners; len(c) != 2 || c[0].Address != ":8080" || c[0].TLS != nil ||
		c[1].Address != ":8443" || c[1].TLS == nil || c[1].TLS.SelfSigned[0] != "localhost" {
		t.Errorf("Listeners = %+v, want :8080 plain, :8443 with TLS for localhost", c)
	}
}

// leftOut is a key of proxy.yaml that is commented out: a # right before it or, in the later lines of
// a mapping, before its indentation. Other comments have one space after the #.
var leftOut = regexp.MustCompile(`(?m)^( *)#(|  +)([-a-z])`)

// TestExampleDocumentsEveryKey takes the # from all that proxy.yaml leaves out: every key the decoder
// knows must be there, and what is said to be a default must be it.
func TestExampleDocumentsEveryKey(t *testing.T) {
	data, err := os.ReadFile("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := leftOut.ReplaceAll(data, []byte("$1$2$3"))
	var root yaml.Node
	if err := yaml.Unmarshal(whole, &root); err != nil {
		t.Fatalf("%v in\n%s", err, whole)
	}
	documented := keysOf(root.Content[0], "")
	for _, key := range topKeys.keys("") {
		if !slices.Contains(documented, key) {
			t.Errorf("proxy.yaml does not have %s", key)
		}
	}

	dir := t.TempDir()
	newCertificate(t, dir, "example.com").write(t, "chain.pem", "key.pem")
	newCertificate(t, dir, "wsproxy").write(t, "client-ca.pem", "client.key")
	for _, file := range []string{"ca.pem", "client.pem"} {
		copyFile(t, filepath.Join(dir, "client-ca.pem"), filepath.Join(dir, file))
	}
	copyFile(t, testdata+"good/tickets", filepath.Join(dir, "tickets"))
	file := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Load("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Listeners) != 5 || len(got.Listeners[2].TLS.Certificates) != 1 || got.Listeners[3].TLS.ACME == nil ||
		got.Listeners[4].HTTPSPort != 443 || len(got.Routes[0].Backends) != 5 {
		t.Errorf("the examples are not there: %+v", got)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("Warnings = %v, want none", got.Warnings)
	}
	// The examples, and what only tells where something stands, are no defaults.
	got.Listeners = got.Listeners[:2]
	got.Routes[0].Backends, got.Routes[0].Line = want.Routes[0].Backends, want.Routes[0].Line
	got.File = want.File
	if !reflect.DeepEqual(got, want) {
		t.Errorf("with every default written out:\n%+v\nwithout:\n%+v", got, want)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keysOf are the paths of all keys of a node, as schema.keys gives them.
func keysOf(node *yaml.Node, prefix string) []string {
	var keys []string
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			key := strings.TrimPrefix(prefix+"."+node.Content[i].Value, ".")
			keys = append(append(keys, key), keysOf(node.Content[i+1], key)...)
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			keys = append(keys, keysOf(item, prefix+"[]")...)
		}
	}
	return keys
}

func TestQuoteShowsNoSecret(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"plain", `"plain"`},
		{"two\nlines\x1b[31m", `"two\nlines\x1b[31m"`},
		{"-----BEGIN PRIVATE KEY----- abc", "PEM text"},
		{"http://user:pass@host/x", `"http://***@host/x"`},
		{"http://pass@host", `"http://***@host"`},
		{"http://user:p@ss/w@host", `"http://***@host"`},
		{"user:pass@host", `"***@host"`},
		{"http://host/?key=pass", `"http://host/?…"`},
		{strings.Repeat("ä", 100), `"` + strings.Repeat("ä", 40) + `…"`},
	} {
		if got := quote(tt.text); got != tt.want {
			t.Errorf("quote(%q) = %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestClosest(t *testing.T) {
	words := []string{"address", "dial_timeout", "level", "info", "tls"}
	for _, tt := range []struct{ text, want string }{
		{"adress", "address"},
		{"addr", "address"},
		{"dialTimeout", "dial_timeout"},
		{"DIAL-TIMEOUT", "dial_timeout"},
		{"dial_tiemout", "dial_timeout"},
		{"levle", "level"},
		{"inof", "info"},
		{"tsl", "tls"},
		{"t", ""},
		{"", ""},
		{"colour", ""},
		{strings.Repeat("level", 100), ""},
	} {
		if got := closest(tt.text, words); got != tt.want {
			t.Errorf("closest(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
