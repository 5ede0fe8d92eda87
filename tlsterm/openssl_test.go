package tlsterm

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/record"
)

// openSSLSuites are all that both know, and how openssl is made to take them. crypto/tls cannot be
// made to take any but the first of TLS 1.3.
var openSSLSuites = []struct {
	suite uint16
	args  []string
}{
	{tls.TLS_AES_128_GCM_SHA256, []string{"-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"}},
	{tls.TLS_AES_256_GCM_SHA384, []string{"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"}},
	{tls.TLS_CHACHA20_POLY1305_SHA256, []string{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"}},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"}},
}

// openSSL is a running s_client or s_server. Lines go in and out.
type openSSL struct {
	t     *testing.T
	stdin io.WriteCloser
	out   *bufio.Reader
}

func startOpenSSL(t *testing.T, args ...string) *openSSL {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	cmd := exec.Command(path, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(hung, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		guard.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
	})
	return &openSSL{t: t, stdin: stdin, out: bufio.NewReader(out)}
}

// send writes a line to openssl's input.
func (o *openSSL) send(line string) {
	o.t.Helper()
	if _, err := io.WriteString(o.stdin, line+"\n"); err != nil {
		o.t.Fatalf("write to openssl: %v", err)
	}
}

// await reads openssl's output up to a line that contains text.
func (o *openSSL) await(text string) (line string) {
	o.t.Helper()
	var said strings.Builder
	for {
		line, err := o.out.ReadString('\n')
		said.WriteString(line)
		if strings.Contains(line, text) {
			return line
		}
		if err != nil {
			o.t.Fatalf("openssl ends before it says %q: %v; it said:\n%s", text, err, said.String())
		}
	}
}

// expect reads a line from a connection.
func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("read %q, %v, want %q", line, err, want)
	}
}

// opensslAccepted has s_client connect to us.
func opensslAccepted(t *testing.T, args ...string) (*openSSL, *TLSConn, State) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(hung))
	client := startOpenSSL(t, append([]string{"s_client", "-connect", ln.Addr().String(), "-servername", "localhost"}, args...)...)
	tcp, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours := &TLSConn{tcp: tcp.(*net.TCPConn)}
	t.Cleanup(func() { ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(hung))
	state, err := ours.accept(ours.tcp, serverConfig(serverTLS()))
	if err != nil {
		t.Fatalf("handshake with s_client: %v", err)
	}
	return client, ours, state
}

// opensslServing has us connect to s_server.
func opensslServing(t *testing.T, cfg *tls.Config, args ...string) (*openSSL, *TLSConn, State, error) {
	t.Helper()
	cert, key := pemFiles(t, testCerts().ecdsa)
	server := startOpenSSL(t, append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key}, args...)...)
	line := server.await("ACCEPT ")
	tcp, err := net.Dial("tcp", strings.TrimSpace(strings.TrimPrefix(line, "ACCEPT ")))
	if err != nil {
		t.Fatal(err)
	}
	ours, state, err := Client(tcp.(*net.TCPConn), cfg, hung)
	if err != nil {
		return server, nil, state, err
	}
	t.Cleanup(func() { ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(hung))
	return server, ours, state, nil
}

func pemFiles(t *testing.T, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func TestOpenSSLClient(t *testing.T) {
	for _, tt := range openSSLSuites {
		t.Run(tls.CipherSuiteName(tt.suite), func(t *testing.T) {
			client, ours, state := opensslAccepted(t, tt.args...)
			if state.Suite != tt.suite {
				t.Errorf("suite %s", tls.CipherSuiteName(state.Suite))
			}
			r := bufio.NewReader(ours)
			talk(t, client, ours, r, "first")
			if state.Version == tls.VersionTLS13 {
				key := ours.session
				// K asks for a KeyUpdate of ours, k does not.
				for _, command := range []string{"K", "k"} {
					client.send(command)
					client.await("KEYUPDATE") // what it reads together with a command is lost
					talk(t, client, ours, r, "behind "+command)
				}
				for _, request := range []bool{true, false} {
					if err := ours.updateKey(request); err != nil {
						t.Fatal(err)
					}
					talk(t, client, ours, r, fmt.Sprintf("behind ours, %v", request))
				}
				if ours.session == key {
					t.Error("no key has changed")
				}
			} else {
				client.send("R") // renegotiation
				if _, err := r.ReadByte(); !errors.Is(err, tls.AlertError(100)) {
					t.Errorf("read %v, want no_renegotiation", err)
				}
				return
			}
			client.send("Q")
			if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
				t.Errorf("read %q, %v at the end", b, err)
			}
		})
	}
}

func TestOpenSSLServer(t *testing.T) {
	for _, tt := range openSSLSuites {
		t.Run(tls.CipherSuiteName(tt.suite), func(t *testing.T) {
			server, ours, state, err := opensslServing(t, clientTLS(), append(tt.args, "-num_tickets", "5")...)
			if err != nil {
				t.Fatal(err)
			}
			if state.Suite != tt.suite {
				t.Errorf("suite %s", tls.CipherSuiteName(state.Suite))
			}
			r := bufio.NewReader(ours)
			talk(t, server, ours, r, "first")
			if state.Version == tls.VersionTLS13 {
				for _, command := range []string{"K", "k"} {
					before := ours.snapshot()
					server.send(command)
					// What s_server reads together with a command is lost, and it does not say that it
					// has done what it was told; the KeyUpdate itself does.
					read := make(chan error, 1)
					go func() { _, err := r.Peek(1); read <- err }()
					tick := time.NewTicker(time.Millisecond)
					for ours.snapshot() == before && len(read) == 0 {
						<-tick.C
					}
					tick.Stop()
					server.send("x")
					if err := <-read; err != nil {
						t.Fatal(err)
					}
					expect(t, r, "x")
					talk(t, server, ours, r, "behind "+command)
				}
			} else {
				server.send("r") // renegotiation
				if _, err := r.ReadByte(); !errors.Is(err, tls.AlertError(100)) {
					t.Errorf("read %v, want no_renegotiation", err)
				}
				return
			}
			server.send("Q") // with a FIN only
			if b, err := io.ReadAll(r); len(b) > 0 || err != record.ErrTruncated {
				t.Errorf("read %q, %v at the end", b, err)
			}
		})
	}
}

// snapshot is the session as it is.
func (c *TLSConn) snapshot() record.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// talk sends a line each way.
func talk(t *testing.T, program *openSSL, ours *TLSConn, r *bufio.Reader, line string) {
	t.Helper()
	program.send("to us: " + line)
	expect(t, r, "to us: "+line)
	if _, err := io.WriteString(ours, "from us: "+line+"\n"); err != nil {
		t.Fatal(err)
	}
	program.await("from us: " + line)
}

// A ticket that we gave is taken again, and one program more agrees on what was sent behind Finished.
func TestOpenSSLResumes(t *testing.T) {
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "session")
			shared := serverConfig(serverTLS())
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(hung))
			for i, args := range [][]string{{"-sess_out", file}, {"-sess_in", file}} {
				client := startOpenSSL(t, append([]string{"s_client", "-connect", ln.Addr().String(), version}, args...)...)
				tcp, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				ours := &TLSConn{tcp: tcp.(*net.TCPConn)}
				_ = ours.SetDeadline(time.Now().Add(hung))
				state, err := ours.accept(ours.tcp, shared)
				if err != nil {
					t.Fatal(err)
				}
				if state.DidResume != (i == 1) {
					t.Errorf("connection %d: resumed %v", i, state.DidResume)
				}
				r := bufio.NewReader(ours)
				talk(t, client, ours, r, "hello")
				client.send("Q")
				if _, err := io.ReadAll(r); err != nil {
					t.Errorf("connection %d: %v at the end", i, err)
				}
				ours.Close()
			}
		})
	}
}

// A client certificate reaches us by s_client's hand as well, and without one there is no connection.
func TestOpenSSLShowsACertificate(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := pemFiles(t, ours.issue(t, "good", time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		ln := served(t, Config{Certs: selfSigned(t), ClientAuth: RequireClientCert, ClientCA: ours.file})
		with := startOpenSSL(t, "s_client", "-connect", ln.Addr().String(), version, "-cert", cert, "-key", key)
		with.send("hello")
		with.await("hello")
		awaitCount(t, ln, ResultOK, 1)
		startOpenSSL(t, "s_client", "-connect", ln.Addr().String(), version)
		awaitCount(t, ln, ResultClientCert, 1)
	}
}
