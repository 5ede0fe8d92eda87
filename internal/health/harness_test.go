package health

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/routing"
)

var noLog = slog.New(slog.DiscardHandler)

// hung is when a test gives up.
const hung = 20 * time.Second

// backend serves connections, each as behave says, until the test ends.
type backend struct {
	addr string
	conf *tls.Config // what clients of it need, nil for plain

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended sync.WaitGroup
}

func serve(t *testing.T, behave func(c net.Conn, br *bufio.Reader)) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, behave)
}

func serveTLS(t *testing.T, behave func(c net.Conn, br *bufio.Reader)) *backend {
	t.Helper()
	cert, roots := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, l, behave)
	b.conf = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	return b
}

func serveOn(t *testing.T, l net.Listener, behave func(c net.Conn, br *bufio.Reader)) *backend {
	b := &backend{addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	b.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[c] = true
			b.mu.Unlock()
			b.ended.Go(func() {
				behave(c, bufio.NewReader(c))
				c.Close()
				b.mu.Lock()
				delete(b.conns, c)
				b.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.ended.Wait()
	})
	return b
}

// target dials the backend as the proxy does.
func (b *backend) target(probed func(Result)) Target {
	to := &routing.Backend{URL: b.addr, Addr: b.addr}
	cfg := dial.Config{}
	if b.conf != nil {
		to.TLS = &routing.BackendTLS{}
		cfg.TLS = map[routing.BackendTLS]*tls.Config{*to.TLS: b.conf}
	}
	dialer := dial.New(cfg)
	return Target{Name: b.addr, Host: "backend.example", Probed: probed,
		Dial: func(timeout time.Duration) (net.Conn, error) {
			return dialer.Dial(to, dial.Request{Timeout: timeout})
		}}
}

// probeOnce gives the result of a first probe.
func probeOnce(t *testing.T, target func(func(Result)) Target, c Check) Result {
	t.Helper()
	p := New(Config{Log: noLog})
	defer p.Close()
	results := make(chan Result, 1)
	defer p.Add(target(func(r Result) {
		select {
		case results <- r:
		default:
		}
	}), c)()
	return await(t, results)
}

func await[T any](t *testing.T, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(hung):
		t.Fatal("nothing comes")
	}
	return got
}

// answer is a backend that reads a request and sends a text.
func answer(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

// silence is a backend that takes everything and says nothing.
func silence(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// leavesNothing checks at the end of a test that goroutines and descriptors are back at what they are now.
func leavesNothing(t *testing.T) {
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	t.Cleanup(func() {
		for end := time.Now().Add(hung); ; runtime.Gosched() {
			g, d := runtime.NumGoroutine(), openDescriptors(t)
			if g <= goroutines && d <= descriptors {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d goroutines and %d descriptors, %d and %d at the beginning", g, d, goroutines, descriptors)
				return
			}
		}
	})
}

func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}
