package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// SRV is one place where a service is (RFC 2782).
type SRV struct {
	// Target is the name of a host, in lower case and with its trailing dot: no search list makes
	// another of it.
	Target string

	Port, Priority, Weight uint16
}

// AskAddrs asks for the addresses of a host once, whatever the table has of it, in the caller's
// goroutine: for those who keep the answers themselves. network is ip4, ip6, or ip for both. There is
// at least one address, and none is an IPv4 address mapped into IPv6.
//
// ttl, from a second to an hour, is how long the answer may be kept. The error is a *net.DNSError,
// whose IsNotFound tells that there are no such addresses from not having learnt it, or wraps
// net.ErrClosed: Close ends the lookup, but does not wait for it.
func (r *Resolver) AskAddrs(ctx context.Context, network, host string) (addrs []netip.Addr, ttl time.Duration, err error) {
	if addr, ok := literal(host); ok {
		if network == "ip4" && !addr.Is4() || network == "ip6" && addr.Is4() {
			return nil, 0, notFound(host)
		}
		return []netip.Addr{addr}, maxTTL, nil
	}
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	addrs, ttl, err = r.askAddrs(ctx, network, host)
	if r.ctx.Err() != nil {
		return nil, 0, closed(host)
	}
	return addrs, ttl, err
}

// AskSRV asks for the SRV records of a name, the whole one with service and protocol if it has them,
// as AskAddrs does for addresses; the hosts file has none. None without an error says that the service
// is decidedly not available: its record has the root for a target.
func (r *Resolver) AskSRV(ctx context.Context, name string) (records []SRV, ttl time.Duration, err error) {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	var found []*net.SRV
	ttl, err = r.ask(ctx, name, func(ctx context.Context, resolver *net.Resolver) error {
		_, found, err = resolver.LookupSRV(ctx, "", "", name)
		if len(found) > 0 {
			return nil // those with names that are none are left out
		}
		return err
	})
	switch {
	case r.ctx.Err() != nil:
		return nil, 0, closed(name)
	case err != nil:
		return nil, 0, err
	}
	for _, s := range found {
		if s.Target != "." {
			records = append(records, SRV{strings.ToLower(s.Target), s.Port, s.Priority, s.Weight})
		}
	}
	return records, ttl, nil
}

// untilClosed gives a ctx that Close ends, too.
func (r *Resolver) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (r *Resolver) askAddrs(ctx context.Context, network, host string) (addrs []netip.Addr, ttl time.Duration, err error) {
	ttl, err = r.ask(ctx, host, func(ctx context.Context, resolver *net.Resolver) error {
		addrs, err = resolver.LookupNetIP(ctx, network, host)
		// The hosts file is not asked for a family; it may have only the other one.
		if _, ok := errors.AsType[*net.AddrError](err); ok || err == nil && len(addrs) == 0 {
			return notFound(host)
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, ttl, nil
}

// ask has f look a name up once. ttl is how long the answer may be kept.
func (r *Resolver) ask(ctx context.Context, name string, f func(context.Context, *net.Resolver) error) (ttl time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return 0, timedOut(name)
	}
	// A resolver keeps nothing between lookups, so that each can have one with eyes of its own. The
	// system's, through cgo, would not let its answers be seen.
	var seen answers
	resolver := net.Resolver{PreferGo: true, Dial: func(dialCtx context.Context, network, server string) (net.Conn, error) {
		if r.cfg.Server != "" {
			server = r.cfg.Server
		}
		conn, err := new(net.Dialer).DialContext(dialCtx, network, server)
		if err != nil {
			return nil, err
		}
		return seen.watch(ctx, conn), nil
	}}
	if err := f(ctx, &resolver); err != nil {
		return 0, err
	}
	ttl, ok := seen.ttl()
	if !ok {
		ttl = hostsTTL
	}
	return min(max(ttl, minTTL), maxTTL), nil
}

func notFound(host string) error {
	return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}
