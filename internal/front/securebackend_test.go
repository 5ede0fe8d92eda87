package front_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// secureAt is a backend of https://.
func secureAt(addr string, t routing.BackendTLS) []routing.BackendConfig {
	return []routing.BackendConfig{{URL: "https://" + addr, Addr: addr, TLS: &t}}
}

// engines are the ways of carrying links, with the listeners as wsproxy makes them for each.
var engines = []struct {
	name   string
	driver splice.Driver
	keep   bool
}{{"loops", splice.Auto, false}, {"goroutines", splice.Goroutines, true}}

// What works with a plain backend works with one that speaks TLS, whatever the client speaks and whoever
// carries the link.
func TestBackendWithTLS(t *testing.T) {
	ca := fronttest.NewAuthority(t)
	cert := ca.Issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	for _, engine := range engines {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(engine.name+"/"+tls.VersionName(version), func(t *testing.T) {
				backend := fronttest.ListenTLS(t, &tls.Config{
					Certificates: []tls.Certificate{cert.Certificate}, MaxVersion: version,
				})
				p := fronttest.Start(t, fronttest.Config{
					Driver: engine.driver,
					Routes: []routing.RouteConfig{{
						Backends:   secureAt(backend.Addr, routing.BackendTLS{ServerName: "127.0.0.1", CA: ca.File}),
						HostHeader: routing.HostHeader{Backend: true},
					}},
					TLS: func(c *tlsterm.Config) { c.KeepTLS = engine.keep },
				})
				for scheme, dial := range map[string]func() *fronttest.Conn{
					"ws":  func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
					"wss": func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
				} {
					t.Run(scheme, func(t *testing.T) { linkAndRequests(t, p, backend, dial) })
				}
			})
		}
	}
}

func linkAndRequests(t *testing.T, p *fronttest.Proxy, backend *fronttest.Backend, dial func() *fronttest.Conn) {
	c := dial()
	c.Send(fronttest.Handshake + fronttest.ClientHello)
	b := backend.Accept()
	if head := b.Head(); !strings.Contains(head, "\r\nHost: "+backend.Addr+"\r\n") {
		t.Errorf("the backend is asked %q, want its own host", head)
	}
	b.Send(fronttest.Switching + fronttest.BackendHello) // early
	c.Bytes(fronttest.Switching + fronttest.BackendHello)
	b.Bytes(fronttest.ClientHello)
	for range 3 {
		c.Send(fronttest.ClientHello)
		b.Bytes(fronttest.ClientHello)
		b.Send(fronttest.BackendHello)
		c.Bytes(fronttest.BackendHello)
	}
	large := "\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00" + strings.Repeat("x", 1<<20) // many records
	b.Send(large)
	c.Bytes(large)
	closeLink(c, b)

	// A handshake that is refused, with its body.
	c = dial()
	c.Send(fronttest.Handshake)
	b = backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nwho")
	if r, body := c.Answer(); r.StatusCode != 401 || body != "who" {
		t.Errorf("got %d %q, want the backend's refusal", r.StatusCode, body)
	}

	// Requests on one connection, the second with a body that is sent while it comes.
	c = dial()
	c.Send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	b = backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
	if _, body := c.Answer(); body != "one" {
		t.Errorf("got %q, want one", body)
	}
	upload := strings.Repeat("u", 100<<10)
	c.Send(fmt.Sprintf("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(upload), upload))
	if got := b.Request(); got != upload {
		t.Errorf("the backend gets a body of %d bytes, want %d", len(got), len(upload))
	}
	b.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n")
	if _, body := c.Answer(); body != "two" {
		t.Errorf("got %q, want two", body)
	}

	// An answer that TLS does not say the end of is no whole answer.
	c.Send("GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	b.Head()
	b.Send("HTTP/1.1 200 OK\r\n\r\nhalf")
	b.Conn.(*tls.Conn).NetConn().Close()
	if rest := c.Rest(); !strings.Contains(rest, "half") || strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("the client gets %q, want it cut off", rest)
	}
}

// Why there is no TLS with a backend is told in one line, and the client gets a 502 or a 504.
func TestBackendsTLSFails(t *testing.T) {
	ca, other := fronttest.NewAuthority(t), fronttest.NewAuthority(t)
	good := ca.Issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	expired := ca.Issue(t, "127.0.0.1", time.Now().Add(-time.Hour))
	showing := func(cert fronttest.Issued) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert.Certificate}}
	}
	shake := func(c *fronttest.Conn) { _, _ = c.TryHead() }
	trusted := routing.BackendTLS{ServerName: "127.0.0.1", CA: ca.File}
	tests := []struct {
		name    string
		tls     routing.BackendTLS
		backend *tls.Config // nil for one without TLS
		serve   func(*fronttest.Conn)
		status  int
		log     string
	}{
		{"a CA that is not the system's", routing.BackendTLS{ServerName: "127.0.0.1"}, showing(good), shake, 502, "certificate signed by unknown authority"},
		{"another CA", routing.BackendTLS{ServerName: "127.0.0.1", CA: other.File}, showing(good), shake, 502, "certificate signed by unknown authority"},
		{"another name", routing.BackendTLS{ServerName: "other.test", CA: ca.File}, showing(good), shake, 502, "wanted to match other.test"},
		{"expired", trusted, showing(expired), shake, 502, "certificate has expired"},
		{"TLS 1.1 only", trusted, &tls.Config{
			Certificates: []tls.Certificate{good.Certificate}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
		}, shake, 502, "protocol version not supported"},
		{"another protocol", trusted, &tls.Config{
			Certificates: []tls.Certificate{good.Certificate}, NextProtos: []string{"imap"},
		}, shake, 502, "no application protocol"},
		{"plain text", trusted, nil, func(c *fronttest.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, 502,
			"first record does not look like a TLS handshake"},
		{"an end", trusted, nil, func(c *fronttest.Conn) { _, _ = c.Read(make([]byte, 4<<10)) }, 502, "EOF"},
		{"silence", trusted, nil, shake, 504, "backend too slow"},
		{"a certificate is wanted, TLS 1.2", trusted, &tls.Config{
			Certificates: []tls.Certificate{good.Certificate}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12,
		}, shake, 502, "remote error: tls: handshake failure"},
		{"a certificate is wanted, TLS 1.3", trusted, &tls.Config{
			Certificates: []tls.Certificate{good.Certificate}, ClientAuth: tls.RequireAnyClientCert,
		}, shake, 502, "certificate required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			if tt.backend != nil {
				backend = fronttest.ListenTLS(t, tt.backend)
			}
			backend.Serve(tt.serve)
			timeout := fronttest.Hung
			if tt.status == 504 {
				timeout = 50 * time.Millisecond
			}
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
				Backends: secureAt(backend.Addr, tt.tls), DialTimeout: timeout,
			}}})
			for i, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", fronttest.Handshake} {
				c := fronttest.Dial(t, p.Addr)
				c.Send(request)
				if r, body := c.Answer(); r.StatusCode != tt.status || strings.Contains(body, "tls") {
					t.Errorf("%q gets %d %q, want %d and no reason", request, r.StatusCode, body, tt.status)
				}
				c.Close()
				p.Log.Await(t, i+1, "level=WARN msg=refused", fmt.Sprintf("status=%d", tt.status), "backend "+backend.Addr+": ", tt.log)
				if lines := p.Log.Shown(); len(lines) != i+1 {
					t.Errorf("log has %q, want a line for each request", lines)
				}
			}
		})
	}
}

// A backend sees the name it is to be verified for, and the certificate it asks for.
func TestBackendIsToldWhoIsMeant(t *testing.T) {
	ca := fronttest.NewAuthority(t)
	hour := time.Now().Add(time.Hour)
	ours := ca.Issue(t, "wsproxy.test", hour)
	for _, tt := range []struct {
		name, server, sni string
		blind             bool
	}{
		{"a name", "app.internal", "app.internal", false},
		{"an address", "127.0.0.1", "", false}, // none is sent (RFC 6066 §3)
		{"a name, anybody", "app.internal", "app.internal", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			issued := tt.server
			if tt.blind {
				issued = "somebody.else"
			}
			seen := make(chan tls.ConnectionState, 2)
			backend := fronttest.ListenTLS(t, &tls.Config{
				Certificates: []tls.Certificate{ca.Issue(t, issued, hour).Certificate},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool,
				VerifyConnection: func(state tls.ConnectionState) error { seen <- state; return nil },
			})
			backend.Serve(func(c *fronttest.Conn) {
				if _, err := c.TryHead(); err == nil {
					fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
				}
			})
			p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: secureAt(backend.Addr,
				routing.BackendTLS{ServerName: tt.server, CA: ca.File, Cert: ours.CertFile, Key: ours.KeyFile, InsecureSkipVerify: tt.blind},
			)}}})
			for _, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", fronttest.Handshake} {
				c := fronttest.Dial(t, p.Addr)
				c.Send(request)
				if r, _ := c.Answer(); r.StatusCode != 403 {
					t.Fatalf("%q gets %d, want the backend's 403", request, r.StatusCode)
				}
				c.Close()
				state := <-seen
				if state.ServerName != tt.sni || state.PeerCertificates[0].Subject.CommonName != "wsproxy.test" ||
					state.NegotiatedProtocol != "" {
					t.Errorf("the backend sees the name %q, the certificate of %s, the protocol %q",
						state.ServerName, state.PeerCertificates[0].Subject, state.NegotiatedProtocol)
				}
			}
		})
	}
}

// Routes that speak to one address in different ways share no connection, one that is plain included.
func TestWaysToSpeakToAnAddressShareNothing(t *testing.T) {
	ca := fronttest.NewAuthority(t)
	backend := fronttest.ListenTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1", time.Now().Add(time.Hour)).Certificate},
	})
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{
		{Path: "/blind", Backends: secureAt(backend.Addr, routing.BackendTLS{ServerName: "127.0.0.1", InsecureSkipVerify: true})},
		{Path: "/verified", Backends: secureAt(backend.Addr, routing.BackendTLS{ServerName: "127.0.0.1", CA: ca.File})},
		{Path: "/untrusted", Backends: secureAt(backend.Addr, routing.BackendTLS{ServerName: "127.0.0.1"})},
		{Path: "/plain", Backends: backendAt(backend.Addr)},
	}})
	c := fronttest.Dial(t, p.Addr)
	for range 2 { // the second time with connections that wait
		for path, want := range map[string]int{"/blind": 200, "/verified": 200, "/untrusted": 502, "/plain": 502} {
			c.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
			if r, _ := c.Answer(); r.StatusCode != want {
				t.Errorf("%s gets %d, want %d", path, r.StatusCode, want)
			}
		}
	}
}

// net/http with its session tickets serves many requests on one connection.
func TestConnectionsToATLSServerAreReused(t *testing.T) {
	ca := fronttest.NewAuthority(t)
	cert := ca.Issue(t, "localhost", time.Now().Add(time.Hour))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections, requests atomic.Int32
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			fmt.Fprintf(w, "%s %s", r.Proto, r.Host)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert.Certificate}},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("ServeTLS: %v", err)
		}
	})
	t.Cleanup(func() { server.Close(); serving.Wait() })
	// By its name, which the hosts file has.
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{
		Backends: secureAt("localhost:"+port, routing.BackendTLS{ServerName: "localhost", CA: ca.File}),
	}}})
	c := fronttest.Dial(t, p.Addr)
	const n = 50
	for range n {
		c.Send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
		if r, body := c.Answer(); r.StatusCode != 200 || body != "HTTP/1.1 site.test" {
			t.Fatalf("got %d %q", r.StatusCode, body)
		}
	}
	if got := connections.Load(); got != 1 || requests.Load() != n {
		t.Errorf("%d requests on %d connections, want %d on one", requests.Load(), got, n)
	}
}
