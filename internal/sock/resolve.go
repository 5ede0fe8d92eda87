package sock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ResolverConfig says how a Resolver looks names up. The zero value is a good one.
type ResolverConfig struct {
	// Server is the DNS server to ask, an address and its port. Empty means those the system names;
	// the hosts file is read first either way.
	Server string

	// Timeout bounds one lookup, whoever waits for it. Zero means ten seconds: two attempts at the
	// resolver's usual five.
	Timeout time.Duration

	// MaxNames is how many names are kept, and how many can be looked up at once. Zero means 1024.
	MaxNames int

	// Log gets a line when a name that had addresses cannot be looked up any more, and one when it
	// can again. Nil means slog.Default().
	Log *slog.Logger
}

const (
	// minTTL spares a server that answers with a time to live of zero; maxTTL bounds how long a
	// mistyped one is believed.
	minTTL = time.Second
	maxTTL = time.Hour

	// hostsTTL is for answers without a time to live: those of the hosts file.
	hostsTTL = 10 * time.Second

	// negativeTTL is how long a name without addresses answers its error.
	negativeTTL = time.Second

	// A refresh that came to nothing is tried again after minRetry, then after twice as long each
	// time.
	minRetry = time.Second
	maxRetry = 30 * time.Second

	// forgetAfter is how long a stale name is kept that nobody asks for.
	forgetAfter = 5 * time.Minute

	// maxQueries is how many lookups talk to servers at the same time; the others wait their turn.
	maxQueries = 32
)

// Resolver gives the addresses of hosts and keeps each answer for the time to live that DNS gives
// it. Only the first to ask for a name waits; later, an answer past its time is still given while
// one lookup brings the next. Nothing is looked up that nobody asks for. It knows the hosts file and
// DNS, not the other sources that a system may have, such as mDNS. It may be used by many goroutines.
type Resolver struct {
	// Fixed at creation.
	cfg    ResolverConfig
	now    func() time.Time
	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	slots  chan struct{} // one per lookup that talks to servers

	mu      sync.Mutex       // guards the fields below and every name's
	names   map[string]*name // by host as it was asked for
	closed  bool
	lookups sync.WaitGroup // the goroutines of lookup
}

// name is a host in the table.
//
//	waiting → good ⇄ failing
//	waiting ⇄ bad
//
// waiting: no answer yet, callers wait for done. good: addrs, err nil. failing: addrs of the last
// good answer, err says why there are none newer. bad: err only. Addresses lead to good, an error to
// failing, or to bad from waiting. Once a name is due, the first to ask for it starts a lookup: good
// and failing answer meanwhile as before, bad is waiting again.
type name struct {
	addrs []netip.Addr  // never changed, only replaced
	err   error         // of the last lookup
	done  chan struct{} // closed when the lookup under way ends; nil when there is none
	due   time.Time     // from then on it is looked up again
	retry time.Duration // the last wait after an error
	asked time.Time
}

// NewResolver makes a Resolver. Close ends it.
func NewResolver(cfg ResolverConfig) *Resolver {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.MaxNames <= 0 {
		cfg.MaxNames = 1024
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	r := &Resolver{cfg: cfg, now: time.Now, slots: make(chan struct{}, maxQueries), names: make(map[string]*name)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close ends the lookups under way and waits for their goroutines. Names give net.ErrClosed from
// then on, to those who wait for one as well; literal addresses still give themselves.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.lookups.Wait()
}

// Lookup gives the addresses of a host, a name or a literal address, in the system's order of
// preference: whoever dials takes the next when one fails. There is at least one, and none is an
// IPv4 address mapped into IPv6. The slice is shared and must not be changed; it stays valid.
//
// A name that has not been resolved yet is waited for, at most timeout; zero means as long as
// ResolverConfig.Timeout allows. The lookup itself goes on for those who ask next. The error is a
// *net.DNSError or wraps net.ErrClosed.
func (r *Resolver) Lookup(host string, timeout time.Duration) ([]netip.Addr, error) {
	if addr, ok := literal(host); ok {
		return []netip.Addr{addr}, nil
	}
	return r.resolve(host, timeout)
}

// AppendAddrPorts appends to dst what Lookup gives for the host of an address, host:port, each with
// the port. Where dst has room, a literal address and a name that is known cost no allocation.
func (r *Resolver) AppendAddrPorts(dst []netip.AddrPort, address string, timeout time.Duration) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return dst, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return dst, &net.AddrError{Err: "port is not a number from 0 to 65535", Addr: address}
	}
	if addr, ok := literal(host); ok {
		return append(dst, netip.AddrPortFrom(addr, uint16(port))), nil
	}
	addrs, err := r.resolve(host, timeout)
	for _, addr := range addrs {
		dst = append(dst, netip.AddrPortFrom(addr, uint16(port)))
	}
	return dst, err
}

// literal parses an address. netip's error would be an allocation for every name; a name has no
// colon, and by RFC 3696 §2 no number for its last label.
func literal(host string) (addr netip.Addr, ok bool) {
	if !strings.Contains(host, ":") && strings.Trim(host, "0123456789.") != "" {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err == nil
}

func (r *Resolver) resolve(host string, timeout time.Duration) ([]netip.Addr, error) {
	r.mu.Lock()
	n, err := r.askLocked(host)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	addrs, err, done := n.addrs, n.err, n.done
	r.mu.Unlock()
	switch {
	case addrs != nil:
		return addrs, nil
	case done == nil:
		return nil, err
	}
	var expired <-chan time.Time
	if timeout != 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-done:
	case <-expired:
		return nil, timedOut(host)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.addrs != nil {
		return n.addrs, nil
	}
	return nil, n.err
}

// askLocked finds the host in the table or puts it there, and starts a lookup if it is due and none
// is under way.
func (r *Resolver) askLocked(host string) (*name, error) {
	if r.closed {
		return nil, closed(host)
	}
	now := r.now()
	n := r.names[host]
	if n != nil && n.forgotten(now) {
		delete(r.names, host)
		n = nil
	}
	if n == nil {
		if !r.makeRoomLocked(now) {
			return nil, &net.DNSError{Err: "too many names", Name: host, IsTemporary: true}
		}
		n = &name{}
		r.names[host] = n
	}
	n.asked = now
	if n.done == nil && !now.Before(n.due) {
		n.done = make(chan struct{})
		r.lookups.Add(1)
		go r.lookup(host, n)
	}
	return n, nil
}

// makeRoomLocked drops what is forgotten and, if the table is still full, the name that nobody has
// asked for the longest. Those being looked up stay: their number bounds that of the goroutines.
func (r *Resolver) makeRoomLocked(now time.Time) bool {
	var oldest *name
	var oldestHost string
	for host, n := range r.names {
		switch {
		case n.forgotten(now):
			delete(r.names, host)
		case n.done == nil && (oldest == nil || n.asked.Before(oldest.asked)):
			oldest, oldestHost = n, host
		}
	}
	if oldest != nil && len(r.names) >= r.cfg.MaxNames {
		delete(r.names, oldestHost)
	}
	return len(r.names) < r.cfg.MaxNames
}

func (n *name) forgotten(now time.Time) bool {
	return n.done == nil && !now.Before(n.due) && now.Sub(n.asked) >= forgetAfter
}

// lookup brings a name's next answer.
func (r *Resolver) lookup(host string, n *name) {
	defer r.lookups.Done()
	addrs, ttl, err := r.askAddrs(r.ctx, "ip", host)
	closing := r.ctx.Err() != nil
	if closing {
		addrs, err = nil, closed(host)
	}
	r.mu.Lock()
	before, known := n.err, n.addrs != nil
	now := r.now()
	switch n.err = err; {
	case err == nil:
		n.addrs, n.retry, n.due = addrs, 0, now.Add(ttl)
	case known:
		n.retry = min(max(2*n.retry, minRetry), maxRetry)
		n.due = now.Add(n.retry)
	default:
		n.due = now.Add(negativeTTL)
	}
	close(n.done)
	n.done = nil
	r.mu.Unlock()
	switch {
	case !known || closing: // whoever asked has the error
	case err != nil && fault(err) != fault(before):
		r.cfg.Log.Warn("name not resolved, its last addresses stay in use", "host", host, "err", err)
	case err == nil && before != nil:
		r.cfg.Log.Info("name resolved again", "host", host)
	}
}

// fault is what an error comes down to. Its text is another each time: it has the ports of the
// connection to the server.
func fault(err error) string {
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil:
		return ""
	case ok && dnsErr.IsNotFound:
		return "not found"
	case ok && dnsErr.IsTimeout:
		return "timeout"
	}
	return "other"
}

func timedOut(host string) error {
	return &net.DNSError{Err: "timeout", Name: host, IsTimeout: true, IsTemporary: true}
}

func closed(host string) error { return fmt.Errorf("lookup %s: %w", host, net.ErrClosed) }
