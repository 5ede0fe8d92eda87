package tlsterm

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// silence is the address of a server that accepts and says nothing.
func silence(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		var conns []net.Conn
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
	})
	return ln.Addr().String()
}

// obtained writes a certificate into an ACME's cache, as autocert keeps it; that of a challenge has
// +token behind its name.
func obtained(t *testing.T, cache, file string, notAfter time.Time) {
	t.Helper()
	name := strings.TrimSuffix(file, "+token")
	cert := newAuthority(t, "ca").issue(t, name, notAfter, x509.ExtKeyUsageServerAuth)
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	data := append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	if err := os.WriteFile(filepath.Join(cache, file), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestACMEServesWhatItHas(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "made", "acme")
	log, logger := newLines()
	a, err := NewACME(ACMEConfig{Hosts: []string{"First.test", "second.test"}, Cache: cache,
		Directory: "https://" + silence(t) + "/", Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cache); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("cache: %v, %v, want a folder of mode 0700", info, err)
	}
	obtained(t, cache, "first.test", time.Now().Add(60*24*time.Hour))
	obtained(t, cache, "second.test", time.Now().Add(60*24*time.Hour))
	ln := served(t, Config{ACME: a, Log: logger})
	if got := ln.Stats().Certificates; len(got) != 0 {
		t.Errorf("Certificates before anybody asked = %+v", got)
	}
	a.Obtain()
	for _, name := range []string{"first.test", "second.test"} {
		log.await(t, 1, "acme certificate", "host="+name, "not_after")
	}
	for name, want := range map[string]string{
		"first.test": "first.test", "SECOND.test": "second.test", "other.test": "first.test", "": "first.test",
	} {
		if got := shown(t, ln, name); got != want {
			t.Errorf("certificate for %q = %q, want %q", name, got, want)
		}
	}
	if got := ln.Stats().Certificates; len(got) != 2 || got[1].Names[0] != "second.test" || got[1].DaysLeft(time.Now()) < 59 {
		t.Errorf("Certificates = %+v, want both", got)
	}
	// A challenge that nobody asked for is none.
	if conn, err := shake(ln.Addr().String(), &tls.Config{ServerName: "first.test", InsecureSkipVerify: true,
		NextProtos: []string{challengeProtocol}}); err == nil {
		conn.Close()
		t.Error("handshake for a challenge that is not there succeeded")
	}
	awaitCount(t, ln, ResultNoCert, 1)
	if got := log.with("level=WARN"); len(got) > 0 {
		t.Errorf("the log warns: %q", got)
	}
}

// An ACME server is answered although it has no certificate to show, and gets nothing but that.
func TestChallengeNeedsNoClientCertificate(t *testing.T) {
	cache := t.TempDir()
	a, err := NewACME(ACMEConfig{Hosts: []string{"first.test"}, Cache: cache, Directory: "https://" + silence(t) + "/"})
	if err != nil {
		t.Fatal(err)
	}
	obtained(t, cache, "first.test", time.Now().Add(60*24*time.Hour))
	obtained(t, cache, "first.test+token", time.Now().Add(time.Hour))
	ln := served(t, Config{ACME: a, ClientAuth: RequireClientCert, ClientCA: newAuthority(t, "ca").file})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := shake(ln.Addr().String(), &tls.Config{ServerName: "first.test", InsecureSkipVerify: true,
			MaxVersion: version, NextProtos: []string{challengeProtocol}})
		if err != nil {
			t.Fatal(err)
		}
		state := conn.ConnectionState()
		if until := state.PeerCertificates[0].NotAfter; time.Until(until) > 2*time.Hour || state.NegotiatedProtocol != challengeProtocol {
			t.Errorf("certificate until %v, protocol %q, want the challenge's", until, state.NegotiatedProtocol)
		}
		_ = conn.SetDeadline(time.Now().Add(hung))
		if _, err := conn.Write([]byte("hello")); err == nil {
			if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("behind the challenge: %q, %v, want the end", b, err)
			}
		}
		conn.Close()
	}
	awaitCount(t, ln, ResultChallenge, 2)
	// A client that offers more than that is a client.
	conn, err := shake(ln.Addr().String(), &tls.Config{ServerName: "first.test", InsecureSkipVerify: true,
		NextProtos: []string{challengeProtocol, "http/1.1"}})
	if err == nil {
		_, err = io.ReadAll(conn)
		conn.Close()
	}
	if err == nil {
		t.Error("a client without a certificate was let in")
	}
	awaitCount(t, ln, ResultClientCert, 1)
}

// While a certificate is waited for, the handshake has no slot: the CA's own question needs one.
func TestWaitingForACertificateHoldsNoSlot(t *testing.T) {
	a, err := NewACME(ACMEConfig{Hosts: []string{"first.test"}, Cache: t.TempDir(), Directory: "https://" + silence(t) + "/"})
	if err != nil {
		t.Fatal(err)
	}
	budget := NewBudget(1)
	waiting := served(t, Config{ACME: a, Budget: budget, HandshakeTimeout: 300 * time.Millisecond})
	other := served(t, Config{Certs: selfSigned(t), Budget: budget})
	failed := make(chan error, 1)
	go func() {
		conn, err := shake(waiting.Addr().String(), &tls.Config{ServerName: "first.test", InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
		failed <- err
	}()
	await(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.hosts["first.test"].asking != nil
	}, func() string { return "no certificate is asked for" })
	conn, err := shake(other.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Errorf("handshake beside one that waits: %v", err)
	} else {
		conn.Close()
	}
	if err := <-failed; err == nil {
		t.Error("handshake without a certificate succeeded")
	}
	awaitCount(t, waiting, ResultNoCert, 1)
	expectIdle(t, waiting)
}

func TestChallengesOfOthersAreNotOurs(t *testing.T) {
	for _, http := range []bool{false, true} {
		a, err := NewACME(ACMEConfig{Hosts: []string{"first.test"}, Cache: t.TempDir(), HTTP: http})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/x", ChallengePath, ChallengePath + "token", ChallengePath + "../../first.test"} {
			for _, host := range []string{"first.test", "other.test", ""} {
				if body, ok := a.Challenge(host, path); ok || !http && len(body) > 0 {
					t.Errorf("Challenge(%q, %q) = %q, %v, want none", host, path, body, ok)
				}
			}
		}
	}
}

func TestACMEFilesThatAreWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg  ACMEConfig
		want string
	}{
		{ACMEConfig{Cache: filepath.Join(file, "acme")}, "acme cache " + file},
		{ACMEConfig{Cache: dir, CA: file}, "load acme CA " + file + ": holds no certificate"},
		{ACMEConfig{Cache: dir, CA: file + "2"}, "load acme CA " + file + "2: "},
	} {
		tt.cfg.Hosts = []string{"first.test"}
		if _, err := NewACME(tt.cfg); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("NewACME(%+v): %v, want %q", tt.cfg, err, tt.want)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log, logger := newLines()
	if _, err := NewACME(ACMEConfig{Hosts: []string{"first.test"}, Cache: dir, Log: logger}); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && len(log.with("level=WARN", "read by others", dir)) != 1 {
		t.Errorf("log = %q, want a warning of the folder's mode", log.with())
	}
}
