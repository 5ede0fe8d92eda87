package tlsterm

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log that tests can wait on.
type lines struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed and made anew with every line
}

func newLines() (*lines, *slog.Logger) {
	l := &lines{changed: make(chan struct{})}
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// with are the lines that have every one of the texts.
func (l *lines) with(texts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// await waits until n lines have every one of the texts.
func (l *lines) await(t *testing.T, n int, texts ...string) {
	t.Helper()
	deadline := time.After(hung)
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if len(l.with(texts...)) >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("log has %d lines with %q, want %d:\n%s", len(l.with(texts...)), texts, n, strings.Join(l.with(), ""))
		}
	}
}

// copyPair puts a pair's files in the place of another's, as a program does that knows nothing of
// readers: one after the other.
func copyPair(t *testing.T, from, to KeyPair) {
	t.Helper()
	for _, names := range [][2]string{{from.Cert, to.Cert}, {from.Key, to.Key}} {
		data, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(names[1], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is the common name of the certificate that a client is shown for a name.
func shown(t *testing.T, ln *Listener, name string) string {
	t.Helper()
	conn, err := shake(ln.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("handshake for %q: %v", name, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func mustLoad(t *testing.T, pairs ...KeyPair) *Certs {
	t.Helper()
	certs, err := LoadCerts(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func TestReload(t *testing.T) {
	key := ecdsaKey(t)
	a, b := keyPair(t, key, "a1", "a.test"), keyPair(t, key, "b1", "b.test")
	log, logger := newLines()
	ln := served(t, Config{Certs: mustLoad(t, a, b), Log: logger})
	open, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	if r := ln.Reload(false); len(r.Changed)+len(r.Kept) > 0 {
		t.Errorf("reload of what has not changed = %+v, want nothing", r)
	}

	copyPair(t, keyPair(t, ecdsaKey(t), "a2", "a.test", "new.test"), a)
	if r := ln.Reload(false); len(r.Changed) != 1 || r.Changed[0] != a.Cert || len(r.Kept) > 0 {
		t.Errorf("reload of another = %+v, want %s changed", r, a.Cert)
	}
	for name, want := range map[string]string{"a.test": "a2", "new.test": "a2", "b.test": "b1", "": "a2"} {
		if got := shown(t, ln, name); got != want {
			t.Errorf("certificate for %q = %q, want %q", name, got, want)
		}
	}
	echo(t, open) // connections that are open stay

	// One pair broken, the other new: the new is taken over, the broken one stays as it was.
	if err := os.WriteFile(a.Key, []byte("c2VjcmV0 secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	copyPair(t, keyPair(t, ecdsaKey(t), "b2", "b.test"), b)
	for range 2 {
		r := ln.Reload(false)
		if len(r.Kept) != 1 || r.Kept[0] != a.Cert {
			t.Errorf("reload with a broken key = %+v, want %s kept", r, a.Cert)
		}
	}
	if got := log.with("stays in use"); len(got) != 1 || !strings.Contains(got[0], a.Cert) || !strings.Contains(got[0], a.Key) {
		t.Errorf("the log says %q, want one line that names %s and %s", got, a.Cert, a.Key)
	}
	ln.Reload(true) // which somebody asked for, and wants to know
	if got := log.with("stays in use"); len(got) != 2 {
		t.Errorf("the log says %q, want a second line", got)
	}
	for name, want := range map[string]string{"a.test": "a2", "b.test": "b2"} {
		if got := shown(t, ln, name); got != want {
			t.Errorf("certificate for %q = %q, want %q", name, got, want)
		}
	}
	os.Remove(a.Cert)
	if r := ln.Reload(false); len(r.Kept) != 1 || shown(t, ln, "a.test") != "a2" {
		t.Errorf("reload without a file = %+v, want the old kept", r)
	}
	if got := log.with("secret"); len(got) > 0 {
		t.Errorf("the log shows what the key's file holds: %q", got)
	}
}

// Files are changed in the ways that are common, and the listener follows without being told.
func TestWatchFollowsFiles(t *testing.T) {
	key := ecdsaKey(t)
	made := 0
	next := func() (from KeyPair, name string) {
		made++
		name = fmt.Sprint("made", made)
		return keyPair(t, key, name, "a.test"), name
	}
	for _, tt := range []struct {
		name string
		// prepare lays a pair out in a folder and names it; the change puts another there.
		prepare func(t *testing.T, dir string, first KeyPair) (KeyPair, func(second KeyPair))
	}{
		{"written over", func(t *testing.T, dir string, first KeyPair) (KeyPair, func(KeyPair)) {
			pair := KeyPair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
			copyPair(t, first, pair)
			return pair, func(second KeyPair) { copyPair(t, second, pair) }
		}},
		{"renamed over, as editors do", func(t *testing.T, dir string, first KeyPair) (KeyPair, func(KeyPair)) {
			pair := KeyPair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
			copyPair(t, first, pair)
			return pair, func(second KeyPair) {
				temporary := KeyPair{pair.Cert + "~", pair.Key + "~"}
				copyPair(t, second, temporary)
				rename(t, temporary.Cert, pair.Cert)
				rename(t, temporary.Key, pair.Key)
			}
		}},
		{"swapped by a link, as Kubernetes does", func(t *testing.T, dir string, first KeyPair) (KeyPair, func(KeyPair)) {
			lay := func(version string, from KeyPair) {
				mkdir(t, filepath.Join(dir, version))
				copyPair(t, from, KeyPair{filepath.Join(dir, version, "tls.crt"), filepath.Join(dir, version, "tls.key")})
				symlink(t, version, filepath.Join(dir, "..data_tmp"))
				rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
			}
			lay("..2026_1", first)
			pair := KeyPair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
			symlink(t, "..data/tls.crt", pair.Cert)
			symlink(t, "..data/tls.key", pair.Key)
			return pair, func(second KeyPair) { lay("..2026_2", second) }
		}},
		{"a link to a link, as certbot does", func(t *testing.T, dir string, first KeyPair) (KeyPair, func(KeyPair)) {
			for _, name := range []string{"live", "archive", "own"} {
				mkdir(t, filepath.Join(dir, name))
			}
			lay := func(n int, from KeyPair) {
				for file, source := range map[string]string{"cert": from.Cert, "key": from.Key} {
					data, err := os.ReadFile(source)
					if err != nil {
						t.Fatal(err)
					}
					archived := fmt.Sprintf("%s%d.pem", file, n)
					if err := os.WriteFile(filepath.Join(dir, "archive", archived), data, 0o600); err != nil {
						t.Fatal(err)
					}
					os.Remove(filepath.Join(dir, "live", file+".pem"))
					symlink(t, "../archive/"+archived, filepath.Join(dir, "live", file+".pem"))
				}
			}
			lay(1, first)
			pair := KeyPair{filepath.Join(dir, "own", "c.pem"), filepath.Join(dir, "own", "k.pem")}
			symlink(t, filepath.Join(dir, "live", "cert.pem"), pair.Cert)
			symlink(t, filepath.Join(dir, "live", "key.pem"), pair.Key)
			return pair, func(second KeyPair) { lay(2, second) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, name := next()
			pair, change := tt.prepare(t, t.TempDir(), first)
			log, logger := newLines()
			ln := served(t, Config{Certs: mustLoad(t, pair), Log: logger})
			w := newWatcher(logger, time.Millisecond, []*Listener{ln})
			defer w.Close()
			if got := shown(t, ln, "a.test"); got != name {
				t.Fatalf("certificate = %q, want %q", got, name)
			}
			for n := range 2 { // and again, when the files may be others
				second, name := next()
				change(second)
				log.await(t, n+1, "reloaded certificate", pair.Cert)
				// The two files may have been read between their changes.
				await(t, func() bool { return shown(t, ln, "a.test") == name }, func() string { return name + " is not used" })
				if strings.Contains(tt.name, "Kubernetes") || strings.Contains(tt.name, "certbot") {
					break // what they make next has another name
				}
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Skip(err) // not everybody may, on Windows
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

// Other files of the folder mean nothing, and a Watcher ends although nothing happens.
func TestWatchEnds(t *testing.T) {
	pair := keyPair(t, ecdsaKey(t), "a", "a.test")
	log, logger := newLines()
	ln := served(t, Config{Certs: mustLoad(t, pair), Log: logger})
	w := newWatcher(logger, time.Millisecond, []*Listener{ln, served(t, Config{Log: logger})})
	if err := os.WriteFile(filepath.Join(filepath.Dir(pair.Cert), "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.Reload(); len(r.Changed)+len(r.Kept) > 0 {
		t.Errorf("Reload = %+v, want nothing", r)
	}
	w.Close()
	if got := log.with("reload"); len(got) > 0 {
		t.Errorf("log = %q, want nothing of a reload", got)
	}
}

func TestExpiryIsWarnedOfOnceADay(t *testing.T) {
	log, logger := newLines()
	pair := keyPair(t, ecdsaKey(t), "a", "a.test") // valid for an hour
	ln := served(t, Config{Certs: mustLoad(t, pair), Log: logger})
	now := time.Now()
	for _, tt := range []struct {
		after time.Duration
		lines int
		text  string
	}{
		{-20 * 24 * time.Hour, 0, ""},
		{-13 * 24 * time.Hour, 1, "expires soon"},
		{-13*24*time.Hour + 22*time.Hour, 1, ""},
		{-12 * 24 * time.Hour, 2, "days_left=12"},
		{2 * time.Hour, 3, "has expired"},
		{3 * time.Hour, 3, ""},
	} {
		ln.WarnExpiring(now.Add(tt.after))
		got := log.with("level=WARN", "certificate", pair.Cert, "a.test")
		if len(got) != tt.lines || len(got) > 0 && !strings.Contains(got[len(got)-1], tt.text) {
			t.Errorf("%v from now the log has %q, want %d lines, the last with %q", tt.after, got, tt.lines, tt.text)
		}
	}
	s := ln.Stats().Certificates
	if len(s) != 1 || s[0].File != pair.Cert || s[0].Names[0] != "a.test" ||
		s[0].DaysLeft(now) < 0.03 || s[0].DaysLeft(now.Add(25*time.Hour)) > -0.9 {
		t.Errorf("Certificates = %+v", s)
	}
}
