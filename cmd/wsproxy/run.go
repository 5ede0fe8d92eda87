package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"wsproxy/internal/echo"
	"wsproxy/internal/forward"
	"wsproxy/internal/front"
	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
	"wsproxy/routing"
	"wsproxy/tlsterm"
	"wsproxy/upgrade"
)

// run serves the configuration in file until SIGTERM or SIGINT.
func run(file string) error {
	cfg, err := routing.Load(file)
	if err != nil {
		return explain(file, err)
	}
	// From here on a signal is an orderly end, also while listeners come up.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	p, err := start(cfg)
	if err != nil {
		return err
	}
	announce(os.Stdout, cfg, p.listeners)
	for _, w := range cfg.Warnings {
		p.log.Warn("configuration", "err", w.String())
	}
	for {
		select {
		case <-hangups:
			p.reload()
		case s := <-signals:
			p.log.Info("stopping", "signal", s.String(), "links", p.engine.Stats().Open, "grace_period", cfg.GracePeriod)
			return p.stop(cfg, signals)
		case err := <-p.failed:
			p.log.Error("listener", "err", err)
			p.stop(cfg, signals)
			return err
		}
	}
}

// proxy is the rooms of one running configuration.
type proxy struct {
	log       *slog.Logger
	echo      *echo.Server // nil when no route uses it
	engine    *splice.Engine
	resolver  *sock.Resolver
	forward   *forward.Transport // nil until the backends' TLS is there
	front     *front.Server
	listeners []*tlsterm.Listener
	acme      []*tlsterm.ACME
	watcher   *tlsterm.Watcher // nil until the listeners are there

	serving sync.WaitGroup
	failed  chan error    // the first listener that ended by itself
	closed  chan struct{} // closed by close
}

// drivers are the engine's, as proxy.yaml names them.
var drivers = map[string]splice.Driver{"auto": splice.Auto, "epoll": splice.Epoll, "goroutines": splice.Goroutines}

// start builds the rooms and opens every listener, or none.
func start(cfg *routing.Config) (_ *proxy, err error) {
	p := &proxy{log: newLog(cfg.Log, os.Stderr), failed: make(chan error, 1), closed: make(chan struct{})}
	slog.SetDefault(p.log)
	if p.engine, err = splice.New(splice.Config{Driver: drivers[cfg.Engine], Loops: cfg.Loops, Log: p.log}); err != nil {
		return nil, err
	}
	p.resolver = sock.NewResolver(sock.ResolverConfig{Log: p.log})
	defer func() {
		if err != nil {
			p.close()
		}
	}()

	table, err := p.table(cfg)
	if err != nil {
		return nil, err
	}
	dialer, err := p.dialer(table)
	if err != nil {
		return nil, err
	}
	p.forward = forward.New(forward.Config{HeaderSize: int(cfg.Limits.HeaderSize), Dial: dialer.Dial})
	budget := tlsterm.NewBudget(cfg.Limits.TLSHandshakes)
	for _, l := range cfg.Listeners {
		ln, err := p.listen(cfg, l, budget)
		if err != nil {
			return nil, err
		}
		p.listeners = append(p.listeners, ln)
	}
	memory := newTrimmer()
	p.front = front.New(front.Config{
		Table: table,
		Busy:  memory.busy,
		Upgrader: upgrade.New(upgrade.Config{
			Engine:     p.engine,
			Dialer:     dialer,
			HeaderSize: int(cfg.Limits.HeaderSize),
		}),
		Forward:        p.forward,
		Limits:         cfg.Limits,
		Timeouts:       cfg.Timeouts,
		TrustedProxies: cfg.TrustedProxies,
		Forwarded:      cfg.Forwarded,
		Challenge:      p.challenge(),
		Log:            p.log,
	})
	for _, ln := range p.listeners {
		p.serving.Go(func() { p.serve(ln) })
	}
	p.serving.Go(func() { memory.run(p.closed) })
	p.watcher = tlsterm.Watch(p.log, p.listeners...)
	for _, a := range p.acme {
		a.Obtain() // now that its challenges find somebody
	}
	return p, nil
}

// table makes the routing table, and starts builtin:echo when a route wants it.
func (p *proxy) table(cfg *routing.Config) (*routing.Table, error) {
	builtin := make(map[string]string)
	for _, r := range cfg.Routes {
		for _, b := range r.Backends {
			if b.Builtin == "echo" && p.echo == nil {
				server, err := echo.Start()
				if err != nil {
					return nil, err
				}
				p.echo = server
				builtin["echo"] = server.Addr()
			}
		}
	}
	return routing.NewTable(cfg, builtin)
}

// advise says of the usual reasons for which an address cannot be had what the user can do.
func advise(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return errors.New("another program has this port; stop it or choose another address")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("this port is for privileged programs; " +
			"give wsproxy the right (README.md, \"Port 443\") or choose a port from 1024 on")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err // without the address, which has been said
	}
	return err
}

func (p *proxy) serve(ln *tlsterm.Listener) {
	if err := p.front.Serve(ln); err != nil {
		select {
		case p.failed <- err:
		default:
		}
	}
}

// stop ends the proxy in good order inside the grace period: nothing new is accepted, requests
// finish, links close with 1001. What is left then is cut off. A second signal does that at once.
func (p *proxy) stop(cfg *routing.Config, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.GracePeriod)
	defer cancel()
	finished := make(chan struct{})
	var cut int
	var requests error
	go func() {
		defer close(finished)
		p.engine.Drain()
		requests = p.front.Shutdown(ctx)
		cut = p.engine.Stop(ctx)
	}()
	select {
	case <-finished:
	case s := <-signals:
		p.log.Warn("stopping at once", "signal", s.String(), "links", p.engine.Stats().Open)
		return exitStatus(1)
	}
	p.close()
	if cut > 0 || requests != nil {
		p.log.Warn("stopped at the end of the grace period", "links_cut", cut, "requests_cut", requests != nil)
		return nil
	}
	p.serving.Wait()
	p.log.Info("stopped", "links_served", p.engine.Stats().Opened)
	return nil
}

// close ends what needs no grace.
func (p *proxy) close() {
	close(p.closed)
	if p.watcher != nil {
		p.watcher.Close()
	}
	for _, ln := range p.listeners {
		ln.Close()
	}
	if p.forward != nil {
		p.forward.Close()
	}
	p.resolver.Close()
	if p.echo != nil {
		p.echo.Close()
	}
}

func newLog(cfg routing.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
