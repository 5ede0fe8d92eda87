package tlsterm

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"slices"
	"testing"
)

// hello is a ClientHello as bytes, which no library would send.
type hello struct {
	version  uint16   // of the hello itself
	versions []uint16 // of the extension, none without
	suites   []uint16
	curves   []tls.CurveID
}

func (h hello) bytes() []byte {
	u16 := binary.BigEndian.AppendUint16
	vector := func(b, content []byte) []byte { return append(u16(b, uint16(len(content))), content...) }
	var extensions []byte
	extension := func(id uint16, content []byte) { extensions = vector(u16(extensions, id), content) }

	var curves, versions []byte
	for _, c := range h.curves {
		curves = u16(curves, uint16(c))
	}
	extension(10, vector(nil, curves))                               // supported_groups
	extension(11, []byte{1, 0})                                      // ec_point_formats
	extension(13, vector(nil, []byte{4, 3, 8, 4, 4, 1, 2, 3, 2, 1})) // signature_algorithms
	for _, v := range h.versions {
		versions = u16(versions, v)
	}
	if len(versions) > 0 {
		extension(43, append([]byte{byte(len(versions))}, versions...))
	}

	body := append(u16(nil, h.version), make([]byte, 32)...) // random
	body = append(body, 0)                                   // session id
	var suites []byte
	for _, s := range h.suites {
		suites = u16(suites, s)
	}
	body = vector(vector(append(vector(body, suites), 1, 0), extensions), nil) // compression: null
	body = body[:len(body)-2]
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return vector([]byte{recordHandshake, 3, 1}, message)
}

// Alerts (RFC 8446 §6, RFC 5246 §7.2).
const (
	alertHandshakeFailure = 40
	alertProtocolVersion  = 70
)

// Whatever a client offers, CBC, RSA key exchange and old versions are answered with an alert.
func TestOldCiphersAndVersionsAreRefused(t *testing.T) {
	aead := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	x25519 := []tls.CurveID{tls.X25519}
	ln := served(t, Config{Certs: selfSigned(t)})
	for _, tt := range []struct {
		name  string
		hello hello
		alert byte // 0 means a ServerHello
		want  Result
	}{
		{"an AEAD in TLS 1.2", hello{version: tls.VersionTLS12, suites: aead, curves: x25519}, 0, ResultGone},
		{"CBC with ECDHE in TLS 1.2", hello{version: tls.VersionTLS12, curves: x25519, suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}}, alertHandshakeFailure, ResultSuite},
		{"RSA key exchange in TLS 1.2", hello{version: tls.VersionTLS12, curves: x25519, suites: []uint16{
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}},
			alertHandshakeFailure, ResultSuite},
		{"RC4 and 3DES in TLS 1.2", hello{version: tls.VersionTLS12, curves: x25519, suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}}, alertHandshakeFailure, ResultSuite},
		{"TLS 1.1", hello{version: tls.VersionTLS11, suites: aead, curves: x25519}, alertProtocolVersion, ResultVersion},
		{"TLS 1.0", hello{version: tls.VersionTLS10, suites: aead, curves: x25519}, alertProtocolVersion, ResultVersion},
		{"SSL 3.0", hello{version: 0x300, suites: aead, curves: x25519}, alertProtocolVersion, ResultVersion},
		{"TLS 1.1 and 1.0 by extension", hello{version: tls.VersionTLS12, suites: aead, curves: x25519,
			versions: []uint16{tls.VersionTLS11, tls.VersionTLS10}}, alertProtocolVersion, ResultVersion},
		{"no curve in common", hello{version: tls.VersionTLS12, suites: aead, curves: []tls.CurveID{9}},
			alertHandshakeFailure, ResultSuite},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := ln.Stats().Handshakes[tt.want]
			conn := dial(t, ln.Addr().String())
			if _, err := conn.Write(tt.hello.bytes()); err != nil {
				t.Fatal(err)
			}
			var head [6]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				t.Fatalf("read record: %v", err)
			}
			if tt.alert == 0 {
				if head[0] != recordHandshake || head[5] != 2 {
					t.Errorf("answer begins % x, want a ServerHello", head)
				}
				conn.Close()
			} else {
				var level [1]byte
				if _, err := io.ReadFull(conn, level[:]); err != nil {
					t.Fatal(err)
				}
				if head[0] != 21 || level[0] != tt.alert {
					t.Errorf("answer begins % x %d, want alert %d", head, level, tt.alert)
				}
			}
			awaitCount(t, ln, tt.want, before+1)
		})
	}
}

func TestCurves(t *testing.T) {
	for _, tt := range []struct {
		name           string
		server, client []tls.CurveID
		want           tls.CurveID // 0 means a refusal
	}{
		{"post-quantum by default", nil, nil, tls.X25519MLKEM768},
		{"as the client can", nil, []tls.CurveID{tls.CurveP384}, tls.CurveP384},
		{"as the server may", []tls.CurveID{tls.CurveP256}, nil, tls.CurveP256},
		{"none in common", []tls.CurveID{tls.CurveP256}, []tls.CurveID{tls.X25519}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln := served(t, Config{Certs: selfSigned(t), Curves: tt.server})
			conn, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, CurvePreferences: tt.client})
			if tt.want == 0 {
				if err == nil {
					t.Fatal("handshake succeeded, want a refusal")
				}
				awaitCount(t, ln, ResultSuite, 1)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.ConnectionState().CurveID; got != tt.want {
				t.Errorf("curve = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    Config
		client []string
		proto  string
		want   Result
	}{
		{"its own", Config{Protocols: []string{"ocpp1.6", "http/1.1"}}, []string{"http/1.1", "ocpp1.6"}, "ocpp1.6", ResultOK},
		{"none of its own", Config{Protocols: []string{"ocpp1.6"}}, []string{"http/1.0"}, "", ResultProtocol},
		{"any", Config{AnyProtocol: true}, []string{"h2"}, "", ResultOK},
		{"no challenge without ACME", Config{}, []string{challengeProtocol}, "", ResultProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Certs = selfSigned(t)
			ln := served(t, tt.cfg)
			conn, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: tt.client})
			if err == nil {
				if got := conn.ConnectionState().NegotiatedProtocol; got != tt.proto {
					t.Errorf("protocol %q, want %q", got, tt.proto)
				}
				conn.Close()
			}
			awaitCount(t, ln, tt.want, 1)
		})
	}
}

// awaitCount waits until a listener has counted so many of a result.
func awaitCount(t *testing.T, ln *Listener, result Result, want uint64) {
	t.Helper()
	await(t, func() bool { return ln.Stats().Handshakes[result] >= want }, func() string {
		return string(result) + " not counted"
	})
	if got := ln.Stats().Handshakes[result]; got != want {
		t.Errorf("%s = %d, want %d", result, got, want)
	}
	if !slices.Contains(results[:], result) {
		t.Errorf("%s is no Result", result)
	}
}
