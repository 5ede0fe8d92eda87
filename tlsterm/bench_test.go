package tlsterm

import (
	"crypto/tls"
	"net"
	"testing"
)

// BenchmarkHandshake is a whole handshake over loopback, with the client's half, by one client at a
// time.
func BenchmarkHandshake(b *testing.B) {
	certs, err := SelfSigned([]string{"localhost"})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := Listen("127.0.0.1:0", Config{Certs: certs})
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*secureConn).Handshake()
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}()
		}
	}()
	cfg := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
	b.ReportAllocs()
	for b.Loop() {
		inner, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conn := tls.Client(inner, cfg)
		if err := conn.Handshake(); err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}
