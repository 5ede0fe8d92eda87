package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// usageError is wrong input: one line that says what is wrong and what is allowed. The exit status is 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// workloads, in the order they are told to people.
const (
	workIdle      = "idle"
	workEcho      = "echo"
	workSparse    = "sparse"
	workBulk      = "bulk"
	workHandshake = "handshake"
	workResumed   = "resumed"
	workStorm     = "storm"
	workDrain     = "drain"
	workGet       = "get"
	workDownload  = "download"
	workUpload    = "upload"
	workEvents    = "events"
)

var (
	workloadNames = append([]string{workIdle, workEcho, workSparse, workBulk, workHandshake, workResumed, workStorm, workDrain}, httpWorkloads...)
	// httpWorkloads are plain HTTP; in a URL's path each has the same name.
	httpWorkloads = []string{workGet, workDownload, workUpload, workEvents}
)

// isHTTP tells whether a workload is plain HTTP, not WebSockets.
func isHTTP(workload string) bool { return slices.Contains(httpWorkloads, workload) }

// spareDescriptors is what a run needs beside one for each link: epoll, /proc, terminals.
const spareDescriptors = 100

// Options says what load to make. A zero value means the workload's default, see workloadDefaults.
type Options struct {
	URL      string
	Workload string
	// Connections is the number of links; with handshake and resumed, how many are being opened at a time.
	Connections int
	// Size is the payload of each message, body or event in bytes: at least 16, 32 or 75, as each carries its link
	// and number.
	Size int
	// Rate is messages, requests or events per second over all links together; zero sends the next when the last
	// is answered.
	Rate float64
	// Interval is the time between two messages, requests or events of one link, the other way to set a rate.
	Interval time.Duration
	// InFlight is how many messages of a link may be unanswered; with HTTP it is one request.
	InFlight int
	// Messages is how many idle, storm and drain exchange on each new link; zero with idle is idleMessages.
	Messages int
	// Duration is how long is measured; with drain, how long the end of the links is waited for.
	Duration time.Duration
	// WarmUp runs the load before it is measured; with idle it is the rest between the last message and
	// the measure. Negative means none.
	WarmUp time.Duration
	// WarmLinks are opened, used and kept before the memory measure of idle or events begins. Negative means
	// none.
	WarmLinks int
	// Ramp spreads the opening of the links evenly. Zero opens as fast as 128 at a time get through.
	Ramp time.Duration
	// Timeout bounds a connection's opening, each echo, and the closing; with HTTP how long nothing may move on a link
	// whose answer is not whole.
	Timeout time.Duration
	// Storms is how many times storm drops all links.
	Storms int
	// Drop is how storm drops them: "rst" or "close".
	Drop string
	// Insecure accepts any certificate.
	Insecure bool
	// Sources are local addresses, used in turn.
	Sources []net.IP
	// PID is the proxy's process; zero measures none.
	PID int
	// Terminate makes drain send SIGTERM to PID once all links stand.
	Terminate bool
}

var workloadDefaults = map[string]Options{
	workIdle:      {Connections: 8000, Size: 4096, Duration: 5 * time.Second, WarmLinks: warmLinks},
	workEcho:      {Connections: 200, Size: 128, Duration: 10 * time.Second},
	workSparse:    {Connections: 4000, Size: 128, Interval: 2 * time.Second, Duration: 10 * time.Second, WarmUp: 2 * time.Second},
	workBulk:      {Connections: 16, Size: 64 << 10, InFlight: 4, Duration: 10 * time.Second},
	workHandshake: {Connections: 8, Size: 128, Duration: 10 * time.Second},
	workResumed:   {Connections: 8, Size: 128, Duration: 10 * time.Second},
	workStorm:     {Connections: 1000, Size: 128, Messages: 1, Duration: 60 * time.Second, Storms: 3, Drop: "rst"},
	workDrain:     {Connections: 1000, Size: 128, Messages: 1, Duration: 60 * time.Second},
	workGet:       {Connections: 64, Size: 128, Duration: 10 * time.Second},
	workDownload:  {Connections: 4, Size: 64 << 20, Duration: 10 * time.Second},
	workUpload:    {Connections: 4, Size: 64 << 20, Duration: 10 * time.Second},
	workEvents:    {Connections: 1000, Size: 128, Interval: time.Second, Duration: 10 * time.Second},
}

// idleMessages is how many 4 KiB messages idle sends on each link before it measures. TLS makes it five, 20 KB
// each way: implementations grow their record buffers with what passes and keep them.
func idleMessages(secure bool) int {
	if secure {
		return 5
	}
	return 2
}

// complete fills in defaults and refuses what makes no sense.
func (o *Options) complete() error {
	def, ok := workloadDefaults[o.Workload]
	if !ok {
		return usagef("workload %q: allowed are %s", o.Workload, strings.Join(workloadNames, ", "))
	}
	if o.Rate != 0 && o.Interval != 0 {
		return usagef("--rate and --interval both set: one of them is allowed")
	}
	if o.Rate < 0 || o.Rate > 10e6 {
		return usagef("rate %g: allowed is 0 (as fast as answers come) to 10000000 messages per second over all links", o.Rate)
	}
	if o.Rate == 0 {
		fill(&o.Interval, def.Interval)
	}
	fill(&o.Connections, def.Connections)
	fill(&o.Size, def.Size)
	fill(&o.InFlight, def.InFlight, 1)
	if o.Workload == workIdle {
		fill(&o.Messages, idleMessages(strings.HasPrefix(o.URL, "wss:")))
	}
	fill(&o.Messages, def.Messages, 1)
	fill(&o.Duration, def.Duration)
	fill(&o.WarmUp, def.WarmUp, time.Second)
	fill(&o.WarmLinks, def.WarmLinks)
	fill(&o.Timeout, 10*time.Second)
	fill(&o.Storms, def.Storms, 1)
	fill(&o.Drop, def.Drop, "rst")
	o.WarmUp, o.WarmLinks = max(o.WarmUp, 0), max(o.WarmLinks, 0)
	if o.Rate > 0 {
		o.Interval = time.Duration(float64(o.Connections) / o.Rate * float64(time.Second))
	}
	return errors.Join(o.check()...)
}

// fill sets v to the first default that is not zero, if v is.
func fill[T comparable](v *T, defaults ...T) {
	var zero T
	for _, d := range defaults {
		if *v != zero {
			return
		}
		*v = d
	}
}

// check returns at most one error: the first thing that is out of bounds.
func (o *Options) check() []error {
	smallest, largest := o.sizes()
	type bound struct {
		name        string
		v, min, max int64
		unit        string
	}
	for _, b := range []bound{
		{"connections", int64(o.Connections), 1, 1e6, ""},
		{"size", int64(o.Size), smallest, largest, " bytes"},
		{"in-flight", int64(o.InFlight), 1, 1024, ""},
		{"messages", int64(o.Messages), 1, 1e6, ""},
		{"storms", int64(o.Storms), 1, 1000, ""},
		{"warm-links", int64(o.WarmLinks), 0, 1e6, ""},
	} {
		if b.v < b.min || b.v > b.max {
			return []error{usagef("%s %d: allowed is %d to %d%s", b.name, b.v, b.min, b.max, b.unit)}
		}
	}
	type span struct {
		name        string
		v, min, max time.Duration
	}
	for _, s := range []span{
		{"duration", o.Duration, time.Millisecond, 24 * time.Hour},
		{"warm-up", o.WarmUp, 0, time.Hour},
		{"ramp", o.Ramp, 0, time.Hour},
		{"timeout", o.Timeout, time.Millisecond, time.Hour},
		{"interval", o.Interval, 0, time.Hour},
	} {
		if s.v < s.min || s.v > s.max {
			return []error{usagef("%s %v: allowed is %v to %v", s.name, s.v, s.min, s.max)}
		}
	}
	switch {
	case o.Interval > 0 && !slices.Contains(pacedWorkloads, o.Workload):
		return []error{usagef("--rate or --interval with workload %s: allowed with %s", o.Workload, strings.Join(pacedWorkloads, ", "))}
	case o.Workload == workEvents && o.Interval < minInterval:
		return []error{usagef("interval %v with workload events: allowed is %v or more", o.Interval, minInterval)}
	case o.Workload == workEvents && o.Timeout <= o.Interval:
		return []error{usagef("timeout %v with an event every %v: allowed is more than that", o.Timeout, o.Interval)}
	case o.InFlight > 1 && isHTTP(o.Workload):
		return []error{usagef("in-flight %d with workload %s: allowed is 1, requests are not pipelined", o.InFlight, o.Workload)}
	case o.Drop != "rst" && o.Drop != "close":
		return []error{usagef("drop %q: allowed are rst and close", o.Drop)}
	case o.PID < 0:
		return []error{usagef("pid %d: allowed is the number of a running process", o.PID)}
	case o.Terminate && (o.PID == 0 || o.Workload != workDrain):
		return []error{usagef("--sigterm without --pid or with workload %s: allowed with --pid and workload drain", o.Workload)}
	}
	return nil
}

// pacedWorkloads may be given a rate.
var pacedWorkloads = []string{workEcho, workSparse, workBulk, workDrain, workGet, workEvents}

// sizes are the bounds of Size.
func (o *Options) sizes() (smallest, largest int64) {
	switch {
	case o.Workload == workEvents:
		return int64(minEvent), maxEvent
	case isHTTP(o.Workload):
		return tagSize, 64 << 30
	}
	return payloadHead, 64 << 20
}

// fits refuses a run that needs more descriptors than limit.
func (o *Options) fits(limit int) error {
	need := o.Connections + spareDescriptors
	if o.Workload == workIdle || o.Workload == workEvents {
		need += o.WarmLinks
	}
	if need > limit {
		return usagef("%d links need %d open descriptors: this process is allowed %d (raise the hard limit of RLIMIT_NOFILE, or use fewer --connections)",
			o.Connections, need, limit)
	}
	return nil
}

// opensInMeasure tells whether links are opened while it is measured, not before.
func (o *Options) opensInMeasure() bool {
	return o.Workload == workHandshake || o.Workload == workResumed || o.Workload == workStorm
}

// target is where the load goes.
type target struct {
	secure bool
	host   string // as it stands in the URL, for the Host header
	name   string // without port, for the certificate
	path   string // with query
	addr   *net.TCPAddr
}

// parseTarget reads the URL for a workload.
func parseTarget(raw, workload string) (target, error) {
	plain, secure := "ws", "wss"
	if isHTTP(workload) {
		plain, secure = "http", "https"
	}
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, usagef("URL %q: not a URL; allowed is %s://host:port/path or %s://…", raw, plain, secure)
	}
	if u.Scheme != plain && u.Scheme != secure {
		return target{}, usagef("URL %q: scheme %q; with workload %s allowed are %s and %s", raw, u.Scheme, workload, plain, secure)
	}
	if u.Hostname() == "" || u.Fragment != "" || u.User != nil {
		return target{}, usagef("URL %q: allowed is %s://host:port/path, without user and fragment", raw, plain)
	}
	if isHTTP(workload) && u.RawQuery != "" {
		return target{}, usagef("URL %q: allowed with workload %s is %s://host:port/path without a query, which is wsbench's", raw, workload, plain)
	}
	t := target{secure: u.Scheme == secure, host: u.Host, name: u.Hostname(), path: u.RequestURI()}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.secure]
	}
	t.addr, err = net.ResolveTCPAddr("tcp", net.JoinHostPort(t.name, port))
	if err != nil {
		return target{}, fmt.Errorf("resolve %s: %w", u.Host, err)
	}
	return t, nil
}

// parseSources reads addresses and ranges: "127.0.0.2-127.0.0.9,127.0.1.1".
func parseSources(list string) ([]net.IP, error) {
	var ips []net.IP
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, to := net.ParseIP(strings.TrimSpace(first)), net.ParseIP(strings.TrimSpace(last))
		if from == nil || to == nil || (from.To4() == nil) != (to.To4() == nil) {
			return nil, usagef("source %q: allowed are addresses and ranges of this machine, like 127.0.0.2-127.0.0.9,127.0.1.1", item)
		}
		for ip := slices.Clone(from); ; increment(ip) {
			ips = append(ips, slices.Clone(ip))
			if ip.Equal(to) {
				break
			}
			if len(ips) > 1024 {
				return nil, usagef("source %q: allowed are up to 1024 addresses, the lower one first", item)
			}
		}
	}
	return ips, nil
}

func increment(ip net.IP) {
	for i := len(ip) - 1; i >= 0; i-- {
		ip[i]++
		if ip[i] != 0 {
			return
		}
	}
}
