package discover

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock"
	"wsproxy/internal/sock/dnstest"
)

var app = Name{Host: "app.test.", Port: 80}

func TestOnlyOtherSetsAreTold(t *testing.T) {
	a := func(owner string, addrs ...string) (records []dnsmessage.Resource) {
		for _, addr := range addrs {
			records = append(records, dnstest.Address(owner, addr, 30))
		}
		return records
	}
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	var to *told
	for _, step := range []struct {
		name    string
		records []dnsmessage.Resource
		want    []string
	}{
		{"first", a("app.test.", "192.0.2.2", "192.0.2.1"), []string{"192.0.2.1:80 192.0.2.2:80"}},
		{"the same", a("app.test.", "192.0.2.2", "192.0.2.1"), nil},
		{"in another order", a("app.test.", "192.0.2.1", "192.0.2.2"), nil},
		{"one twice", a("app.test.", "192.0.2.1", "192.0.2.2", "192.0.2.1"), nil},
		{"grown", a("app.test.", "192.0.2.10", "192.0.2.1", "192.0.2.2"), []string{"192.0.2.1:80 192.0.2.2:80 192.0.2.10:80"}},
		{"IPv6 beside IPv4", a("app.test.", "2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.10"), nil},
		{"shrunk", a("app.test.", "192.0.2.2"), []string{"192.0.2.2:80"}},
		{"by an alias", append(a("other.test.", "192.0.2.2"), dnstest.Alias("app.test.", "other.test.", 30)), nil},
		{"IPv6 alone", a("app.test.", "2001:db8::2", "2001:db8::1"), []string{"[2001:db8::1]:80 [2001:db8::2]:80"}},
		{"IPv4 again", a("app.test.", "2001:db8::1", "192.0.2.9"), []string{"192.0.2.9:80"}},
	} {
		f.server.SetZone(step.records...)
		if to == nil {
			to = f.follow(app)
			f.clock.running.Wait()
		} else {
			f.pass(30 * time.Second)
		}
		if !t.Run(step.name, func(t *testing.T) { to.t = t; to.want(step.want...) }) {
			break
		}
	}
	f.said()
}

func TestEndpointsOfAHost(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", 30))
	to := f.follow(Name{Host: "App.Test.", Port: 80})
	literal := f.follow(Name{Host: "2001:db8::1", Port: 443})
	f.pass(0)
	if got := fmt.Sprint(<-to.sets); got != "[{192.0.2.1:80 app.test 1 false}]" {
		t.Errorf("told %s", got)
	}
	if got := fmt.Sprint(<-literal.sets); got != "[{[2001:db8::1]:443 2001:db8::1 1 false}]" {
		t.Errorf("told %s", got)
	}
}

func TestAnswerIsKeptForItsTime(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ttl      uint32
		min, max time.Duration
		want     time.Duration
	}{
		{"as it says", 30, 0, 0, 30 * time.Second},
		{"zero", 0, 0, 0, time.Second},
		{"a day", 86400, 0, 0, time.Hour},
		{"less than the least", 3, 5 * time.Second, 0, 5 * time.Second},
		{"more than the most", 30, 0, 10 * time.Second, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{MinTTL: tt.min, MaxTTL: tt.max}, sock.ResolverConfig{})
			f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", tt.ttl))
			to := f.follow(app)
			f.pass(0)
			to.want("192.0.2.1:80")
			f.next(tt.want)
			f.server.SetZone(dnstest.Address("app.test.", "192.0.2.2", tt.ttl))
			f.pass(tt.want - 1)
			to.want()
			f.jitter = func(most time.Duration) time.Duration { return most }
			f.pass(1)
			to.want("192.0.2.2:80")
			f.next(tt.want + tt.want/10)
		})
	}
	d := New(Config{})
	defer d.Close()
	if least, most := d.jitter(0), d.jitter(time.Minute); least != 0 || most < 0 || most > time.Minute {
		t.Errorf("jitter of 0 is %v, of up to a minute %v", least, most)
	}
}

func TestFailureKeepsTheLastEndpoints(t *testing.T) {
	for _, tt := range []struct {
		name string
		host Name
		bad  dnstest.Reply
		said string
	}{
		{"server failure", app, dnstest.Reply{Code: dnsmessage.RCodeServerFailure}, "server misbehaving"},
		{"refused", app, dnstest.Reply{Code: dnsmessage.RCodeRefused}, "server misbehaving"},
		{"no such name", app, dnstest.Reply{Code: dnsmessage.RCodeNameError}, "no such host"},
		{"empty", app, dnstest.Reply{}, "no such host"},
		{"silence", app, dnstest.Reply{Silent: true}, "timeout"},
		{"no such service", service, dnstest.Reply{Code: dnsmessage.RCodeNameError}, "no such host"},
		{"a service without records", service, dnstest.Reply{}, "no such host"},
		{"a service that is gone", service, dnstest.Reply{Records: []dnsmessage.Resource{
			dnstest.Service(service.Host, ".", 0, 0, 0, 30)}}, "decidedly not available"},
		{"a service without ports", service, dnstest.Reply{Records: []dnsmessage.Resource{
			dnstest.Service(service.Host, "app.test.", 0, 0, 0, 30)}}, "decidedly not available"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resolver := sock.ResolverConfig{}
			if tt.bad.Silent {
				resolver.Timeout = 50 * time.Millisecond
			}
			f := newFixture(t, Config{}, resolver)
			good := func(addrs ...string) {
				zone := []dnsmessage.Resource{dnstest.Service(service.Host, "app.test.", 80, 0, 0, 30)}
				for _, addr := range addrs {
					zone = append(zone, dnstest.Address("app.test.", addr, 30))
				}
				f.server.SetZone(zone...)
			}
			good("192.0.2.1", "192.0.2.2")
			to := f.follow(tt.host)
			f.pass(0)
			to.want("192.0.2.1:80 192.0.2.2:80")
			f.said()

			f.server.Set(func(dnsmessage.Question, string) dnstest.Reply { return tt.bad })
			f.pass(30 * time.Second)
			f.said("level=WARN", "host="+tt.host.Host, "addresses=2", tt.said, "stay in use")
			for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
				f.next(wait * time.Second)
				f.pass(wait * time.Second)
			}
			to.want()
			f.said()
			all := f.Snapshot()
			if len(all) != 1 || all[0].Name != tt.host || describe(all[0].Endpoints) != "192.0.2.1:80 192.0.2.2:80" ||
				all[0].Age != 121*time.Second || all[0].Err == nil || !all[0].Answered.Equal(f.clock.time().Add(-all[0].Age)) {
				t.Errorf("Snapshot = %+v", all)
			}

			good("192.0.2.1", "192.0.2.3")
			f.pass(30 * time.Second)
			to.want("192.0.2.1:80 192.0.2.3:80")
			f.said("level=INFO", "host="+tt.host.Host, "addresses=2")
			f.next(30 * time.Second)
			if all := f.Snapshot(); all[0].Err != nil || all[0].Age != 0 {
				t.Errorf("Snapshot = %+v", all)
			}
			if tt.bad.Silent {
				return // one is slow enough
			}
			f.server.Set(func(dnsmessage.Question, string) dnstest.Reply { return tt.bad })
			f.pass(30 * time.Second)
			f.said("level=WARN")
			f.next(minRetry)
		})
	}
}

// A set must not change families because one of two questions has come to nothing.
func TestFailureOfOneFamilyIsOneOfTheWhole(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	zone := []dnsmessage.Resource{dnstest.Address("app.test.", "192.0.2.1", 30), dnstest.Address("app.test.", "2001:db8::1", 30)}
	f.server.SetZone(zone...)
	to := f.follow(app)
	f.pass(0)
	to.want("192.0.2.1:80")
	f.server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		if q.Type == dnsmessage.TypeA {
			return dnstest.Reply{Code: dnsmessage.RCodeServerFailure}
		}
		return dnstest.Zone(q, zone)
	})
	f.pass(30 * time.Second)
	to.want()
	f.said("level=WARN", "server misbehaving")
}

func TestNameWithoutAnAnswerYet(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	to := f.follow(app)
	f.pass(0)
	f.said("level=WARN", "host=app.test.", "no addresses yet", "no such host")
	f.next(minRetry)
	f.pass(minRetry)
	f.next(2 * minRetry)
	f.said()
	if all := f.Snapshot(); len(all) != 1 || all[0].Endpoints != nil || all[0].Err == nil || !all[0].Answered.IsZero() || all[0].Age != 0 {
		t.Errorf("Snapshot = %+v", all)
	}
	to.want()
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", 30))
	f.pass(2 * minRetry)
	to.want("192.0.2.1:80")
	f.said("level=INFO", "host=app.test.", "addresses=1")
}
