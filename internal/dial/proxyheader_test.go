package dial

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"wsproxy/routing"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 20 * time.Second

func TestAppendProxyHeader(t *testing.T) {
	const sig = "\r\n\r\n\x00\r\nQUIT\n"
	const long = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
	for _, tt := range []struct {
		name                string
		version             int
		client, destination string // empty for what is not known
		want                string
	}{
		{"v1 IPv4", 1, "192.0.2.1:1234", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"},
		{"v1 IPv6", 1, "[2001:db8::1]:1234", "[2001:db8::2]:443", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n"},
		{"v1 longest", 1, long, long, "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n"},
		{"v1 zone", 1, "[fe80::1%lo]:1234", "[fe80::2%lo]:443", "PROXY TCP6 fe80::1 fe80::2 1234 443\r\n"},
		{"v1 mixed", 1, "192.0.2.1:1234", "[2001:db8::2]:443", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1234 443\r\n"},
		{"v1 mixed the other way", 1, "[2001:db8::1]:1234", "192.0.2.2:443", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1234 443\r\n"},
		{"v1 mapped", 1, "[::ffff:192.0.2.1]:1234", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"},
		{"v1 unknown", 1, "", "192.0.2.2:443", "PROXY UNKNOWN\r\n"},
		{"v1 unknown destination", 1, "192.0.2.1:1234", "", "PROXY UNKNOWN\r\n"},
		{"v2 IPv4", 2, "192.0.2.1:1234", "192.0.2.2:443", sig + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb"},
		{"v2 IPv6", 2, "[2001:db8::1]:1234", "[2001:db8::2]:443", sig + "\x21\x21\x00\x24" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x01\xbb"},
		{"v2 mixed", 2, "192.0.2.1:1234", "[2001:db8::2]:443", sig + "\x21\x21\x00\x24" +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x01\xbb"},
		{"v2 unknown", 2, "", "192.0.2.2:443", sig + "\x20\x00\x00\x00"},
		{"v2 nothing known", 2, "", "", sig + "\x20\x00\x00\x00"},
	} {
		var client, destination netip.AddrPort
		if tt.client != "" {
			client = netip.MustParseAddrPort(tt.client)
		}
		if tt.destination != "" {
			destination = netip.MustParseAddrPort(tt.destination)
		}
		if got := string(AppendProxyHeader([]byte("before"), tt.version, client, destination)); got != "before"+tt.want {
			t.Errorf("%s: %q, want %q behind what was there", tt.name, got, tt.want)
		}
	}
}

// seen is what a backend has got.
type seen struct {
	client, destination, data string
	err                       error
}

// backend reads PROXY protocol headers as go-proxyproto's users do, and TLS behind them if cfg says so,
// of one connection.
func backend(t *testing.T, cfg *tls.Config, headers bool) (addr string, got <-chan seen) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	ln := inner
	if headers {
		ln = &proxyproto.Listener{Listener: ln}
	}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	to := make(chan seen, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			to <- seen{err: err}
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(hung))
		line, err := bufio.NewReader(conn).ReadString('\n')
		to <- seen{conn.RemoteAddr().String(), conn.LocalAddr().String(), line, err}
	}()
	return inner.Addr().String(), to
}

func TestDialSendsPrefaceAndFirst(t *testing.T) {
	const client, destination = "192.0.2.1:1234", "192.0.2.2:443"
	serverTLS, clientTLS := certificate(t)
	for _, version := range []int{0, 1, 2} {
		for _, over := range []bool{false, true} {
			for _, first := range []string{"", "hello\n"} {
				t.Run(fmt.Sprintf("version %d, TLS %v, first %q", version, over, first), func(t *testing.T) {
					var cfg *tls.Config
					if over {
						cfg = serverTLS
					}
					addr, got := backend(t, cfg, version > 0)
					b := &routing.Backend{Addr: addr}
					d := new(Dialer)
					if over {
						b.TLS = &routing.BackendTLS{}
						d = New(Config{TLS: map[routing.BackendTLS]*tls.Config{*b.TLS: clientTLS}})
					}
					r := Request{Timeout: hung, First: []byte(first)}
					if version > 0 {
						r.Preface = AppendProxyHeader(nil, version, netip.MustParseAddrPort(client), netip.MustParseAddrPort(destination))
					}
					conn, err := d.Dial(b, r)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if first == "" {
						if _, err := io.WriteString(conn, "hello\n"); err != nil {
							t.Fatal(err)
						}
					}
					want := seen{client, destination, "hello\n", nil}
					if version == 0 {
						want.client, want.destination = conn.LocalAddr().String(), addr
					}
					if s := <-got; s != want {
						t.Errorf("the backend sees %+v, want %+v", s, want)
					}
				})
			}
		}
	}
}

// A Request's slices are the caller's: what stands behind Preface is not written over.
func TestDialLeavesThePrefaceAlone(t *testing.T) {
	addr, got := backend(t, nil, true)
	room := []byte("PROXY UNKNOWN\r\nbehind")
	conn, err := new(Dialer).Dial(&routing.Backend{Addr: addr}, Request{Preface: room[:15], First: []byte("hello\n")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if s := <-got; s.data != "hello\n" || string(room[15:]) != "behind" {
		t.Errorf("the backend sees %+v, and behind Preface are %q", s, room[15:])
	}
}

// A header goes first, and nothing but it is plain: a backend without the PROXY protocol takes it for
// bad TLS.
func TestPrefaceToABackendThatDoesNotKnowIt(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	addr, got := backend(t, serverTLS, false)
	b := &routing.Backend{Addr: addr, TLS: &routing.BackendTLS{}}
	d := New(Config{TLS: map[routing.BackendTLS]*tls.Config{*b.TLS: clientTLS}})
	conn, err := d.Dial(b, Request{Timeout: hung, Preface: []byte("PROXY UNKNOWN\r\n"), First: []byte("secret\n")})
	if !errors.Is(err, routing.ErrTLS) {
		t.Errorf("Dial = %v, %v, want %v", conn, err, routing.ErrTLS)
	}
	if s := <-got; s.err == nil {
		t.Errorf("the backend sees %+v, want an error", s)
	}
}

// certificate makes one for localhost, and what each side needs of it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
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
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "localhost"}
}
