package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func everybody(netip.Addr) bool { return true }

// leading sends a header before the first bytes written to it, in the same segment or all in bytes.
type leading struct {
	net.Conn
	header  string
	inBytes bool
}

func (c *leading) Write(p []byte) (int, error) {
	b := append([]byte(c.header), p...)
	c.header = ""
	size := len(b)
	if c.inBytes {
		size = 1
	}
	for ; len(b) > 0; b = b[size:] {
		if _, err := c.Conn.Write(b[:size]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// kinds runs a test with a plain listener and with those of TLS.
func kinds(t *testing.T, test func(t *testing.T, cfg Config)) {
	certs := selfSigned(t)
	t.Run("plain", func(t *testing.T) { test(t, Config{}) })
	t.Run("TLS", func(t *testing.T) { test(t, Config{Certs: certs}) })
	t.Run("TLS of crypto/tls", func(t *testing.T) { test(t, Config{Certs: certs, KeepTLS: true}) })
}

// arrive connects to a listener, and gives both ends; nothing has been sent or read.
func arrive(t *testing.T, ln *Listener) (server Conn, client net.Conn) {
	t.Helper()
	client = dial(t, ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(Conn), client
}

func listen(t *testing.T, cfg Config) *Listener {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestProxiedConnectionTellsItsClient(t *testing.T) {
	kinds(t, func(t *testing.T, cfg Config) {
		cfg.Proxied = everybody
		ln := listen(t, cfg)
		for _, tt := range goodHeaders(t) {
			for _, inBytes := range []bool{false, true} {
				server, client := arrive(t, ln)
				own := [2]string{client.LocalAddr().String(), ln.Addr().String()}
				want := [2]string{tt.client, tt.destination}
				for i := range want {
					if want[i] == "" {
						want[i] = own[i]
					}
				}
				over := net.Conn(&leading{client, tt.header, inBytes})
				if cfg.Certs != nil {
					over = tls.Client(over, &tls.Config{InsecureSkipVerify: true})
				}
				sent := make(chan error, 1)
				go func() {
					_, err := io.WriteString(over, "hello")
					sent <- err
				}()
				if cfg.Certs != nil || inBytes {
					for range 2 {
						if err := server.Handshake(); err != nil {
							t.Errorf("%s: Handshake: %v", tt.name, err)
						}
					}
				}
				b := make([]byte, 5)
				if _, err := io.ReadFull(server, b); err != nil || string(b) != "hello" {
					t.Errorf("%s: %q, %v behind the header", tt.name, b, err)
				}
				if err := <-sent; err != nil {
					t.Errorf("%s: send: %v", tt.name, err)
				}
				if got := server.Client(); got != netip.MustParseAddrPort(want[0]) {
					t.Errorf("%s: Client = %s, want %s", tt.name, got, want[0])
				}
				if got := server.Destination(); got != netip.MustParseAddrPort(want[1]) {
					t.Errorf("%s: Destination = %s, want %s", tt.name, got, want[1])
				}
				if got := server.RemoteAddr().String(); got != own[0] {
					t.Errorf("%s: RemoteAddr = %s, want %s", tt.name, got, own[0])
				}
				server.Close()
				client.Close()
			}
		}
	})
}

// What stands behind the header is still in the socket, for whoever gets that.
func TestProxyHeaderLeavesTheRest(t *testing.T) {
	ln := listen(t, Config{Proxied: everybody})
	for _, tt := range goodHeaders(t) {
		server, client := arrive(t, ln)
		if _, err := io.WriteString(client, tt.header+"hello"); err != nil {
			t.Fatal(err)
		}
		if err := server.Handshake(); err != nil {
			t.Errorf("%s: Handshake: %v", tt.name, err)
		}
		inner := server.Detach()
		b := make([]byte, 5)
		if _, err := io.ReadFull(inner, b); err != nil || string(b) != "hello" {
			t.Errorf("%s: the socket has %q, %v", tt.name, b, err)
		}
		inner.Close()
	}
}

// A client that waits for more does not get it, but the end at once.
func TestBadProxyHeaderIsCutAndCounted(t *testing.T) {
	kinds(t, func(t *testing.T, cfg Config) {
		cfg.Proxied, cfg.Budget = everybody, NewBudget(1)
		ln := served(t, cfg)
		var n uint64
		for name, header := range badHeaders(t) {
			client := dial(t, ln.Addr().String())
			if _, err := io.WriteString(client, header); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(client); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: read %q, %v, want the end", name, b, err)
			}
			n++
			awaitCount(t, ln, ResultProxyHeader, n)
		}
		expectIdle(t, ln)
	})
}

func TestClientThatOwesItsProxyHeader(t *testing.T) {
	header := goodHeaders(t)[0].header
	kinds(t, func(t *testing.T, cfg Config) {
		cfg.Proxied = everybody
		for _, tt := range []struct {
			name, sent     string
			silent, leaves Result
		}{
			{"nothing", "", ResultSilent, ResultSilent},
			{"half a header", header[:len(header)/2], ResultTimeout, ResultGone},
			{"half a header of version 2", signature2 + "\x21\x11", ResultTimeout, ResultGone},
		} {
			cfg.HandshakeTimeout = hung
			ln := served(t, cfg)
			client := dial(t, ln.Addr().String())
			_, _ = io.WriteString(client, tt.sent)
			client.Close()
			awaitCount(t, ln, tt.leaves, 1)

			cfg.HandshakeTimeout = 20 * time.Millisecond
			ln = served(t, cfg)
			client = dial(t, ln.Addr().String())
			_, _ = io.WriteString(client, tt.sent)
			if b, err := io.ReadAll(client); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("client that sends %s: read %q, %v, want the end", tt.name, b, err)
			}
			awaitCount(t, ln, tt.silent, 1)
		}
	})
}

// A header is no sign of life: of TLS nothing has come.
func TestProxyHeaderAloneIsSilence(t *testing.T) {
	ln := served(t, Config{Certs: selfSigned(t), Proxied: everybody, HandshakeTimeout: 50 * time.Millisecond})
	client := dial(t, ln.Addr().String())
	if _, err := io.WriteString(client, goodHeaders(t)[0].header); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, client)
	awaitCount(t, ln, ResultSilent, 1)
}

func TestPlainHandshakeFailsOnce(t *testing.T) {
	server, client := arrive(t, listen(t, Config{Proxied: everybody}))
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := server.Handshake(); !errors.Is(err, errProxyHeader) {
			t.Errorf("Handshake = %v, want %v", err, errProxyHeader)
		}
		// front takes that for a client that has left.
		if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read = %d, %v, want %v", n, err, io.EOF)
		}
	}
	if b, err := io.ReadAll(client); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client reads %q, %v, want the end", b, err)
	}
}

// The timeout of the header is not left behind.
func TestProxyHeaderLeavesNoReadDeadline(t *testing.T) {
	ln := listen(t, Config{Proxied: everybody, HandshakeTimeout: 100 * time.Millisecond})
	server, client := arrive(t, ln)
	if _, err := io.WriteString(client, goodHeaders(t)[0].header); err != nil {
		t.Fatal(err)
	}
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	// The timeout passes: another client that began later runs into it.
	if silent, _ := arrive(t, ln); silent.Handshake() == nil {
		t.Error("a client that sends nothing has shaken hands")
	}
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want what the client has sent", n, err)
	}
}

func TestProxyHeaderFromElsewhereIsNone(t *testing.T) {
	header := goodHeaders(t)[0].header
	kinds(t, func(t *testing.T, cfg Config) {
		asked := make(chan netip.Addr, 1)
		cfg.Proxied = func(a netip.Addr) bool {
			asked <- a
			return a != netip.MustParseAddr("127.0.0.1")
		}
		ln := listen(t, cfg)
		server, client := arrive(t, ln)
		if a := <-asked; a != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("asked about %s", a)
		}
		if _, err := io.WriteString(client, header); err != nil {
			t.Fatal(err)
		}
		err := server.Handshake()
		if cfg.Certs != nil {
			if err == nil {
				t.Error("Handshake takes the header")
			}
			awaitCount(t, ln, ResultMalformed, 1)
		} else {
			b := make([]byte, len(header))
			if _, readErr := io.ReadFull(server, b); err != nil || readErr != nil || string(b) != header {
				t.Errorf("Handshake = %v, then read %q, %v, want what was sent", err, b, readErr)
			}
		}
		if got := server.Client().String(); got != client.LocalAddr().String() {
			t.Errorf("Client = %s, want %s", got, client.LocalAddr())
		}
	})
}

func TestUnproxiedConnectionOnIPv6Listener(t *testing.T) {
	ln, err := Listen("[::]:0", Config{Proxied: func(a netip.Addr) bool {
		if !a.Is4() {
			t.Errorf("asked about %s", a)
		}
		return false
	}})
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	client := dial(t, "127.0.0.1:"+port)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server := conn.(Conn)
	if got := server.Client().String(); got != client.LocalAddr().String() {
		t.Errorf("Client = %s, want %s", got, client.LocalAddr())
	}
	if got := server.Destination().String(); got != client.RemoteAddr().String() {
		t.Errorf("Destination = %s, want %s", got, client.RemoteAddr())
	}
}

func TestLogNamesTheProxiedClient(t *testing.T) {
	log, to := newLines()
	header := goodHeaders(t)[0]
	for _, tt := range []struct {
		cfg  Config
		sent string
		want []string
	}{
		{Config{Certs: selfSigned(t)}, header.header + "garbage", []string{"tls handshake", "reason=malformed", "client=" + header.client}},
		{Config{}, header.header + "\x16\x03\x01", []string{"tls on a plain port", "client=" + header.client}},
		{Config{Certs: selfSigned(t)}, "garbage", []string{"tls handshake", "reason=proxy_header", "client=127.0.0.1:", "no signature"}},
		{Config{}, "garbage", []string{`msg="proxy header"`, "reason=proxy_header", "client=127.0.0.1:", "no signature"}},
	} {
		tt.cfg.Proxied, tt.cfg.Log = everybody, to
		client := dial(t, serve(t, tt.cfg))
		if _, err := io.WriteString(client, tt.sent); err != nil {
			t.Fatal(err)
		}
		log.await(t, 1, tt.want...)
	}
	if lines := log.with("level=INFO"); len(lines) > 0 {
		t.Errorf("it is news: %s", strings.Join(lines, ""))
	}
}
