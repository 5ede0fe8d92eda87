package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

func TestAskAddrs(t *testing.T) {
	server := dnstest.NewServer(t)
	server.SetZone(
		dnstest.Address("both.test.", "192.0.2.1", 30), dnstest.Address("both.test.", "2001:db8::1", 7),
		dnstest.Alias("alias.test.", "both.test.", 5), dnstest.Text("none.test.", 5),
	)
	r := newTestResolver(t, server, ResolverConfig{})
	for _, tt := range []struct {
		network, host, want string
		ttl                 time.Duration
		notFound            bool
	}{
		{"ip4", "both.test.", "[192.0.2.1]", 30 * time.Second, false},
		{"ip6", "both.test.", "[2001:db8::1]", 7 * time.Second, false},
		{"ip4", "alias.test.", "[192.0.2.1]", 5 * time.Second, false},
		{"ip4", "192.0.2.9", "[192.0.2.9]", time.Hour, false},
		{"ip6", "::ffff:192.0.2.9", "[]", 0, true},
		{"ip4", "2001:db8::9", "[]", 0, true},
		{"ip6", "2001:db8::9", "[2001:db8::9]", time.Hour, false},
		{"ip4", "none.test.", "[]", 0, true},
		{"ip6", "missing.test.", "[]", 0, true},
	} {
		addrs, ttl, err := r.AskAddrs(t.Context(), tt.network, tt.host)
		dns, ok := errors.AsType[*net.DNSError](err)
		if notFound := ok && dns.IsNotFound; fmt.Sprint(addrs) != tt.want || ttl != tt.ttl || notFound != tt.notFound || !notFound && err != nil {
			t.Errorf("AskAddrs(%q, %q) = %v, %v, %v, want %s, %v, not found: %v", tt.network, tt.host, addrs, ttl, err, tt.want, tt.ttl, tt.notFound)
		}
	}
	if len(r.names) > 0 {
		t.Errorf("%d names are in the table, which was not to be used", len(r.names))
	}
}

func TestAskSRV(t *testing.T) {
	const name = "_http._tcp.app.test."
	one := dnstest.Service(name, "One.Test.", 8080, 1, 0, 30)
	two := dnstest.Service(name, "two.test.", 8081, 2, 7, 20)
	gone := dnstest.Service(name, ".", 0, 0, 0, 9)
	for _, tt := range []struct {
		name   string
		reply  dnstest.Reply
		want   string
		ttl    time.Duration
		failed bool
	}{
		{"two", dnstest.Reply{Records: []dnsmessage.Resource{two, one}}, "[{one.test. 8080 1 0} {two.test. 8081 2 7}]", 20 * time.Second, false},
		{"an alias", dnstest.Reply{Records: []dnsmessage.Resource{
			dnstest.Alias(name, "other.test.", 4), dnstest.Service("other.test.", "one.test.", 1, 2, 3, 8)}}, "[{one.test. 1 2 3}]", 4 * time.Second, false},
		{"decidedly not available", dnstest.Reply{Records: []dnsmessage.Resource{gone}}, "[]", 9 * time.Second, false},
		{"the root beside a host", dnstest.Reply{Records: []dnsmessage.Resource{gone, one}}, "[{one.test. 8080 1 0}]", 9 * time.Second, false},
		{"cut off by UDP", dnstest.Reply{Cut: true, Records: []dnsmessage.Resource{one}}, "[{one.test. 8080 1 0}]", 30 * time.Second, false},
		{"none", dnstest.Reply{}, "[]", 0, true},
		{"no such name", dnstest.Reply{Code: dnsmessage.RCodeNameError}, "[]", 0, true},
		{"server failure", dnstest.Reply{Code: dnsmessage.RCodeServerFailure}, "[]", 0, true},
	} {
		server := dnstest.NewServer(t)
		server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
			if q.Type != dnsmessage.TypeSRV || q.Name.String() != name {
				t.Errorf("%s: asked for %v", tt.name, q)
			}
			return tt.reply
		})
		r := newTestResolver(t, server, ResolverConfig{})
		records, ttl, err := r.AskSRV(t.Context(), name)
		if fmt.Sprint(records) != tt.want || ttl != tt.ttl || (err != nil) != tt.failed {
			t.Errorf("%s: AskSRV = %v, %v, %v, want %s, %v, an error: %v", tt.name, records, ttl, err, tt.want, tt.ttl, tt.failed)
		}
	}
}

func TestAskingEnds(t *testing.T) {
	server := dnstest.NewServer(t)
	heard := make(chan struct{}, 16)
	server.Set(func(dnsmessage.Question, string) dnstest.Reply {
		heard <- struct{}{}
		return dnstest.Reply{Silent: true}
	})
	r := newTestResolver(t, server, ResolverConfig{})
	asks := []func(context.Context) error{
		func(ctx context.Context) error { _, _, err := r.AskAddrs(ctx, "ip4", "db.test."); return err },
		func(ctx context.Context) error { _, _, err := r.AskSRV(ctx, "db.test."); return err },
	}
	failed := make(chan error, len(asks))
	for _, ask := range asks {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { failed <- ask(ctx) }()
		<-heard
		cancel()
		if err := <-failed; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("asked without patience: %v, want an error that is not of Close", err)
		}
	}
	for _, ask := range asks {
		go func() { failed <- ask(t.Context()) }()
		<-heard
	}
	r.Close()
	for _, ask := range asks {
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("while Close: %v, want net.ErrClosed", err)
		}
		if err := ask(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want net.ErrClosed", err)
		}
	}
}
