package tlsterm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"
)

// tcpPair is a TCP connection on loopback, both ends bounded by hung and closed with the test.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	_ = dialled.SetDeadline(time.Now().Add(hung))
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// cutting cuts what is written to it into random pieces.
type cutting struct {
	net.Conn
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func (c *cutting) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > n && err == nil {
		size := []int{1, 1 + c.rng.IntN(8), 1 + c.rng.IntN(600), len(p)}[c.rng.IntN(4)]
		size, err = c.Conn.Write(p[n:min(len(p), n+size)])
		n += size
	}
	return n, err
}

// shakeBoth makes a connection with us on one side and crypto/tls on the other, whose bytes come in
// pieces.
func shakeBoth(t testing.TB, weAreClient bool, server, client *tls.Config) (ours *TLSConn, state State, theirs *tls.Conn) {
	t.Helper()
	near, far := tcpPair(t)
	cut := &cutting{Conn: far, rng: rand.New(rand.NewPCG(1, 2))}
	over := tls.Client(cut, client)
	if weAreClient {
		over = tls.Server(cut, server)
	}
	shaken := make(chan error, 1)
	go func() { shaken <- over.Handshake() }()
	var err error
	if weAreClient {
		ours, state, err = Client(near, client, hung)
	} else {
		ours = &TLSConn{tcp: near}
		state, err = ours.accept(serverConfig(server))
	}
	theirErr := <-shaken
	if err != nil || theirErr != nil {
		t.Fatalf("handshake: %v here, %v at the other side", err, theirErr)
	}
	t.Cleanup(func() { ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(hung))
	return ours, state, over
}

// testCerts are an ECDSA and an RSA certificate for localhost, made once.
var testCerts = sync.OnceValue(func() (certs struct {
	ecdsa, rsa tls.Certificate
	roots      *x509.CertPool
}) {
	certs.roots = x509.NewCertPool()
	for _, cert := range []*tls.Certificate{&certs.ecdsa, &certs.rsa} {
		made, err := selfSignedWith(cert == &certs.rsa)
		if err != nil {
			panic(err)
		}
		*cert = made
		certs.roots.AddCert(made.Leaf)
	}
	return certs
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testCerts().ecdsa, testCerts().rsa}}
}

func clientTLS() *tls.Config {
	return &tls.Config{RootCAs: testCerts().roots, ServerName: "localhost"}
}

// exchange sends random data in random sizes both ways at once, and compares what arrives.
func exchange(t *testing.T, seed uint64, a, b halfCloser) {
	t.Helper()
	var both sync.WaitGroup
	send := func(name string, seed uint64, from, to halfCloser) {
		sizes := rand.New(rand.NewPCG(seed, 3))
		data := make([]byte, 60<<10)
		for i := range data {
			data[i] = byte(sizes.Uint32())
		}
		both.Go(func() {
			sizes := rand.New(rand.NewPCG(seed, 4))
			for rest := data; len(rest) > 0; {
				size := min(len(rest), []int{0, 1, sizes.IntN(200), sizes.IntN(16384 + 1), 16384, 40000}[sizes.IntN(6)])
				if n, err := from.Write(rest[:size]); n != size || err != nil {
					t.Errorf("%s: Write = %d, %v, want %d", name, n, err, size)
					return
				}
				rest = rest[size:]
			}
			if err := from.CloseWrite(); err != nil {
				t.Errorf("%s: CloseWrite: %v", name, err)
			}
		})
		both.Go(func() {
			var got []byte
			for room := make([]byte, 80<<10); ; {
				size := []int{1, 10, 1 + sizes.IntN(5000), 32 << 10}[sizes.IntN(4)]
				room[size] = 0xa5 // behind what Read may touch
				n, err := to.Read(room[:size])
				if room[size] != 0xa5 {
					t.Errorf("%s: Read of %d bytes writes behind them", name, size)
				}
				got = append(got, room[:n]...)
				if err != nil {
					if err != io.EOF || !bytes.Equal(got, data) {
						t.Errorf("%s: %d bytes arrive of %d, or others, and then %v", name, len(got), len(data), err)
					}
					return
				}
			}
		})
	}
	send("one way", seed, a, b)
	send("the other way", seed+1, b, a)
	both.Wait()
}

// roles runs a test as server and as client.
func roles(t *testing.T, test func(t *testing.T, weAreClient bool)) {
	t.Run("server", func(t *testing.T) { test(t, false) })
	t.Run("client", func(t *testing.T) { test(t, true) })
}

func TestTakeOver(t *testing.T) {
	type handshake struct {
		name       string
		suite      uint16 // of TLS 1.2; 0 for TLS 1.3
		clientCert bool
		change     func(server, client *tls.Config)
	}
	tests := []handshake{
		{name: "TLS 1.3"},
		{name: "TLS 1.3, a client certificate", clientCert: true},
		{name: "TLS 1.3, no tickets", change: func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{name: "TLS 1.3, another hello asked for", change: func(server, client *tls.Config) {
			server.CurvePreferences, client.CurvePreferences = []tls.CurveID{tls.CurveP384}, []tls.CurveID{tls.X25519, tls.CurveP384}
		}},
		{name: "TLS 1.3, protocols", change: func(server, client *tls.Config) {
			server.NextProtos, client.NextProtos = []string{"http/1.1"}, []string{"h2", "http/1.1"}
		}},
		{name: "TLS 1.2, no tickets", suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			change: func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{name: "TLS 1.2, a client certificate", suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, clientCert: true},
	}
	for _, id := range knownSuites {
		if strings.HasPrefix(tls.CipherSuiteName(id), "TLS_ECDHE") {
			tests = append(tests, handshake{name: tls.CipherSuiteName(id), suite: id})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			roles(t, func(t *testing.T, weAreClient bool) {
				server, client := serverTLS(), clientTLS()
				version := uint16(tls.VersionTLS13)
				if tt.suite != 0 {
					version = tls.VersionTLS12
					client.MaxVersion = version
					client.CipherSuites = []uint16{tt.suite}
				}
				if tt.clientCert {
					server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, testCerts().roots
					client.Certificates = []tls.Certificate{testCerts().ecdsa}
				}
				if tt.change != nil {
					tt.change(server, client)
				}
				ours, state, theirs := shakeBoth(t, weAreClient, server, client)
				want := theirs.ConnectionState()
				name := want.ServerName
				if weAreClient {
					name = "localhost"
				}
				if got := (State{want.Version, want.CipherSuite, name, want.NegotiatedProtocol, false}); state != got || state.Version != version {
					t.Errorf("state %+v, want %+v", state, got)
				}
				if tt.suite != 0 && state.Suite != tt.suite {
					t.Errorf("suite %s, want %s", tls.CipherSuiteName(state.Suite), tls.CipherSuiteName(tt.suite))
				}
				exchange(t, uint64(tt.suite), ours, theirs)
			})
		})
	}
}

// A client that was here before comes back with its ticket.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			shared := serverConfig(serverTLS())
			client := clientTLS()
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 4 {
				near, far := tcpPair(t)
				theirs := tls.Client(far, client)
				shaken := make(chan error, 1)
				go func() { shaken <- theirs.Handshake() }()
				ours := &TLSConn{tcp: near}
				state, err := ours.accept(shared)
				if theirErr := <-shaken; err != nil || theirErr != nil {
					t.Fatalf("handshake: %v here, %v at the client", err, theirErr)
				}
				if state.Version != version || state.DidResume != (i > 0) || theirs.ConnectionState().DidResume != (i > 0) {
					t.Errorf("connection %d: state %+v, and %v at the client", i, state, theirs.ConnectionState().DidResume)
				}
				exchange(t, 1, ours, theirs) // which reads the ticket
				ours.Close()
			}
		})
	}
}

// Tickets that a server without the record layer gave have no master secret for it in TLS 1.2.
func TestTicketsFromBefore(t *testing.T) {
	server := serverTLS()
	server.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	client := clientTLS()
	client.MaxVersion = tls.VersionTLS12
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)

	near, far := tcpPair(t)
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Server(near, server).Handshake() }()
	if err := errors.Join(tls.Client(far, client).Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	ours, state, theirs := shakeBoth(t, false, server, client)
	if state.DidResume {
		t.Error("resumed without a master secret")
	}
	exchange(t, 1, ours, theirs)
}

func TestConfigForClient(t *testing.T) {
	base := serverTLS()
	asked := ""
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch asked = hello.ServerName; asked {
		case "refused.test":
			return nil, errors.New("not this one")
		case "localhost":
			own := &tls.Config{Certificates: []tls.Certificate{testCerts().rsa}, NextProtos: []string{"own"}}
			return own, nil
		}
		return nil, nil
	}
	client := clientTLS()
	client.NextProtos = []string{"own"}
	ours, state, theirs := shakeBoth(t, false, base, client)
	if asked != "localhost" || state.Protocol != "own" {
		t.Errorf("asked about %q, and agreed on %q", asked, state.Protocol)
	}
	exchange(t, 1, ours, theirs)

	client.ServerName, client.InsecureSkipVerify = "other.test", true
	ours, _, theirs = shakeBoth(t, false, base, client)
	exchange(t, 2, ours, theirs)

	near, far := tcpPair(t)
	client.ServerName = "refused.test"
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Client(far, client).Handshake() }()
	if _, err := (&TLSConn{tcp: near}).accept(serverConfig(base)); err == nil || !strings.Contains(err.Error(), "not this one") {
		t.Errorf("accept = %v, want GetConfigForClient's error", err)
	}
	if err := <-shaken; err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("handshake of the client: %v, want an alert", err)
	}
}

// holding holds back what is written until it is released, so that all of it comes at once.
type holding struct {
	net.Conn
	held  []byte
	holds bool
}

func (h *holding) Write(p []byte) (int, error) {
	if h.holds {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	n, err := h.Conn.Write(p)
	h.holds = true // from behind the ClientHello on
	return n, err
}

// What a client sends right behind its Finished has been read with it.
func TestDataBehindFinished(t *testing.T) {
	for _, size := range []int{1, 2000, 16384, 50000} {
		near, far := tcpPair(t)
		hold := &holding{Conn: far}
		theirs := tls.Client(hold, clientTLS())
		data := bytes.Repeat([]byte("x"), size)
		sent := make(chan error, 1)
		go func() {
			_, err := theirs.Write(data)
			if err == nil {
				_, err = far.Write(hold.held)
			}
			sent <- err
		}()
		ours := &TLSConn{tcp: near}
		if _, err := ours.accept(serverConfig(serverTLS())); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(ours, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes behind Finished: %v, or others", size, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		ours.Close()
	}
}

// Neither crypto/tls nor a secret stays when the record layer has taken over.
func TestNothingIsLeftOfTheHandshake(t *testing.T) {
	near, far := tcpPair(t)
	theirs := tls.Client(far, clientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- theirs.Handshake() }()
	ours := &TLSConn{tcp: near}
	left, secret := func() (weak.Pointer[tls.Conn], []byte) {
		s := newShaking(near)
		over := tls.Server(s, serverConfig(serverTLS()))
		if _, err := ours.shake(s, over); err != nil {
			t.Fatal(err)
		}
		secret := s.secrets.ServerTraffic
		s.release()
		return weak.Make(over), secret
	}()
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(hung); left.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the tls.Conn is still reachable")
		}
	}
	if len(secret) == 0 || !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Error("a secret is not zeroed")
	}
	exchange(t, 1, ours, theirs)
}

func TestHandshakeThatEndsInWhatIsNotKnown(t *testing.T) {
	cbc := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	for _, tt := range []struct {
		name           string
		server, client func(*tls.Config)
	}{
		{"CBC only", func(c *tls.Config) { c.CipherSuites = cbc }, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}},
	} {
		roles(t, func(t *testing.T, weAreClient bool) {
			server, client := serverTLS(), clientTLS()
			tt.server(server)
			tt.client(client)
			if !weAreClient {
				client.CipherSuites = cbc
			}
			near, far := tcpPair(t)
			shaken := make(chan error, 1)
			var err error
			if weAreClient {
				go func() { shaken <- tls.Server(far, server).Handshake(); far.Close() }()
				_, _, err = Client(near, client, hung)
			} else {
				go func() { shaken <- tls.Client(far, client).Handshake(); far.Close() }()
				_, err = (&TLSConn{tcp: near}).accept(serverConfig(server))
				near.Close()
			}
			if err == nil {
				t.Errorf("%s: handshake succeeds", tt.name)
			}
			if err := <-shaken; err == nil {
				t.Errorf("%s: handshake succeeds at the other side", tt.name)
			}
		})
	}
}

func TestClientThatDoesNotTrust(t *testing.T) {
	near, far := tcpPair(t)
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Server(far, serverTLS()).Handshake() }()
	_, _, err := Client(near, &tls.Config{ServerName: "localhost"}, hung)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("Client = %v, want a certificate nobody trusts", err)
	}
	if err := <-shaken; err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("handshake of the backend: %v, want the alert", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func TestClientTimeout(t *testing.T) {
	near, far := tcpPair(t)
	_, _, err := Client(near, clientTLS(), 20*time.Millisecond)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Client = %v of a silent backend, want a timeout", err)
	}
	if b, err := io.ReadAll(far); err != nil || len(b) == 0 {
		t.Errorf("the backend reads %d bytes, %v", len(b), err)
	}
}

// A KeyLogWriter of the user's config gets nothing.
func TestSecretsGoNowhereElse(t *testing.T) {
	roles(t, func(t *testing.T, weAreClient bool) {
		var log bytes.Buffer
		server, client := serverTLS(), clientTLS()
		if weAreClient {
			client.KeyLogWriter = &log
		} else {
			server.KeyLogWriter = &log
		}
		shakeBoth(t, weAreClient, server, client)
		if log.Len() > 0 {
			t.Errorf("secrets in the log: %d bytes", log.Len())
		}
	})
}

// The handshake of a listener's connection, with the record layer and without.
func BenchmarkHandshake(b *testing.B) {
	server := serverTLS()
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		client := clientTLS()
		client.MaxVersion = version
		for name, accept := range map[string]func(net.Conn) error{
			"crypto/tls alone": func(c net.Conn) error { return tls.Server(c, server).HandshakeContext(context.Background()) },
			"taken over": func() func(net.Conn) error {
				shared := serverConfig(server)
				return func(c net.Conn) error {
					_, err := (&TLSConn{tcp: c.(*net.TCPConn)}).accept(shared)
					return err
				}
			}(),
		} {
			b.Run(tls.VersionName(version)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer ln.Close()
				var took time.Duration
				for b.Loop() {
					far, err := net.Dial("tcp", ln.Addr().String())
					if err != nil {
						b.Fatal(err)
					}
					near, err := ln.Accept()
					if err != nil {
						b.Fatal(err)
					}
					shaken := make(chan error, 1)
					go func() { shaken <- tls.Client(far, client).Handshake() }()
					began := time.Now()
					if err := accept(near); err != nil {
						b.Fatal(err)
					}
					took += time.Since(began)
					if err := <-shaken; err != nil {
						b.Fatal(err)
					}
					far.Close()
					near.Close()
				}
				b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs/accept")
			})
		}
	}
}

// selfSignedWith is a certificate for localhost that signs itself, and may be a client's as well.
func selfSignedWith(useRSA bool) (cert tls.Certificate, err error) {
	var key crypto.Signer
	if useRSA {
		key, err = rsa.GenerateKey(crand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	}
	if err != nil {
		return cert, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames:    []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		return cert, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
