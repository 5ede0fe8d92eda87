package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// accepted is a connection that a listener accepted, and the client's end of it. With certs it is
// one of TLS.
func accepted(t *testing.T, certs *Certs) (server Conn, client net.Conn) {
	t.Helper()
	return acceptedBy(t, Config{Certs: certs})
}

func acceptedBy(t *testing.T, cfg Config) (server Conn, client net.Conn) {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client = dial(t, ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if cfg.Certs != nil {
		shaken := make(chan error, 1)
		go func() { shaken <- conn.(*secureConn).Handshake() }()
		over := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		if err := over.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		client = over
	}
	return conn.(Conn), client
}

// both runs a test on a plain connection and on those of TLS.
func both(t *testing.T, test func(t *testing.T, server Conn, client net.Conn)) {
	t.Run("plain", func(t *testing.T) {
		server, client := accepted(t, nil)
		test(t, server, client)
	})
	t.Run("TLS", func(t *testing.T) {
		server, client := accepted(t, selfSigned(t))
		test(t, server, client)
	})
	t.Run("TLS of crypto/tls", func(t *testing.T) {
		server, client := acceptedBy(t, Config{Certs: selfSigned(t), KeepTLS: true})
		test(t, server, client)
	})
}

func TestDetach(t *testing.T) {
	both(t, func(t *testing.T, server Conn, client net.Conn) {
		server.Linger()
		inner := server.Detach()
		defer inner.Close()
		if _, err := io.WriteString(client, "hello"); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Read(make([]byte, 5)); n != 0 || !errors.Is(err, ErrDetached) {
			t.Errorf("Read = %d, %v, want ErrDetached", n, err)
		}
		if err := server.Close(); err != nil {
			t.Errorf("Close = %v, want nothing to happen", err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(inner, b); err != nil || string(b) != "hello" {
			t.Errorf("what was detached reads %q, %v", b, err)
		}
		switch inner.(type) {
		case *net.TCPConn, *TLSConn, *tls.Conn:
		default:
			t.Errorf("Detach = %T", inner)
		}
	})
}

func TestGone(t *testing.T) {
	both(t, func(t *testing.T, server Conn, client net.Conn) {
		if server.Gone() {
			t.Error("Gone = true of an open connection")
		}
		client.Close()
		_, _ = io.Copy(io.Discard, server) // until the close has arrived
		if !server.Gone() {
			t.Error("Gone = false once the client has closed")
		}
	})
}

// An answer is read although the client has sent more than was read of it.
func TestLingerKeepsTheAnswer(t *testing.T) {
	both(t, func(t *testing.T, server Conn, client net.Conn) {
		closed := make(chan error, 1)
		server.Linger()
		go func() {
			_, err := io.ReadFull(server, make([]byte, 1))
			if err == nil {
				_, err = io.WriteString(server, "answer")
			}
			closed <- errors.Join(err, server.Close())
		}()
		if _, err := io.WriteString(client, strings.Repeat("x", 1_000_000)); err != nil {
			t.Fatalf("send: %v", err)
		}
		b, err := io.ReadAll(client)
		if err != nil || string(b) != "answer" {
			t.Errorf("read %q, %v, want the answer and the end", b, err)
		}
		client.Close()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestLingerEndsTheSendingHalfAtOnce(t *testing.T) {
	server, client := accepted(t, nil)
	server.Linger()
	closed := make(chan error, 1)
	go func() { closed <- server.Close() }()
	// The client has neither sent nor closed anything.
	if b, err := io.ReadAll(client); err != nil || len(b) > 0 {
		t.Errorf("read %q, %v, want the end", b, err)
	}
	client.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestOnlyTLSLooksLikeTLS(t *testing.T) {
	plain, _ := accepted(t, nil)
	if _, ok := plain.(interface{ ConnectionState() tls.ConnectionState }); ok {
		t.Error("a plain connection has a ConnectionState")
	}
	secure, _ := accepted(t, selfSigned(t))
	if _, ok := secure.(interface{ ConnectionState() tls.ConnectionState }); !ok {
		t.Error("one of TLS has none")
	}
	for _, conn := range []Conn{plain, secure} {
		if _, ok := conn.NetConn().(*net.TCPConn); !ok {
			t.Errorf("NetConn of a %T is a %T", conn, conn.NetConn())
		}
	}
}
