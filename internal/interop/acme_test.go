package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/net/dns/dnsmessage"
)

// pebble is an ACME server for tests, by the people of Let's Encrypt.
var pebble = tool{"pebble", "go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1, into a folder of PATH", inPath("pebble")}

// acmeHost is the name that certificates are obtained for.
const acmeHost = "chat.example.test"

// A certificate is obtained from a real ACME server by each kind of challenge, used for wss, and kept
// over a restart for which no server is needed.
func TestACME(t *testing.T) {
	need(t, pebble)
	for _, tt := range []struct {
		name string
		// Which of the listeners pebble finds where it asks.
		tls, http bool
	}{
		{"TLS-ALPN-01", true, false},
		{"HTTP-01 on a port that redirects", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ports := freePorts(t, 5)
			secure, plain, nowhere := ports[0], ports[1], ports[2]
			asked := map[bool]int{true: secure, false: nowhere}[tt.tls]
			askedPlain := map[bool]int{true: plain, false: nowhere}[tt.http]
			ca := startPebble(t, ports[3], ports[4], asked, askedPlain)

			dir := t.TempDir()
			file := filepath.Join(dir, "proxy.yaml")
			config := fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:%d", redirect: https}
  - address: "127.0.0.1:%d"
    tls:
      acme: {hosts: [%s], email: ops@example.test, directory: "https://127.0.0.1:%d/dir", cache: acme, ca: %q}
routes: [{backends: [builtin:echo]}]
timeouts: {tls_handshake: 1m}
log: {level: debug}
`, plain, secure, acmeHost, ports[3], ca.file)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startACME(t, file)
			first := echoOverWSS(t, secure, ca.roots(t))
			if err := first.VerifyHostname(acmeHost); err != nil || !strings.Contains(first.Issuer.CommonName, "Pebble") {
				t.Errorf("certificate for %v from %q", first.DNSNames, first.Issuer.CommonName)
			}
			p.stop(t)
			if info, err := os.Stat(filepath.Join(dir, "acme")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("cache: %v, %v, want a folder of mode 0700", info, err)
			}

			roots := ca.roots(t)
			ca.terminate(t)
			p = startACME(t, file)
			if again := echoOverWSS(t, secure, roots); !again.Equal(first) {
				t.Error("another certificate after a restart, want the one in the cache")
			}
			p.stop(t)
		})
	}
}

// startACME runs wsproxy with a configuration, and waits until it listens.
func startACME(t *testing.T, file string) *proxy {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	ready := make(chan struct{})
	var once sync.Once
	p.process = launch(t, "wsproxy", func(line string) {
		if line == "try" {
			once.Do(func() { close(ready) })
		}
	}, program, "run", "-c", file)
	p.await(t, ready)
	return p
}

// await waits for a process to be ready.
func (p *process) await(t *testing.T, ready <-chan struct{}) {
	t.Helper()
	select {
	case <-ready:
	case <-p.exited:
		t.Fatalf("%s ended at its start", p.name)
	case <-time.After(patience):
		t.Fatalf("%s does not start", p.name)
	}
}

// echoOverWSS sends a message and expects it back, from a server that roots vouch for, and returns
// its certificate. The handshake waits until wsproxy has obtained one.
func echoOverWSS(t *testing.T, port int, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	dialer := websocket.Dialer{
		HandshakeTimeout: patience,
		TLSClientConfig:  &tls.Config{RootCAs: roots, ServerName: acmeHost},
		NetDial:          func(network, _ string) (net.Conn, error) { return net.Dial(network, fmt.Sprint("127.0.0.1:", port)) },
	}
	conn, _, err := dialer.Dial(fmt.Sprintf("wss://%s:%d/", acmeHost, port), nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := conn.ReadMessage(); err != nil || string(message) != "hello" {
		t.Errorf("echo = %q, %v", message, err)
	}
	return conn.NetConn().(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// acmeServer is a running pebble.
type acmeServer struct {
	*process
	file       string // PEM of who vouches for its directory
	management string // URL
}

// startPebble runs pebble, which asks for TLS-ALPN-01 and HTTP-01 at two ports of whatever a name
// resolves to: 127.0.0.1.
func startPebble(t *testing.T, port, management, tlsPort, httpPort int) *acmeServer {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	dir := t.TempDir()
	s := &acmeServer{file: filepath.Join(dir, "cert.pem"), management: fmt.Sprintf("https://127.0.0.1:%d", management)}
	key := filepath.Join(dir, "key.pem")
	writeCertificate(t, s.file, key)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress":           fmt.Sprint("127.0.0.1:", port),
		"managementListenAddress": fmt.Sprint("127.0.0.1:", management),
		"certificate":             s.file,
		"privateKey":              key,
		"httpPort":                httpPort,
		"tlsPort":                 tlsPort,
		"retryAfter":              map[string]int{"authz": 1, "order": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var once sync.Once
	s.process = launch(t, "pebble", func(line string) {
		t.Log("pebble: " + line)
		if strings.Contains(line, "ACME directory available at") {
			once.Do(func() { close(ready) })
		}
	}, "pebble", "-config", file, "-dnsserver", serveDNS(t), "-strict")
	s.await(t, ready)
	return s
}

// roots is who vouches for the certificates that pebble issues; it makes them anew at each start.
func (s *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	trusted := x509.NewCertPool()
	own, err := os.ReadFile(s.file)
	if err != nil || !trusted.AppendCertsFromPEM(own) {
		t.Fatalf("read %s: %v", s.file, err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(s.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(body)
	if block == nil {
		t.Fatalf("pebble's root: %q", body)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// serveDNS answers every question for an IPv4 address with 127.0.0.1, and every other with nothing,
// over TCP, as pebble asks.
func serveDNS(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				for answerDNS(conn) == nil {
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

// answerDNS answers one question (RFC 1035 §4.2.2).
func answerDNS(conn net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	question := make([]byte, int(length[0])<<8|int(length[1]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	var message dnsmessage.Message
	if err := message.Unpack(question); err != nil {
		return err
	}
	message.Response, message.RecursionAvailable, message.Additionals = true, true, nil
	for _, q := range message.Questions {
		if q.Type == dnsmessage.TypeA {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	answer, err := message.AppendPack(length[:])
	if err != nil {
		return err
	}
	size := len(answer) - len(length)
	answer[0], answer[1] = byte(size>>8), byte(size)
	_, err = conn.Write(answer)
	return err
}

// freePorts are n ports of 127.0.0.1 that nobody listens on.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // when all are found, so that no two are the same
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
