package tlsterm

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"
)

func TestTakeOver(t *testing.T) {
	type handshake struct {
		name       string
		suite      uint16 // of TLS 1.2; 0 for TLS 1.3
		clientCert bool
		change     func(server, client *tls.Config)
	}
	tests := []handshake{
		{name: "TLS 1.3"},
		{name: "TLS 1.3, a client certificate", clientCert: true},
		{name: "TLS 1.3, no tickets", change: func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{name: "TLS 1.3, another hello asked for", change: func(server, client *tls.Config) {
			server.CurvePreferences, client.CurvePreferences = []tls.CurveID{tls.CurveP384}, []tls.CurveID{tls.X25519, tls.CurveP384}
		}},
		{name: "TLS 1.3, protocols", change: func(server, client *tls.Config) {
			server.NextProtos, client.NextProtos = []string{"http/1.1"}, []string{"h2", "http/1.1"}
		}},
		{name: "TLS 1.2, no tickets", suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			change: func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{name: "TLS 1.2, a client certificate", suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, clientCert: true},
	}
	for _, id := range knownSuites {
		if strings.HasPrefix(tls.CipherSuiteName(id), "TLS_ECDHE") {
			tests = append(tests, handshake{name: tls.CipherSuiteName(id), suite: id})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			roles(t, func(t *testing.T, weAreClient bool) {
				server, client := serverTLS(), clientTLS()
				version := uint16(tls.VersionTLS13)
				if tt.suite != 0 {
					version = tls.VersionTLS12
					client.MaxVersion = version
					client.CipherSuites = []uint16{tt.suite}
				}
				if tt.clientCert {
					server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, testCerts().roots
					client.Certificates = []tls.Certificate{testCerts().ecdsa}
				}
				if tt.change != nil {
					tt.change(server, client)
				}
				ours, state, theirs := shakeBoth(t, weAreClient, server, client)
				want := theirs.ConnectionState()
				name := want.ServerName
				if weAreClient {
					name = "localhost"
				}
				certificates := state.PeerCertificates
				if shown := !weAreClient && strings.Contains(tt.name, "client certificate"); shown != (len(certificates) == 1) {
					t.Errorf("%d certificates of the client, want one: %v", len(certificates), shown)
				}
				if got := (State{want.Version, want.CipherSuite, name, want.NegotiatedProtocol, false, certificates}); !reflect.DeepEqual(state, got) || state.Version != version {
					t.Errorf("state %+v, want %+v", state, got)
				}
				if tt.suite != 0 && state.Suite != tt.suite {
					t.Errorf("suite %s, want %s", tls.CipherSuiteName(state.Suite), tls.CipherSuiteName(tt.suite))
				}
				exchange(t, uint64(tt.suite), ours, theirs)
			})
		})
	}
}

// A client that was here before comes back with its ticket.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			shared := serverConfig(serverTLS())
			client := clientTLS()
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 4 {
				near, far := tcpPair(t)
				theirs := tls.Client(far, client)
				shaken := make(chan error, 1)
				go func() { shaken <- theirs.Handshake() }()
				ours := &TLSConn{tcp: near}
				state, err := ours.accept(ours.tcp, shared)
				if theirErr := <-shaken; err != nil || theirErr != nil {
					t.Fatalf("handshake: %v here, %v at the client", err, theirErr)
				}
				if state.Version != version || state.DidResume != (i > 0) || theirs.ConnectionState().DidResume != (i > 0) {
					t.Errorf("connection %d: state %+v, and %v at the client", i, state, theirs.ConnectionState().DidResume)
				}
				exchange(t, 1, ours, theirs) // which reads the ticket
				ours.Close()
			}
		})
	}
}

// Tickets that a server without the record layer gave have no master secret for it in TLS 1.2.
func TestTicketsFromBefore(t *testing.T) {
	server := serverTLS()
	server.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	client := clientTLS()
	client.MaxVersion = tls.VersionTLS12
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)

	near, far := tcpPair(t)
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Server(near, server).Handshake() }()
	if err := errors.Join(tls.Client(far, client).Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	ours, state, theirs := shakeBoth(t, false, server, client)
	if state.DidResume {
		t.Error("resumed without a master secret")
	}
	exchange(t, 1, ours, theirs)
}

func TestConfigForClient(t *testing.T) {
	base := serverTLS()
	asked := ""
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch asked = hello.ServerName; asked {
		case "refused.test":
			return nil, errors.New("not this one")
		case "localhost":
			own := &tls.Config{Certificates: []tls.Certificate{testCerts().rsa}, NextProtos: []string{"own"}}
			return own, nil
		}
		return nil, nil
	}
	client := clientTLS()
	client.NextProtos = []string{"own"}
	ours, state, theirs := shakeBoth(t, false, base, client)
	if asked != "localhost" || state.Protocol != "own" {
		t.Errorf("asked about %q, and agreed on %q", asked, state.Protocol)
	}
	exchange(t, 1, ours, theirs)

	client.ServerName, client.InsecureSkipVerify = "other.test", true
	ours, _, theirs = shakeBoth(t, false, base, client)
	exchange(t, 2, ours, theirs)

	near, far := tcpPair(t)
	client.ServerName = "refused.test"
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Client(far, client).Handshake() }()
	if _, err := (&TLSConn{tcp: near}).accept(near, serverConfig(base)); err == nil || !strings.Contains(err.Error(), "not this one") {
		t.Errorf("accept = %v, want GetConfigForClient's error", err)
	}
	if err := <-shaken; err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("handshake of the client: %v, want an alert", err)
	}
}

// holding holds back what is written until it is released, so that all of it comes at once.
type holding struct {
	net.Conn
	held  []byte
	holds bool
}

func (h *holding) Write(p []byte) (int, error) {
	if h.holds {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	n, err := h.Conn.Write(p)
	h.holds = true // from behind the ClientHello on
	return n, err
}

// What a client sends right behind its Finished has been read with it.
func TestDataBehindFinished(t *testing.T) {
	for _, size := range []int{1, 2000, 16384, 50000} {
		near, far := tcpPair(t)
		hold := &holding{Conn: far}
		theirs := tls.Client(hold, clientTLS())
		data := bytes.Repeat([]byte("x"), size)
		sent := make(chan error, 1)
		go func() {
			_, err := theirs.Write(data)
			if err == nil {
				_, err = far.Write(hold.held)
			}
			sent <- err
		}()
		ours := &TLSConn{tcp: near}
		if _, err := ours.accept(ours.tcp, serverConfig(serverTLS())); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(ours, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes behind Finished: %v, or others", size, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		ours.Close()
	}
}

// Neither crypto/tls nor a secret stays when the record layer has taken over.
func TestNothingIsLeftOfTheHandshake(t *testing.T) {
	near, far := tcpPair(t)
	theirs := tls.Client(far, clientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- theirs.Handshake() }()
	ours := &TLSConn{tcp: near}
	left, secret := func() (weak.Pointer[tls.Conn], []byte) {
		s := newTakeover(near)
		over := tls.Server(s, serverConfig(serverTLS()))
		if _, err := ours.shake(s, over); err != nil {
			t.Fatal(err)
		}
		secret := s.secrets.ServerTraffic
		s.release()
		return weak.Make(over), secret
	}()
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(hung); left.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the tls.Conn is still reachable")
		}
	}
	if len(secret) == 0 || !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Error("a secret is not zeroed")
	}
	exchange(t, 1, ours, theirs)
}

// A KeyLogWriter of the user's config gets nothing.
func TestSecretsGoNowhereElse(t *testing.T) {
	roles(t, func(t *testing.T, weAreClient bool) {
		var log bytes.Buffer
		server, client := serverTLS(), clientTLS()
		if weAreClient {
			client.KeyLogWriter = &log
		} else {
			server.KeyLogWriter = &log
		}
		shakeBoth(t, weAreClient, server, client)
		if log.Len() > 0 {
			t.Errorf("secrets in the log: %d bytes", log.Len())
		}
	})
}
