package record

import (
	"crypto/tls"
	"fmt"
	"testing"
)

// What these leave out: the system calls and copies around a record. The misses are those of a cache
// that has never seen the key; in a proxy with many idle connections nearly every record is one.

var benchSuites = []uint16{
	tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
}

func benchEach(b *testing.B, bench func(b *testing.B, id uint16, size int, miss bool)) {
	for _, id := range benchSuites {
		for _, size := range []int{128, maxData} {
			for _, miss := range []bool{false, true} {
				name := fmt.Sprintf("%s/%d/%s", tls.CipherSuiteName(id), size, map[bool]string{false: "hit", true: "miss"}[miss])
				b.Run(name, func(b *testing.B) { bench(b, id, size, miss) })
			}
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	benchEach(b, func(b *testing.B, id uint16, size int, miss bool) {
		server, _ := sessions(b, id)
		ciphers := NewCiphers(4)
		data, wire := make([]byte, size), make([]byte, 0, SealedSize(size))
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			if miss {
				ciphers.Forget(server)
			}
			server.Seal(ciphers, wire, data)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchEach(b, func(b *testing.B, id uint16, size int, miss bool) {
		server, client := sessions(b, id)
		ciphers := NewCiphers(4)
		wire, room := server.Seal(ciphers, nil, make([]byte, size)), make([]byte, 0, MaxOpened)
		before := *client
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			if miss {
				ciphers.Forget(client)
			}
			*client = before
			if _, _, err := client.Open(ciphers, room, wire); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkKeyUpdate(b *testing.B) {
	server, client := sessions(b, tls.TLS_AES_128_GCM_SHA256)
	ciphers := NewCiphers(4)
	wire, room := make([]byte, 0, MaxDue), make([]byte, 0, MaxOpened)
	b.ReportAllocs()
	for b.Loop() {
		client.idle = 0
		if _, _, err := client.Open(ciphers, room, server.AppendKeyUpdate(ciphers, wire, false)); err != nil {
			b.Fatal(err)
		}
	}
}
