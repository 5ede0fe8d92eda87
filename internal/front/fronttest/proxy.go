// Package fronttest is for tests that need all of the proxy's path between a client and a backend:
// listeners, front, upgrade and the splice engine on loopback, with a raw client at one end and a
// raw backend at the other.
package fronttest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/forward"
	"wsproxy/internal/front"
	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/tlsterm"
	"wsproxy/upgrade"
)

// Hung is how long anything may take before a test fails because of it; no test measures it.
const Hung = 20 * time.Second

// Config says what differs from a proxy with one route to one backend.
type Config struct {
	// Routes are served; one to Backend, a host:port, when there are none.
	Routes  []routing.RouteConfig
	Backend string

	// Route changes that one route.
	Route func(*routing.RouteConfig)

	// Front changes what the Server gets.
	Front func(*front.Config)

	// Plain and TLS change what the listeners get.
	Plain, TLS func(*tlsterm.Config)

	// Driver is the engine's.
	Driver splice.Driver

	// Conn replaces each connection that is accepted.
	Conn func(tlsterm.Conn) tlsterm.Conn
}

// Proxy is a running one. It stops with its test, which fails when a backend's slots do not come
// back to zero.
type Proxy struct {
	// Addr and TLSAddr are the host:port of its listeners.
	Addr, TLSAddr string

	Table   *routing.Table
	Engine  *splice.Engine
	Server  *front.Server
	Forward *forward.Transport
	Log     *Log

	t        testing.TB
	resolver *sock.Resolver
	serving  sync.WaitGroup
	stopOnce sync.Once
}

// Start starts a Proxy.
func Start(t testing.TB, cfg Config) *Proxy {
	t.Helper()
	if cfg.Routes == nil {
		rc := routing.RouteConfig{Backends: []routing.BackendConfig{{URL: "http://" + cfg.Backend, Addr: cfg.Backend}}}
		if cfg.Route != nil {
			cfg.Route(&rc)
		}
		cfg.Routes = []routing.RouteConfig{rc}
	}
	table, err := routing.NewTable(&routing.Config{Routes: cfg.Routes}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := splice.New(splice.Config{Driver: cfg.Driver})
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Table: table, Engine: engine, Log: newLog(), t: t}
	log := slog.New(p.Log)
	p.resolver = sock.NewResolver(sock.ResolverConfig{Log: log})
	dialer := dial.New(dial.Config{Resolver: p.resolver, TLS: clientConfigs(t, table)})
	p.Forward = forward.New(forward.Config{Dial: dialer.Dial})
	fc := front.Config{
		Served:   front.Served{Table: table},
		Upgrader: upgrade.New(upgrade.Config{Engine: p.Engine, Dialer: dialer}),
		Forward:  p.Forward,
		Log:      log,
	}
	if cfg.Front != nil {
		cfg.Front(&fc)
	}
	p.Server = front.New(fc)
	certs, err := tlsterm.SelfSigned([]string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	plain, secure := tlsterm.Config{Home: engine.Home(), Log: log}, tlsterm.Config{Home: engine.Home(), Log: log, Certs: certs}
	if cfg.Plain != nil {
		cfg.Plain(&plain)
	}
	if cfg.TLS != nil {
		cfg.TLS(&secure)
	}
	p.Addr = p.listen(plain, cfg.Conn)
	p.TLSAddr = p.listen(secure, cfg.Conn)
	t.Cleanup(p.Stop)
	return p
}

// clientConfigs are those of the backends with TLS.
func clientConfigs(t testing.TB, table *routing.Table) map[routing.BackendTLS]*tls.Config {
	t.Helper()
	configs := make(map[routing.BackendTLS]*tls.Config)
	for _, b := range table.Backends() {
		if b.TLS == nil {
			continue
		}
		cfg, err := (&tlsterm.ClientConfig{
			ServerName: b.TLS.ServerName, CA: b.TLS.CA, Cert: b.TLS.Cert, Key: b.TLS.Key,
			InsecureSkipVerify: b.TLS.InsecureSkipVerify,
		}).TLS()
		if err != nil {
			t.Fatal(err)
		}
		configs[*b.TLS] = cfg
	}
	return configs
}

func (p *Proxy) listen(cfg tlsterm.Config, conn func(tlsterm.Conn) tlsterm.Conn) string {
	ln, err := tlsterm.Listen("127.0.0.1:0", cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	accepting := make(chan struct{})
	p.serving.Go(func() {
		if err := p.Server.Serve(&listener{Listener: ln, accepting: accepting, conn: conn}); err != nil {
			p.t.Errorf("Serve: %v", err)
		}
	})
	<-accepting // a Shutdown before that would not know of the listener
	return ln.Addr().String()
}

// listener tells when its first Accept begins.
type listener struct {
	net.Listener
	once      sync.Once
	accepting chan struct{}
	conn      func(tlsterm.Conn) tlsterm.Conn // nil keeps them
}

func (l *listener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.accepting) })
	c, err := l.Listener.Accept()
	if err == nil && l.conn != nil {
		c = l.conn(c.(tlsterm.Conn))
	}
	return c, err
}

// Stop ends the proxy as wsproxy does, and returns when all of it has ended.
func (p *Proxy) Stop() {
	p.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Hung)
		defer cancel()
		p.Engine.Drain()
		if err := p.Server.Shutdown(ctx); err != nil {
			p.t.Errorf("Shutdown: %v", err)
		}
		p.Engine.Stop(ctx)
		p.Forward.Close()
		p.resolver.Close()
		p.serving.Wait()
		for _, b := range p.Table.Backends() {
			if n := b.Links(); n != 0 {
				p.t.Errorf("slots of backend %s at the end = %d, want 0", b.Addr, n)
			}
		}
	})
}

// Slots are those taken of all backends.
func (p *Proxy) Slots() (n int64) {
	for _, b := range p.Table.Backends() {
		n += b.Links()
	}
	return n
}
