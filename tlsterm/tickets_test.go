package tlsterm

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// ticketFile writes a file of n new keys.
func ticketFile(t *testing.T, n int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tickets")
	writeTickets(t, file, newTickets(n))
	return file
}

func newTickets(n int) (lines []string) {
	for range n {
		key := make([]byte, ticketKeySize)
		_, _ = rand.Read(key)
		lines = append(lines, base64.StdEncoding.EncodeToString(key))
	}
	return lines
}

func writeTickets(t *testing.T, file string, lines []string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("# ours\n\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// resumes shakes hands with one listener and then with another, and reports whether the second
// handshake resumed the session of the first.
func resumes(t *testing.T, first *Listener, cfg *tls.Config, second *Listener) bool {
	t.Helper()
	resumed(t, first, cfg)
	return resumed(t, second, cfg)
}

// resumed shakes hands and reports whether that resumed a session.
func resumed(t *testing.T, ln *Listener, cfg *tls.Config) bool {
	t.Helper()
	conn, err := shake(ln.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn) // in TLS 1.3 the ticket stands before it
	return conn.ConnectionState().DidResume
}

func TestTicketsResumeSessions(t *testing.T) {
	certs, shared := selfSigned(t), ticketFile(t, 2)
	own := served(t, Config{Certs: certs})
	one, two := served(t, Config{Certs: certs, TicketKeys: shared}), served(t, Config{Certs: certs, TicketKeys: shared})
	other := served(t, Config{Certs: certs, TicketKeys: ticketFile(t, 1)})
	none := served(t, Config{Certs: certs, NoTickets: true, TicketKeys: shared})
	for _, tt := range []struct {
		name          string
		first, second *Listener
		want          bool
	}{
		{"its own", own, own, true},
		{"of another without a file", own, one, false},
		{"of a node with the same file", one, two, true},
		{"of a node with another file", one, other, false},
		{"none", none, none, false},
		{"none, where others have", one, none, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: version,
				ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			before := tt.second.Stats().Resumed
			if got := resumes(t, tt.first, cfg, tt.second); got != tt.want {
				t.Errorf("%s, %s: resumed = %v, want %v", tt.name, tls.VersionName(version), got, tt.want)
			}
			if counted := tt.second.Stats().Resumed > before; counted != tt.want {
				t.Errorf("%s, %s: counted as resumed = %v, want %v", tt.name, tls.VersionName(version), counted, tt.want)
			}
		}
	}
}

// Keys are rotated as proxy.yaml says: the new key is added behind, then put first, then the old one
// taken away; at no time is a session lost, but those of the key that is gone.
func TestTicketKeysRotate(t *testing.T) {
	certs := selfSigned(t)
	file := filepath.Join(t.TempDir(), "tickets")
	keys := newTickets(2)
	writeTickets(t, file, keys[:1])
	log, logger := newLines()
	ln := served(t, Config{Certs: certs, TicketKeys: file, Log: logger})
	w := newWatcher(logger, time.Millisecond, []*Listener{ln})
	defer w.Close()
	cache := func() *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	}
	old := cache()
	if !resumes(t, ln, old, ln) {
		t.Fatal("session not resumed")
	}
	writeTickets(t, file, []string{keys[1], keys[0]})
	log.await(t, 1, "reloaded ticket keys", file)
	if !resumed(t, ln, old) {
		t.Error("with the old key behind the new: session not resumed")
	}
	unused := cache()
	resumes(t, ln, unused, ln) // issued with the new key
	writeTickets(t, file, keys[1:])
	log.await(t, 2, "reloaded ticket keys", file)
	if !resumed(t, ln, unused) {
		t.Error("with the new key alone: session not resumed")
	}

	// What is no key leaves the old ones in use and is not shown.
	writeTickets(t, file, []string{"c2VjcmV0"})
	log.await(t, 1, "level=WARN", "ticket keys", file, "line 3 is no key")
	if got := log.with("c2VjcmV0"); len(got) > 0 {
		t.Errorf("the log shows a key: %q", got)
	}
	if !resumed(t, ln, unused) {
		t.Error("after a broken file: session not resumed")
	}
}

// A session whose key is gone becomes a full handshake, no failure.
func TestTicketOfAKeyThatIsGone(t *testing.T) {
	file := ticketFile(t, 1)
	ln := served(t, Config{Certs: selfSigned(t), TicketKeys: file})
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if !resumes(t, ln, cfg, ln) {
		t.Fatal("session not resumed")
	}
	writeTickets(t, file, newTickets(1))
	if r := ln.Reload(false); len(r.Changed) != 1 {
		t.Fatalf("Reload = %+v", r)
	}
	conn, err := shake(ln.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn)
	if conn.ConnectionState().DidResume {
		t.Error("session resumed without its key")
	}
}

func TestTicketKeyFiles(t *testing.T) {
	key := newTickets(1)[0]
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "has no key"},
		{"only comments", "# none\n\n", "has no key"},
		{"short", "AAAA\n", "line 1 is no key; a key is 32 bytes in base64"},
		{"no base64", key + "\n\nsecret!\n", "line 3 is no key; a key is 32 bytes in base64"},
		{"two in a line", key + " " + key, "line 1 is no key; a key is 32 bytes in base64"},
		{"very many", strings.Repeat(key+"\n", maxTicketKeys+1), "has more than 64 keys"},
	} {
		if _, err := parseTicketKeys([]byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	keys, err := parseTicketKeys([]byte("  " + key + "\r\n# old\n" + key))
	if want, _ := base64.StdEncoding.DecodeString(key); err != nil || len(keys) != 2 || !bytes.Equal(keys[0][:], want) {
		t.Errorf("two keys: %d, %v", len(keys), err)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := Listen("127.0.0.1:0", Config{Certs: selfSigned(t), TicketKeys: missing}); err == nil ||
		!strings.HasPrefix(err.Error(), "load ticket keys "+missing+": ") {
		t.Errorf("Listen without the file: %v", err)
	}
}

func TestTicketKeysThatOthersCanReadAreWarnedOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing")
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		file := ticketFile(t, 1)
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		log, logger := newLines()
		served(t, Config{Certs: selfSigned(t), TicketKeys: file, Log: logger})
		if got := log.with("level=WARN", file); len(got) != want {
			t.Errorf("mode %v: %d warnings, want %d", mode, len(got), want)
		}
	}
}
