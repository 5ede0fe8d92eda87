package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// readmeBlock is the first code block of README.md in the given language that has text in it.
func readmeBlock(t *testing.T, language, text string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(readme), "\n```"+language+"\n") {
		body, _, found := strings.Cut(block, "\n```")
		if found && strings.Contains(body, text) {
			return body + "\n"
		}
	}
	t.Fatalf("README.md has no %s block with %q", language, text)
	return ""
}

func TestReadmeShowsWhatTheFirstRunPrints(t *testing.T) {
	block := readmeBlock(t, "console", "$ go run ./cmd/wsproxy\n")
	// The top proxy.yaml's own ports may be taken on the machine of the tests.
	text, err := os.ReadFile(filepath.Join("..", "..", "proxy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	free := strings.NewReplacer(`":8080"`, `"localhost:0"`, `":8443"`, `"localhost:0"`).Replace(string(text))
	p, ws, wss := running(t, config(t, free))
	said := strings.NewReplacer(
		strings.TrimPrefix(ws, "ws:"), "//localhost:8080/", strings.TrimPrefix(wss, "wss:"), "//localhost:8443/",
		p.Args[2], "proxy.yaml", p.Path, "go run ./cmd/wsproxy",
	).Replace(p.stdout.String())
	_, said, _ = strings.Cut(said, "\n") // the version's line
	_, want, _ := strings.Cut(block, "\n")
	_, want, _ = strings.Cut(want, "\n")
	if strings.TrimSpace(said) != strings.TrimSpace(want) {
		t.Errorf("the first run prints\n%s\nREADME.md says\n%s", said, want)
	}
}

func TestReadmeConfigurationIsGood(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	text := strings.ReplaceAll(readmeBlock(t, "yaml", "chat.example.com"), "/etc/wsproxy/", dir+"/")
	p := program(t, "check", "-c", config(t, text))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(); status != 0 || !strings.Contains(p.stdout.String(), "is good: 1 listener, 1 route") {
		t.Errorf("check exits with %d and says %q %q", status, p.stdout, p.stderr)
	}
}

func TestReadmeConfigurationWithACMEIsGood(t *testing.T) {
	p := program(t, "check", "-c", config(t, readmeBlock(t, "yaml", "acme:")))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(); status != 0 || !strings.Contains(p.stdout.String(), "is good: 2 listeners, 1 route") {
		t.Errorf("check exits with %d and says %q %q", status, p.stdout, p.stderr)
	}
}

func TestReadmeConfigurationOfSeveralFilesIsGood(t *testing.T) {
	file := config(t, readmeBlock(t, "yaml", "include: routes.d"))
	folder := filepath.Join(filepath.Dir(file), "routes.d")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "news.yaml"), []byte("- {path: /news, backends: [builtin:echo]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, status := asked(t, file)
	if status != 0 || !strings.Contains(said, "is good: 1 listener, 3 routes") || !strings.Contains(said, "/news") {
		t.Errorf("check exits with %d and says %s", status, said)
	}
}

func TestReadmeShowsAnExplanation(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	file := config(t, strings.ReplaceAll(readmeBlock(t, "yaml", "chat.example.com"), "/etc/wsproxy/", dir+"/"))
	_, want, _ := strings.Cut(readmeBlock(t, "console", "--explain"), "\n")
	said, status := asked(t, file, "--explain", "wss://chat.example.com/chat")
	if said = strings.ReplaceAll(said, file, "proxy.yaml"); status != 1 || said != want {
		t.Errorf("check exits with %d and prints\n%s\nREADME.md says\n%s", status, said, want)
	}
}

func TestReadmeShowsTheFaultsOfThisFile(t *testing.T) {
	want := readmeBlock(t, "console", "wsproxy check -c proxy.yaml\n")
	_, want, _ = strings.Cut(want, "\n")
	file := config(t, `listeners:
  - adress: ":8080"
  - address: ":8080"
routes:
  - path: /ws/*
    backends: [http://10.0.0.7:9000]
    dial_timeout: 5 seconds
`)
	p := program(t, "check", "-c", file)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.exit()
	got := strings.ReplaceAll(p.stderr.String(), file, "proxy.yaml")
	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			t.Errorf("README.md shows %q, check says\n%s", line, got)
		}
	}
}

// writePair writes a certificate and its key as README.md names them.
func writePair(t *testing.T, dir string) {
	t.Helper()
	writePairUntil(t, dir, time.Now().Add(90*24*time.Hour))
}

// writePairUntil writes one that expires then.
func writePairUntil(t *testing.T, dir string, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"chat.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"chain.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
