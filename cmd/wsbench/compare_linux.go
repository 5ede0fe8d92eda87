package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// comparison is one run of compare. Its goroutine owns it and every process in it.
type comparison struct {
	opt  compareOptions
	ctx  context.Context
	log  io.Writer
	dir  string // holds certificate, configurations and programs built; removed at the end
	plan plan

	cert        certFiles
	backendPort int
	descriptors int
	peers       []peer   // that take part
	programs    []string // their paths
	report      *report
}

// runCompare measures; what cannot take part stands in the report. All it started is gone when it returns.
func runCompare(ctx context.Context, opt compareOptions, log io.Writer) (*report, error) {
	dir, err := os.MkdirTemp("", "wsbench-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o711) // nginx's workers run as another user
	c := &comparison{
		opt: opt, ctx: ctx, log: log, dir: dir, plan: newPlan(opt.quick, opt.rounds, opt.links),
		descriptors: raiseDescriptorLimit(), report: newReport(opt),
	}
	if links, most := max(c.plan.idleLinks, c.plan.sparseLinks), maxLinks(c.descriptors)-warmLinks; links > most {
		return nil, usagef("links %d: allowed is up to %d, as a proxy needs two descriptors for each of the %d that it may have open (hard limit of RLIMIT_NOFILE)",
			links, most, c.descriptors)
	}
	if c.cert, err = makeCertificate(dir); err != nil {
		return nil, err
	}
	stopBackend, err := c.startBackend()
	if err != nil {
		return nil, err
	}
	defer stopBackend()
	began := time.Now()
	c.enlist()
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	if len(c.peers) == 0 {
		return nil, fmt.Errorf("no proxy takes part:\n  %s", strings.Join(c.report.absent, "\n  "))
	}
	if err := c.rounds(began); err != nil {
		return nil, err
	}
	c.report.took = time.Since(began)
	return c.report, nil
}

// maxLinks is what a proxy can carry with so many descriptors: two for each link, and some for listeners, logs and
// HAProxy's pipes.
func maxLinks(descriptors int) int { return (descriptors - 1000) / 2 }

// startBackend runs `wsbench backend` as a process of its own and returns how to stop it.
func (c *comparison) startBackend() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p, err := startProcess(self, []string{"backend"}, c.dir)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	select {
	case <-p.output.first:
	case <-p.done:
	case <-time.After(startTimeout):
	}
	line := p.output.firstLine()
	_, address, _ := strings.Cut(line, "listening on ")
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		c.backendPort, err = strconv.Atoi(port)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("backend did not start: %s", line)
	}
	return p.stop, nil
}

// enlist finds or builds every proxy and starts each once, to see that it carries ws and wss.
func (c *comparison) enlist() {
	table, _ := selectPeers(c.opt.peers) // checked before
	for _, p := range append(c.ourPeers(), table...) {
		if c.ctx.Err() != nil {
			return
		}
		path, err := p.find()
		if err != nil {
			c.absent(p.name, err.Error())
			continue
		}
		r, err := c.start(&p, path)
		if err != nil {
			c.absent(p.name, "did not start: "+err.Error())
			continue
		}
		err = c.carries(r)
		r.stop()
		if err != nil {
			c.absent(p.name, "does not work: "+err.Error())
			continue
		}
		c.peers, c.programs = append(c.peers, p), append(c.programs, path)
		c.report.take(&p, p.versionOf(path))
	}
}

func (c *comparison) absent(name, why string) {
	why = strings.ReplaceAll(why, c.dir, "…")
	c.report.absent = append(c.report.absent, name+": "+why)
	fmt.Fprintf(c.log, "without %s: %s\n", name, why)
}

// ourPeers are the builds of wsproxy: those given, or one built from this tree.
func (c *comparison) ourPeers() []peer {
	builds := c.opt.wsproxy
	if len(builds) == 0 {
		path := filepath.Join(c.dir, "wsproxy")
		fmt.Fprintln(c.log, "building wsproxy")
		out, err := exec.CommandContext(c.ctx, "go", "build", "-o", path, "wsproxy/cmd/wsproxy").CombinedOutput()
		if err != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			c.absent("wsproxy", fmt.Sprintf("not built: %v: %s", err, line))
			return nil
		}
		builds = []string{path}
	}
	engines := []string{""}
	if c.opt.engines {
		engines = []string{"goroutines", "epoll"}
	}
	var ours []peer
	for _, b := range builds {
		name, path := splitBuild(b)
		for _, e := range engines {
			full := name
			if e != "" {
				full += "-" + e
			}
			ours = append(ours, ourPeer(full, path, e))
		}
	}
	return ours
}

// running is a started proxy.
type running struct {
	*process
	port, tlsPort int
	stopAll       func()
}

func (r *running) stop() { r.stopAll() }

// start runs a proxy on ports of its own until its stop is called.
func (c *comparison) start(p *peer, program string) (*running, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.dir, p.name+"-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	_ = os.Chmod(dir, 0o711)
	config, err := p.render(peerConfig{
		Dir: dir, Port: ports[0], TLSPort: ports[1], BackendPort: c.backendPort,
		Cert: c.cert.cert, Key: c.cert.key, Bundle: c.cert.bundle,
		Descriptors: c.descriptors, MaxLinks: maxLinks(c.descriptors),
	})
	if err != nil {
		return nil, err
	}
	proc, err := startProcess(program, p.commandLine(config, dir), dir)
	if err != nil {
		return nil, err
	}
	r := &running{process: proc, port: ports[0], tlsPort: ports[1]}
	r.stopAll = func() {
		proc.stop()
		_ = os.RemoveAll(dir)
	}
	if err := proc.awaitPorts(c.ctx, ports...); err != nil {
		r.stop()
		return nil, errors.New(strings.ReplaceAll(err.Error(), dir, "…"))
	}
	return r, nil
}

// url is where a cell's load goes.
func (r *running) url(c cell) string {
	port, path := r.port, "/echo"
	if c.secure {
		port = r.tlsPort
	}
	if isHTTP(c.workload) {
		path = "/"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d%s", c.scheme(), port, path)
}

// carries sees one message there and back over each scheme.
func (c *comparison) carries(r *running) error {
	for _, x := range []cell{{workIdle, false}, {workIdle, true}} {
		res, err := runLoad(c.ctx, Options{
			URL: r.url(x), Workload: x.workload, Connections: 1, Messages: 1, WarmLinks: -1,
			Duration: time.Millisecond, WarmUp: -1, Timeout: 5 * time.Second, Insecure: true,
		}, nil)
		if err != nil {
			return err
		}
		if res.faulty() {
			return fmt.Errorf("one echo over %s: %s", x.scheme(), res.trouble())
		}
	}
	return nil
}

// rounds measures everybody, round by round, until the plan is done or its time is over.
func (c *comparison) rounds(began time.Time) error {
	cells := c.opt.cells()
	taking := func(x cell) int {
		n := 0
		for i := range c.peers {
			if c.peers[i].takesPart(x.workload) {
				n++
			}
		}
		return n
	}
	c.plan.fit(cells, taking)
	c.report.begin(c.plan, cells)
	steps := c.plan.interleave(cells, c.peers)
	cost := map[cell]time.Duration{} // of one turn of all peers, as last seen
	var turn time.Time
	for i, s := range steps {
		if i == 0 || steps[i-1].cell != s.cell || steps[i-1].round != s.round { // a new turn
			if i > 0 {
				cost[steps[i-1].cell] = time.Since(turn)
			}
			expect, ok := cost[s.cell]
			if !ok {
				expect = time.Duration(taking(s.cell)) * c.plan.estimate(s.cell)
			}
			if time.Since(began)+expect > c.plan.budget {
				c.report.left = fmt.Sprintf("from %s %s of round %d on", s.cell.workload, s.cell.scheme(), s.round+1)
				fmt.Fprintf(c.log, "time is up: left out %s\n", c.report.left)
				break
			}
			turn = time.Now()
		}
		if err := c.measure(s); err != nil {
			return err
		}
	}
	return nil
}

// measure does one step on a freshly started proxy. Only an interruption is an error.
func (c *comparison) measure(s step) error {
	began := time.Now()
	p := &c.peers[s.peer]
	label := fmt.Sprintf("round %d/%d  %s %s  %s", s.round+1, c.plan.rounds, s.cell.workload, s.cell.scheme(), p.name)
	trouble := func(what string) {
		c.report.troubles = append(c.report.troubles, label+": "+strings.ReplaceAll(what, c.dir, "…"))
		fmt.Fprintf(c.log, "%s: %s\n", label, what)
	}
	r, err := c.start(p, c.programs[s.peer])
	if c.ctx.Err() != nil {
		if err == nil {
			r.stop()
		}
		return errInterrupted
	}
	if err != nil {
		trouble("did not start: " + err.Error())
		return nil
	}
	defer r.stop()
	opt := c.plan.options(s.cell)
	opt.URL, opt.PID, opt.Sources = r.url(s.cell), r.pid(), loopbackSources
	err = c.carries(r)
	var res *Result
	if err == nil {
		res, err = runLoad(c.ctx, opt, nil)
	}
	switch {
	case c.ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		trouble(err.Error())
		return nil
	case res.faulty():
		trouble(res.trouble())
		return nil
	}
	for i, f := range figures[s.cell.workload] {
		v := f.value(res)
		c.report.put(s.cell, i, p.name, s.round, v)
		label += fmt.Sprintf("  "+f.format+" %s", v, f.unit)
	}
	fmt.Fprintf(c.log, "%s  (%.1f s)\n", label, time.Since(began).Seconds())
	return nil
}

// loopbackSources give each proxy's clients eight times the ports of one address.
var loopbackSources = func() []net.IP {
	var ips []net.IP
	for i := range 8 {
		ips = append(ips, net.IPv4(127, 0, 0, byte(2+i)))
	}
	return ips
}()
