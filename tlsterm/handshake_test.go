package tlsterm

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 20 * time.Second

// serve runs a listener that shakes hands, as fasthttp does on its workers, and answers what a
// client sends with the same. It ends with the test, and all it accepted with it.
func serve(t *testing.T, cfg Config) (addr string) {
	t.Helper()
	return served(t, cfg).Addr().String()
}

// served is serve, and gives the listener.
func served(t *testing.T, cfg Config) *Listener {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conns := make(chan struct{}, 100)
		n := 0
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			n++
			go func() {
				defer func() { conns <- struct{}{} }()
				defer conn.Close()
				if secure, ok := conn.(interface{ Handshake() error }); !ok || secure.Handshake() == nil {
					_, _ = io.Copy(conn, conn)
				}
			}()
		}
		for range n {
			<-conns
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return ln
}

// shake connects and shakes hands.
func shake(addr string, cfg *tls.Config) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: hung}, "tcp", addr, cfg)
}

// dial connects without TLS; the connection ends with the test.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(hung))
	return conn.(*net.TCPConn)
}

func selfSigned(t *testing.T) *Certs {
	t.Helper()
	certs, err := SelfSigned([]string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func TestHandshake(t *testing.T) {
	const only12, only13 = tls.VersionTLS12, tls.VersionTLS13
	tests := []struct {
		name     string
		server   uint16 // MinVersion
		min, max uint16
		protos   []string
		version  uint16 // 0 means a refusal
		proto    string
	}{
		{name: "newest", version: tls.VersionTLS13},
		{name: "1.2", max: only12, version: tls.VersionTLS12},
		{name: "1.1 is refused", min: tls.VersionTLS10, max: tls.VersionTLS11},
		{name: "1.0 is refused", min: tls.VersionTLS10, max: tls.VersionTLS10},
		{name: "1.2 with 1.3 wanted is refused", server: only13, max: only12},
		{name: "1.3 with 1.3 wanted", server: only13, version: tls.VersionTLS13},
		{name: "http/1.1 offered", protos: []string{"http/1.1"}, version: tls.VersionTLS13, proto: "http/1.1"},
		{name: "h2 offered first", protos: []string{"h2", "http/1.1"}, version: tls.VersionTLS13, proto: "http/1.1"},
		{name: "only http/1.0 offered", protos: []string{"http/1.0"}, version: tls.VersionTLS13, proto: "http/1.0"},
		{name: "only h2 is refused", protos: []string{"h2"}},
		{name: "only h2 is refused in 1.2", protos: []string{"h2"}, max: only12},
	}
	certs := selfSigned(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := serve(t, Config{Certs: certs, MinVersion: tt.server})
			conn, err := shake(addr, &tls.Config{
				InsecureSkipVerify: true, MinVersion: tt.min, MaxVersion: tt.max, NextProtos: tt.protos,
			})
			if tt.version == 0 {
				if err == nil {
					conn.Close()
					t.Fatal("handshake succeeded, want a refusal")
				}
				return
			}
			if err != nil {
				t.Fatalf("handshake: %v", err)
			}
			defer conn.Close()
			state := conn.ConnectionState()
			if state.Version != tt.version || state.NegotiatedProtocol != tt.proto {
				t.Errorf("version %x protocol %q, want %x %q", state.Version, state.NegotiatedProtocol, tt.version, tt.proto)
			}
			echo(t, conn)
		})
	}
}

// echo sends a line and expects it back.
func echo(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(hung))
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Errorf("echo = %q, %v", b, err)
	}
}

func TestSilentClientIsCutOff(t *testing.T) {
	addr := serve(t, Config{Certs: selfSigned(t), HandshakeTimeout: 20 * time.Millisecond})
	for name, sent := range map[string]string{"nothing": "", "half a record": "\x16\x03\x01\x02\x00\x01"} {
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
			t.Errorf("client that sends %s: read %q, %v; want the end", name, b, err)
		}
	}
}

func TestTimeoutIsTheHandshakesOnly(t *testing.T) {
	addr := serve(t, Config{Certs: selfSigned(t), HandshakeTimeout: 200 * time.Millisecond})
	conn, err := shake(addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn)
	// The next handshake to be cut off began later than the one that must not be.
	if _, err := io.ReadAll(dial(t, addr)); err != nil {
		t.Fatal(err)
	}
	echo(t, conn)
}

func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	addr := serve(t, Config{Certs: selfSigned(t)})
	for name, request := range map[string]string{
		"short": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		// With bytes unread behind it an answer is easily lost to a reset.
		"long": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, addr)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			if !strings.HasPrefix(string(b), "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(string(b), "https://") {
				t.Errorf("answer = %q, want a 400 that says what to use", b)
			}
		})
	}
	// What is not HTTP gets no HTTP.
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, "SSH-2.0-x\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(conn); strings.Contains(string(b), "HTTP") {
		t.Errorf("SSH gets %q", b)
	}
}

func TestHTTPClientTrustingTheCertificate(t *testing.T) {
	certs := selfSigned(t)
	addr := serve(t, Config{Certs: certs})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	// The echo of a request is no answer, but it is one in HTTP/1: h2 was not agreed on.
	_, err := (&http.Client{Transport: transport, Timeout: hung}).Get("https://" + addr + "/")
	if err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Errorf("Get: %v, want an answer that is not HTTP/2", err)
	}
}
