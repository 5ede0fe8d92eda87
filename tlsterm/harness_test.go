package tlsterm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
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
		state, err = ours.accept(ours.tcp, serverConfig(server))
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
	return &tls.Config{
		RootCAs: testCerts().roots, ServerName: "localhost",
		ClientSessionCache: tls.NewLRUClientSessionCache(1), // without one it gets no tickets
	}
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
