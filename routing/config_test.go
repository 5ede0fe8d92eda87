package routing

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

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
	t.Setenv("WSPROXY_TEST_SECRET", "hunter2")
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
	table, err := NewTable(cfg, map[string]string{"echo": "127.0.0.1:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := table.Match([]byte("localhost:8443"), []byte("/")); r == nil || r.Backends()[0].URL != "builtin:echo" {
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
	if err := os.Mkdir(filepath.Join(dir, "routes.d"), 0o700); err != nil {
		t.Fatal(err)
	}
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
	if len(got.Routes) != 7 || got.Routes[0].Health.Type != "http" || got.Routes[1].Health.Subprotocol == "" ||
		got.Routes[6].HashKey != (HashKey{Path: true}) {
		t.Errorf("the examples of health checks and hashing are not there: %+v", got.Routes)
	}
	if len(got.Listeners) != 5 || len(got.Listeners[2].TLS.Certificates) != 1 || got.Listeners[3].TLS.ACME == nil ||
		got.Listeners[4].HTTPSPort != 443 || len(got.Routes[0].Backends) != 8 || len(got.TrustedProxies) != 3 ||
		len(got.Listeners[0].Access.Allow) != 3 || len(got.Routes[0].SourceAddresses) != 2 ||
		len(got.Routes[0].RequestHeaders.Set) != 2 || len(got.Routes[0].ResponseHeaders.Remove) != 2 {
		t.Errorf("the examples are not there: %+v", got)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("Warnings = %v, want none", got.Warnings)
	}
	// The examples, and what only tells where something stands, are no defaults.
	got.Listeners, got.Routes = got.Listeners[:2], got.Routes[:1]
	got.Routes[0].Health = want.Routes[0].Health
	got.TrustedProxies = want.TrustedProxies
	if b := got.Routes[0].Backends[2]; b != (BackendConfig{URL: "http://10.0.0.8:9000", Addr: "10.0.0.8:9000", Weight: 1, MaxLinks: -1}) {
		t.Errorf("the long form is %+v, want the defaults", b)
	}
	sticky := StickyConfig{Domain: "example.com", Key: "an example that all can read"}
	if sticky.fillDefaults(); *got.Routes[0].Sticky != sticky {
		t.Errorf("sticky is %+v, want the defaults, %+v", got.Routes[0].Sticky, sticky)
	}
	got.Routes[0].Sticky = nil
	got.Listeners[0].Access = want.Listeners[0].Access
	got.Routes[0].Access, got.Routes[0].SourceAddresses = want.Routes[0].Access, want.Routes[0].SourceAddresses
	got.Routes[0].Backends, got.Routes[0].Line = want.Routes[0].Backends, want.Routes[0].Line
	got.Routes[0].RequestHeaders, got.Routes[0].ResponseHeaders = want.Routes[0].RequestHeaders, want.Routes[0].ResponseHeaders
	got.File, got.Files, got.Routes[0].File = want.File, want.Files, want.Routes[0].File
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
	words := []string{"address", "dial_timeout", "level", "info", "tls", "trusted_proxies"}
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
		{"trusted_proxy", "trusted_proxies"},
		{"trusted_prox", "trusted_proxies"},
		{"trusted_peers", ""},
		{strings.Repeat("level", 100), ""},
	} {
		if got := closest(tt.text, words); got != tt.want {
			t.Errorf("closest(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
