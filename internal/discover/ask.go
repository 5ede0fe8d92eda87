package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"wsproxy/internal/sock"
)

// maxLookup bounds one lookup with all its questions: of a service with a thousand targets whose server
// is silent, the rest stays as it is.
const maxLookup = 30 * time.Second

// answer is what one lookup came to. It can have both endpoints and an error, of a service some of
// whose targets cannot be looked up.
type answer struct {
	endpoints []Endpoint
	found     int           // endpoints or records, before any were cut off
	ttl       time.Duration // the smallest of all that have gone into it, zero for a failure of the whole
	err       error
}

// target is a host of SRV records: its last addresses, and what the last lookup came to.
type target struct {
	addrs []netip.Addr
	ttl   time.Duration
	err   error
}

// ask asks for the endpoints of a name.
func (d *Discoverer) ask(n *followed) (a answer) {
	ctx, cancel := context.WithTimeout(n.ctx, maxLookup)
	defer cancel()
	if n.name.SRV {
		a = d.askService(ctx, n)
	} else {
		a = d.askHost(ctx, n.name)
	}
	a.endpoints = inOrder(a.endpoints)
	a.found = max(a.found, len(a.endpoints))
	if len(a.endpoints) > 0 && n.ctx.Err() == nil {
		d.limit(n, &a)
	}
	return a
}

// limit cuts off what is above MaxEndpoints, always the same ones, and says so once.
func (d *Discoverer) limit(n *followed, a *answer) {
	most := d.cfg.MaxEndpoints
	if len(a.endpoints) > most {
		a.endpoints = a.endpoints[:most:most]
	}
	cut := a.found > most
	if cut && !n.cut {
		d.cfg.Log.Warn("name has too many addresses, the rest is not used", "host", n.name.Host, "addresses", a.found, "used", len(a.endpoints))
	}
	n.cut = cut
}

func (d *Discoverer) askHost(ctx context.Context, name Name) (a answer) {
	if a.err = d.begin(ctx, name.Host); a.err != nil {
		return a
	}
	defer d.end()
	var addrs []netip.Addr
	addrs, a.ttl, a.err = d.askAddrs(ctx, name.Host)
	host := strings.TrimSuffix(name.Host, ".")
	for _, addr := range addrs {
		a.endpoints = append(a.endpoints, Endpoint{Addr: netip.AddrPortFrom(addr, name.Port), Host: host, Weight: 1})
	}
	return a
}

// askAddrs asks for the IPv4 addresses of a host, and for IPv6 only if it has none: a server that has
// both would otherwise be two, each with limits, health and a share of its own. Kubernetes gives both
// for every pod of a dual-stack service. nginx takes all and has that flaw; Envoy takes one family, too,
// but IPv6 first: here IPv4 is, for where a server has both, it is IPv4 that is routed everywhere.
//
// Not to have learnt of IPv4 is a failure of the whole: the set must not change families whenever a
// packet is lost.
func (d *Discoverer) askAddrs(ctx context.Context, host string) (addrs []netip.Addr, ttl time.Duration, err error) {
	addrs, ttl, err = d.cfg.Resolver.AskAddrs(ctx, "ip4", host)
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return d.cfg.Resolver.AskAddrs(ctx, "ip6", host)
	}
	return addrs, ttl, err
}

// askService asks for the SRV records of a name and for the addresses of their targets.
func (d *Discoverer) askService(ctx context.Context, n *followed) (a answer) {
	records, ttl, err := d.askRecords(ctx, n.name.Host)
	if err != nil {
		return answer{err: err}
	}
	a.found, a.ttl = len(records), ttl
	if most := d.cfg.MaxEndpoints; len(records) > most {
		records = records[:most]
	}
	n.targets = d.askTargets(ctx, records, n.targets)
	for _, r := range records {
		t := n.targets[r.Target]
		switch {
		case t.err == nil:
			a.ttl = min(a.ttl, t.ttl)
		case a.err == nil:
			a.err = t.err
		}
		for _, addr := range t.addrs {
			a.endpoints = append(a.endpoints, Endpoint{
				Addr:   netip.AddrPortFrom(addr, r.Port),
				Host:   strings.TrimSuffix(r.Target, "."),
				Weight: max(int(r.Weight), 1),
				Backup: r.Priority > records[0].Priority,
			})
		}
	}
	return a
}

// askRecords gives at least one record, those of the lowest priority first, or an error.
func (d *Discoverer) askRecords(ctx context.Context, name string) (records []sock.SRV, ttl time.Duration, err error) {
	if err := d.begin(ctx, name); err != nil {
		return nil, 0, err
	}
	defer d.end()
	records, ttl, err = d.cfg.Resolver.AskSRV(ctx, name)
	records = slices.DeleteFunc(records, func(r sock.SRV) bool { return r.Port == 0 }) // nobody can be there
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("lookup %s: the service is decidedly not available", name)
	}
	slices.SortFunc(records, func(a, b sock.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	return records, ttl, err
}

// askTargets asks for the addresses of each target once. One that cannot be looked up has those that it
// had before.
func (d *Discoverer) askTargets(ctx context.Context, records []sock.SRV, before map[string]target) map[string]target {
	var (
		mu     sync.Mutex // guards targets
		asking sync.WaitGroup
	)
	targets := make(map[string]target)
	set := func(host string, t target) {
		if t.err != nil {
			t.addrs = before[host].addrs
		}
		mu.Lock()
		defer mu.Unlock()
		targets[host] = t
	}
	for _, host := range hosts(records) {
		if err := d.begin(ctx, host); err != nil {
			set(host, target{err: err})
			continue
		}
		asking.Go(func() {
			defer d.end()
			var t target
			t.addrs, t.ttl, t.err = d.askAddrs(ctx, host)
			set(host, t)
		})
	}
	asking.Wait()
	return targets
}

// hosts are the targets of the records, each once.
func hosts(records []sock.SRV) []string {
	all := make([]string, len(records))
	for i, r := range records {
		all[i] = r.Target
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// begin waits for the turn of a question, which must end if there is no error.
func (d *Discoverer) begin(ctx context.Context, name string) error {
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lookup %s: %w", name, ctx.Err())
	}
}

func (d *Discoverer) end() { <-d.slots }
