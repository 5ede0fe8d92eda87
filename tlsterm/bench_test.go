package tlsterm

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// BenchmarkTakeOver is what comes behind the handshake; what it leaves out is the config's clone, the
// key log and the tickets' extra value.
func BenchmarkTakeOver(b *testing.B) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b.Run(tls.VersionName(version), func(b *testing.B) {
			client := clientTLS()
			client.MaxVersion = version
			s, state := shaken(b, client)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.takeOver(state, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
					_, err := (&TLSConn{tcp: c.(*net.TCPConn)}).accept(c, shared)
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
