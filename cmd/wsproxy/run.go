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
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/internal/control"
	"wsproxy/internal/dial"
	"wsproxy/internal/discover"
	"wsproxy/internal/echo"
	"wsproxy/internal/forward"
	"wsproxy/internal/front"
	"wsproxy/internal/health"
	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
	"wsproxy/internal/watch"
	"wsproxy/routing"
	"wsproxy/tlsterm"
	"wsproxy/upgrade"
)

// run serves the configuration in file until SIGTERM or SIGINT. With watch it reads the file again whenever it
// changes.
func run(file string, watches bool) error {
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

	p, err := start(file, cfg, outside{stderr: os.Stderr})
	if err != nil {
		return err
	}
	listeners := p.listeners // before anything can change them
	p.listenForCommands(cfg)
	announce(os.Stdout, cfg, listeners)
	for _, w := range cfg.Warnings {
		p.log.Warn("configuration", "err", w.String())
	}
	if watches {
		p.watchFiles(cfg)
	}
	p.beside(func() { p.reloadAt(hangups) })
	select {
	case s := <-signals:
		p.log.Info("stopping", "signal", s.String(), "links", p.engine.Stats().Open, "grace_period", p.current.Load().cfg.GracePeriod)
		return p.stop(signals)
	case err := <-p.failed:
		p.log.Error("listener", "err", err)
		p.stop(signals)
		return err
	}
}

// outside is what a proxy has besides its file; tests have their own.
type outside struct {
	stderr io.Writer

	// nameserver is the host:port that is asked for names. Empty means those of the system.
	nameserver string
}

// proxy is the rooms of one running proxy.
type proxy struct {
	// Fixed once it runs.
	file       string
	log        *slog.Logger
	level      *slog.LevelVar
	engine     *splice.Engine
	resolver   *sock.Resolver
	discoverer *discover.Discoverer
	prober     *health.Prober
	dialer     *dial.Dialer
	forward    *forward.Transport // nil until the backends' TLS is there
	front      *front.Server
	keeper     *keeper
	budget     *tlsterm.Budget
	control    *control.Server // nil without
	started    time.Time

	reloads reloadCounts
	current atomic.Pointer[inForce]

	reloading sync.Mutex     // held to change current and what follows
	files     *watch.Watcher // nil without --watch
	echo      *echo.Server   // nil when no route has ever used it
	listeners []*tlsterm.Listener
	watcher   *tlsterm.Watcher      // nil until the listeners are there
	leaving   map[splice.Owner]bool // links that have been told to close, and may not have ended yet

	acme acmes

	staying context.Context // done when stop or close is called: nothing is reloaded from then on
	leave   context.CancelFunc
	running context.Context // done when close is called
	cancel  context.CancelFunc
	serving sync.WaitGroup
	doingMu sync.Mutex     // held to add to doing, unless running is done, and to end running
	doing   sync.WaitGroup // what is done beside, until close
	failed  chan error     // the first listener that ended by itself
}

// drivers are the engine's, as proxy.yaml names them.
var drivers = map[string]splice.Driver{"auto": splice.Auto, "epoll": splice.Epoll, "goroutines": splice.Goroutines}

// start builds the rooms and opens every listener, or none.
func start(file string, cfg *routing.Config, out outside) (_ *proxy, err error) {
	p := &proxy{file: file, started: time.Now(), level: new(slog.LevelVar), failed: make(chan error, 1)}
	p.level.Set(cfg.Log.Level)
	p.log = newLog(cfg.Log.Format, p.level, out.stderr)
	p.running, p.cancel = context.WithCancel(context.Background())
	p.staying, p.leave = context.WithCancel(p.running)
	slog.SetDefault(p.log)
	if p.engine, err = splice.New(splice.Config{Driver: drivers[cfg.Engine], Loops: cfg.Loops, Log: p.log}); err != nil {
		return nil, err
	}
	p.resolver = sock.NewResolver(sock.ResolverConfig{Server: out.nameserver, Log: p.log})
	p.discoverer = discover.New(discover.Config{Resolver: p.resolver, Log: p.log})
	p.prober = health.New(health.Config{Log: p.log})
	defer func() {
		if err != nil {
			p.close()
		}
	}()

	table, err := p.table(cfg, nil)
	if err != nil {
		return nil, err
	}
	secured, err := backendTLS(cfg)
	if err != nil {
		return nil, err
	}
	p.dialer = dial.New(dial.Config{Resolver: p.resolver, TLS: secured})
	p.forward = forward.New(forward.Config{HeaderSize: int(cfg.Limits.HeaderSize), Dial: p.dialer.Dial, Log: p.log})
	p.budget = tlsterm.NewBudget(cfg.Limits.TLSHandshakes)
	now := &inForce{cfg, table, secured, listenerNames(cfg)}
	p.current.Store(now)
	for i, l := range cfg.Listeners {
		ln, err := p.listen(cfg, l, now.names[i], nil)
		if err != nil {
			return nil, err
		}
		p.listeners = append(p.listeners, ln)
	}
	p.keeper = &keeper{
		ctx: p.staying, log: p.log, dialer: p.dialer, discoverer: p.discoverer, prober: p.prober,
		changed: p.backendChanged, arrived: p.backendsArrived,
		follows: make(map[routing.Name]func()), kept: make(map[*routing.Backend]*kept),
	}
	descriptors := sock.Descriptors()
	logLimits(p.log, cfg, descriptors)
	memory := newTrimmer()
	p.front = front.New(front.Config{
		Served: served(cfg, table),
		Busy:   memory.busy,
		Upgrader: upgrade.New(upgrade.Config{
			Engine:     p.engine,
			Dialer:     p.dialer,
			HeaderSize: int(cfg.Limits.HeaderSize),
		}),
		Descriptors: descriptors,
		Forward:     p.forward,
		Challenge:   p.acme.challenge,
		Log:         p.log,
	})
	p.keeper.use(table)
	for _, ln := range p.listeners {
		p.serving.Go(func() { p.serve(ln) })
	}
	p.serving.Go(func() { memory.run(p.running.Done()) })
	p.watcher = tlsterm.Watch(p.log, p.listeners...)
	p.acme.use(cfg, p.log)
	return p, nil
}

// beside does something in a goroutine of its own that close waits for, unless close has been called.
func (p *proxy) beside(f func()) {
	p.doingMu.Lock()
	defer p.doingMu.Unlock()
	if p.running.Err() == nil {
		p.doing.Go(f)
	}
}

// reloadAt reloads at each signal, until the proxy stops.
func (p *proxy) reloadAt(signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			_, _ = p.reload() // it logs what comes of it
		case <-p.staying.Done():
			return
		}
	}
}

// watchFiles reloads from now on when the files change that cfg, which is in use, has been read from.
func (p *proxy) watchFiles(cfg *routing.Config) {
	p.reloading.Lock()
	p.files = watch.Watch(watch.Config{Files: cfg.Files, Log: p.log, Changed: func() { _, _ = p.reload() }})
	p.reloading.Unlock()
	// What has changed since they were read goes unnoticed by the Watcher.
	if again, err := routing.Load(p.file); err != nil || !reflect.DeepEqual(again, cfg) {
		_, _ = p.reload()
	}
}

// listenForCommands opens the control socket. A proxy can do without: that it cannot be opened is worth a
// warning only.
func (p *proxy) listenForCommands(cfg *routing.Config) {
	path := cfg.Control
	switch path {
	case "off":
		return
	case "auto":
		path = control.DefaultPath(p.file)
	}
	server, err := control.Listen(path, p.commands().handlers(), p.log)
	if err != nil {
		p.log.Warn("no control socket; wsproxy reload and the like will find nobody", "err", err)
		return
	}
	p.control = server
}

// served is what a configuration means for the shared port.
func served(cfg *routing.Config, table *routing.Table) front.Served {
	access := make(map[string]routing.Access)
	for i, name := range listenerNames(cfg) {
		access[name] = cfg.Listeners[i].Access
	}
	return front.Served{
		Table: table, Limits: cfg.Limits, Timeouts: cfg.Timeouts,
		TrustedProxies: cfg.TrustedProxies, Forwarded: cfg.Forwarded, Access: access,
	}
}

// listenerNames tells the listeners apart, by their addresses: only those whose port the system picks may
// have the same one.
func listenerNames(cfg *routing.Config) []string {
	seen := make(map[string]int)
	var names []string
	for _, l := range cfg.Listeners {
		name := l.Address
		if seen[name]++; seen[name] > 1 {
			name += "#" + strconv.Itoa(seen[name])
		}
		names = append(names, name)
	}
	return names
}

// table makes the routing table, and starts builtin:echo when a route wants it.
func (p *proxy) table(cfg *routing.Config, previous *routing.Table) (*routing.Table, error) {
	wants := func(r routing.RouteConfig) bool {
		return slices.ContainsFunc(r.Backends, func(b routing.BackendConfig) bool { return b.Builtin == "echo" })
	}
	if p.echo == nil && slices.ContainsFunc(cfg.Routes, wants) {
		server, err := echo.Start()
		if err != nil {
			return nil, err
		}
		p.echo = server
	}
	builtin := make(map[string]string)
	if p.echo != nil {
		builtin["echo"] = p.echo.Addr()
	}
	return routing.NewTable(cfg, builtin, previous)
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

func newLog(format string, level slog.Leveler, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
