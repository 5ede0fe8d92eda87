package splice

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/sock"
	"wsproxy/tlsterm"
)

// patience is the longest any test waits for something that happens at once: it fails a test that
// hangs, and measures nothing.
const patience = 30 * time.Second

// forGood keeps the engine's own timers out of a test: what ends there, something else ends.
var forGood = Config{CloseTimeout: -1, FinTimeout: -1}

// drivers are the engines that must behave alike.
var drivers = []struct {
	name   string
	driver Driver
}{
	{"goroutines", Goroutines},
	{"epoll", Auto}, // what has no epoll runs the first twice
}

// setup is one way of making a link.
type setup struct {
	driver Driver
	tls    bool // on the client's end
	// homely ends live in a loop before they are a link's, if there is one, and the loop carries their
	// TLS.
	homely bool
	// backendTLS has the backend's end homely and with TLS, too.
	backendTLS bool
}

// onEverySetup runs a behaviour test on each driver, with and without TLS.
func onEverySetup(t *testing.T, test func(t *testing.T, s setup)) {
	for _, d := range drivers {
		t.Run(d.name+"/tcp", func(t *testing.T) { test(t, setup{driver: d.driver}) })
		t.Run(d.name+"/tls", func(t *testing.T) { test(t, setup{driver: d.driver, tls: true}) })
	}
	t.Run("epoll/tcp at home", func(t *testing.T) { test(t, setup{driver: Auto, homely: true}) })
	t.Run("epoll/tls at home", func(t *testing.T) { test(t, setup{driver: Auto, homely: true, tls: true}) })
	t.Run("epoll/both tls at home", func(t *testing.T) { test(t, setup{driver: Auto, homely: true, tls: true, backendTLS: true}) })
}

// rig is a link with the test at both of its far ends.
type rig struct {
	t               *testing.T
	engine          *Engine
	client, backend End // the test's
	ended           chan Result
	calls           atomic.Int32 // of Ended
}

// ownerFunc is an Owner that is nothing else.
type ownerFunc func(Result)

func (f ownerFunc) Ended(r Result) { f(r) }

// open makes an engine and a link on it. When the test ends, so does the link.
func (s setup) open(t *testing.T, cfg Config) *rig {
	t.Helper()
	return s.join(t, s.engine(t, cfg), Spec{})
}

// newEngine makes an engine that the test stops.
func (s setup) newEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	cfg.Driver = s.driver
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// engine makes an engine that must have lost its links by the end of the test.
func (s setup) engine(t *testing.T, cfg Config) *Engine {
	e := s.newEngine(t, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if cut := e.Stop(ctx); cut != 0 {
			t.Errorf("%d links had not ended when their far ends had closed", cut)
		}
	})
	return e
}

// join makes a link on e between two new pairs, with the early bytes and extensions of spec.
func (s setup) join(t *testing.T, e *Engine, spec Spec) *rig {
	t.Helper()
	r, spec := s.pairs(t, e, spec)
	r.splice(spec)
	return r
}

// pairs makes what join splices.
func (s setup) pairs(t *testing.T, e *Engine, spec Spec) (*rig, Spec) {
	t.Helper()
	r := &rig{t: t, engine: e, ended: make(chan Result, 8)}
	if s.homely && s.tls && e.Home() != nil {
		r.client, spec.Client, spec.ClientTLS = acceptedTLS(t, e.Home())
	} else {
		r.client, spec.Client = s.clientPair(t, e)
	}
	switch home := sock.HomeOf(spec.Client); {
	case home != nil && s.backendTLS:
		r.backend, spec.Backend, spec.BackendTLS = dialledTLS(t, home)
	case home != nil:
		r.backend, spec.Backend = dialledAt(t, home)
	default:
		r.backend, spec.Backend = pair(t)
	}
	spec.Owner = ownerFunc(func(res Result) {
		r.calls.Add(1)
		r.ended <- res
	})
	for _, far := range []End{r.client, r.backend} {
		if err := far.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
	}
	return r, spec
}

func (r *rig) splice(spec Spec) {
	r.t.Helper()
	if err := r.engine.Splice(spec); err != nil {
		r.t.Fatalf("Splice: %v", err)
	}
}

// clientPair is a client's connection and the proxy's side of it.
func (s setup) clientPair(t *testing.T, e *Engine) (far, near End) {
	t.Helper()
	var tcpFar, tcpNear End
	if home := e.Home(); s.homely && home != nil {
		tcpFar, tcpNear = acceptedAt(t, home)
	} else {
		tcpFar, tcpNear = pair(t)
	}
	if !s.tls {
		return tcpFar, tcpNear
	}
	client := tls.Client(tcpFar, &tls.Config{RootCAs: testCA().pool, ServerName: "wsproxy.test"})
	server := tls.Server(tcpNear, &tls.Config{Certificates: []tls.Certificate{testCA().cert}})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatalf("client's handshake: %v", err)
	}
	if err := <-shaken; err != nil {
		t.Fatalf("server's handshake: %v", err)
	}
	return client, server
}

// pair is a connected pair of TCP sockets.
func pair(t *testing.T) (far, near *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		dialled.Close()
		t.Fatal(err)
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// acceptedAt is a pair whose near socket has been accepted to live at home.
func acceptedAt(t *testing.T, home func() sock.Home) (far, near End) {
	t.Helper()
	ln, err := sock.Listen("127.0.0.1:0", home)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		dialled.Close()
		t.Fatal(err)
	}
	// As one is whose backend is asked.
	if err := sock.Watch(accepted); err != nil {
		t.Fatal(err)
	}
	return dialled.(End), accepted.(End)
}

// dialledAt is a pair whose near socket has been dialled to live at home.
func dialledAt(t *testing.T, home sock.Home) (far, near End) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := new(sock.Dialer).Dial(ln.Addr().String(), sock.Request{Home: home, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		dialled.Close()
		t.Fatal(err)
	}
	return accepted.(End), dialled.(End)
}

// acceptedTLS is acceptedAt behind a TLS handshake.
func acceptedTLS(t *testing.T, home func() sock.Home) (far, near End, over *Secured) {
	t.Helper()
	certs, err := tlsterm.SelfSigned([]string{"wsproxy.test"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tlsterm.Listen("127.0.0.1:0", tlsterm.Config{Certs: certs, Home: home})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	shaken := make(chan error, 1)
	go func() { shaken <- accepted.(interface{ Handshake() error }).Handshake() }()
	client := tls.Client(dialled, &tls.Config{InsecureSkipVerify: true})
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	near, over = undress(t, accepted.(tlsterm.Conn).Detach().(*tlsterm.TLSConn))
	return client, near, over
}

// dialledTLS is dialledAt behind a TLS handshake.
func dialledTLS(t *testing.T, home sock.Home) (far, near End, over *Secured) {
	t.Helper()
	tcpFar, tcpNear := dialledAt(t, home)
	server := tls.Server(tcpFar, &tls.Config{Certificates: []tls.Certificate{testCA().cert}})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	conn, _, err := tlsterm.Client(tcpNear, &tls.Config{RootCAs: testCA().pool, ServerName: "wsproxy.test"}, patience)
	if err := errors.Join(err, <-shaken); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	near, over = undress(t, conn)
	return server, near, over
}

func undress(t *testing.T, conn *tlsterm.TLSConn) (near End, over *Secured) {
	t.Helper()
	d, err := conn.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Plain) > 0 {
		t.Fatalf("%d bytes of data behind the handshake", len(d.Plain))
	}
	return d.TCP.(End), &Secured{Session: d.Session, Raw: d.Raw}
}

// socket is what tests do to the socket below an end.
type socket interface {
	End
	syscall.Conn
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}

// tcp is the socket below an end.
func tcp(end End) socket {
	if over, ok := end.(*tls.Conn); ok {
		end = over.NetConn().(End)
	}
	if s, ok := end.(socket); ok {
		return s
	}
	return homelySocket{end}
}

// result waits for the link's end.
func (r *rig) result() Result {
	r.t.Helper()
	select {
	case res := <-r.ended:
		return res
	case <-time.After(patience):
		r.t.Fatal("the link has not ended")
		panic("unreachable")
	}
}

// over lets both far ends close and returns the link's result.
func (r *rig) over() Result {
	r.t.Helper()
	r.client.Close()
	r.backend.Close()
	return r.result()
}

// eventually waits for what has no event of its own.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

// testCA is a certificate for wsproxy.test and the pool that trusts it.
var testCA = sync.OnceValue(func() (ca struct {
	cert tls.Certificate
	pool *x509.CertPool
}) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"wsproxy.test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	ca.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	ca.pool = x509.NewCertPool()
	ca.pool.AddCert(leaf)
	return ca
})
