package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/record"
)

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
				_, err = (&TLSConn{tcp: near}).accept(near, serverConfig(server))
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

// shaken is a handshake that a server has made and the record layer has not taken over yet.
func shaken(t testing.TB, client *tls.Config) (*takeover, State) {
	t.Helper()
	near, far := tcpPair(t)
	theirs := make(chan error, 1)
	go func() { theirs <- tls.Client(far, client).Handshake() }()
	s := newTakeover(near)
	over := tls.Server(s, serverConfig(serverTLS()))
	if err := errors.Join(over.Handshake(), <-theirs); err != nil {
		t.Fatal(err)
	}
	state := over.ConnectionState()
	return s, State{Version: state.Version, Suite: state.CipherSuite}
}

// Whatever is not as a handshake of crypto/tls leaves it ends the connection.
func TestTakeOverFailsClosed(t *testing.T) {
	const tls12, tls13 = tls.VersionTLS12, tls.VersionTLS13
	for _, tt := range []struct {
		name    string
		version uint16
		change  func(s *takeover, state *State)
		want    string
	}{
		{"as it is", tls12, func(*takeover, *State) {}, ""},
		{"as it is", tls13, func(*takeover, *State) {}, ""},
		{"unknown suite", tls12, func(_ *takeover, state *State) { state.Suite = tls.TLS_RSA_WITH_AES_128_CBC_SHA }, "not known"},
		{"suite of the other version", tls13, func(_ *takeover, state *State) {
			state.Version = tls12
		}, "another version"},
		{"no secret", tls13, func(s *takeover, _ *State) { s.secrets.ClientTraffic = nil }, "do not fit"},
		{"no master secret", tls12, func(s *takeover, _ *State) { s.secrets.Master = nil }, "wrong size"},
		{"no ClientHello", tls12, func(s *takeover, _ *State) { s.got.n-- }, "wrong size"},
		{"no ServerHello", tls12, func(s *takeover, _ *State) { s.sentHello.b[0] = 11 }, "wrong size"},
		{"inside a header", tls13, func(s *takeover, _ *State) { s.headSize = 1 }, "inside a record"},
		{"inside a record", tls13, func(s *takeover, _ *State) { s.left = 1 }, "inside a record"},
		{"part of a record sent", tls13, func(s *takeover, _ *State) { s.tail = s.tail[:len(s.tail)-1] }, "part of a record"},
		{"something behind the tickets", tls13, func(s *takeover, _ *State) {
			s.tail = append(s.tail, 23, 3, 3, 0, 1, 0)
		}, "behind the first record"},
		{"another master secret", tls12, func(s *takeover, _ *State) { s.secrets.Master[0] ^= 1 }, "Finished"},
		{"no Finished", tls12, func(s *takeover, _ *State) { s.tail = nil }, "Finished"},
		{"something behind the client's Finished", tls12, func(s *takeover, _ *State) { s.head[4]++ }, "Finished"},
	} {
		client := clientTLS()
		client.MaxVersion = tt.version
		s, state := shaken(t, client)
		tt.change(s, &state)
		session, err := s.takeOver(state, false)
		if tt.want == "" {
			if err != nil || session == (record.Session{}) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || session != (record.Session{}) {
			t.Errorf("%s: takeOver = %v, want an error with %q and no session", tt.name, err, tt.want)
		}
	}

	// A client of TLS 1.3 sends nothing under its key before the record layer does.
	s, state := shaken(t, clientTLS())
	s.got, s.sentHello = s.sentHello, s.got
	s.secrets.ClientTraffic, s.secrets.ServerTraffic = s.secrets.ServerTraffic, s.secrets.ClientTraffic
	if _, err := s.takeOver(state, true); err == nil || !strings.Contains(err.Error(), "behind its Finished") {
		t.Errorf("takeOver of a client that has sent data: %v", err)
	}
}
