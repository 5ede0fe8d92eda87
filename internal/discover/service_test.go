package discover

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock"
	"wsproxy/internal/sock/dnstest"
)

const owner = "_http._tcp.app.test."

var service = Name{Host: owner, SRV: true}

func TestServices(t *testing.T) {
	hosts := []dnsmessage.Resource{
		dnstest.Address("a.test.", "192.0.2.2", 30), dnstest.Address("a.test.", "192.0.2.1", 20),
		dnstest.Address("b.test.", "192.0.2.3", 30), dnstest.Address("b.test.", "2001:db8::3", 2),
		dnstest.Address("c.test.", "2001:db8::4", 30),
		dnstest.Alias("d.test.", "b.test.", 6),
	}
	srv := func(target string, port, priority, weight uint16) dnsmessage.Resource {
		return dnstest.Service(owner, target, port, priority, weight, 25)
	}
	for _, tt := range []struct {
		name    string
		records []dnsmessage.Resource
		want    string
		ttl     time.Duration
	}{
		{"one target", []dnsmessage.Resource{srv("b.test.", 8080, 0, 0)}, "192.0.2.3:8080", 25 * time.Second},
		{"the smallest time to live", []dnsmessage.Resource{srv("b.test.", 8080, 0, 0), srv("a.test.", 80, 0, 1)},
			"192.0.2.1:80 192.0.2.2:80 192.0.2.3:8080", 20 * time.Second},
		{"an alias for a target", []dnsmessage.Resource{srv("d.test.", 8080, 0, 0)}, "192.0.2.3:8080", 6 * time.Second},
		{"each target by its family", []dnsmessage.Resource{srv("b.test.", 8080, 0, 1), srv("c.test.", 8080, 0, 1)},
			"192.0.2.3:8080 [2001:db8::4]:8080", 25 * time.Second},
		{"weights", []dnsmessage.Resource{srv("a.test.", 80, 0, 5), srv("b.test.", 80, 0, 0), srv("c.test.", 80, 0, 65535)},
			"192.0.2.1:80*5 192.0.2.2:80*5 192.0.2.3:80 [2001:db8::4]:80*65535", 20 * time.Second},
		{"priorities", []dnsmessage.Resource{srv("a.test.", 80, 20, 5), srv("b.test.", 80, 10, 2), srv("c.test.", 80, 30, 1)},
			"192.0.2.3:80*2 192.0.2.1:80*5~ 192.0.2.2:80*5~ [2001:db8::4]:80~", 20 * time.Second},
		{"two ports of one target", []dnsmessage.Resource{srv("b.test.", 81, 1, 1), srv("B.Test.", 80, 1, 1)},
			"192.0.2.3:80 192.0.2.3:81", 25 * time.Second},
		{"one server twice", []dnsmessage.Resource{srv("b.test.", 80, 2, 9), srv("d.test.", 80, 1, 2), srv("b.test.", 80, 1, 3)},
			"192.0.2.3:80*3", 6 * time.Second},
		{"the root beside a target", []dnsmessage.Resource{srv(".", 0, 0, 0), srv("b.test.", 80, 1, 1)}, "192.0.2.3:80", 25 * time.Second},
		{"by an alias", []dnsmessage.Resource{dnstest.Alias(owner, "_http._tcp.other.test.", 3),
			dnstest.Service("_http._tcp.other.test.", "b.test.", 80, 1, 1, 25)}, "192.0.2.3:80", 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{}, sock.ResolverConfig{})
			f.server.SetZone(append(tt.records, hosts...)...)
			to := f.follow(Name{Host: owner, Port: 99, SRV: true})
			f.pass(0)
			to.want(tt.want)
			f.next(tt.ttl)
			f.pass(tt.ttl)
			to.want()
			f.said()
			if all := f.Snapshot(); len(all) != 1 || all[0].Name != service {
				t.Errorf("Snapshot = %+v", all)
			}
		})
	}
}

func TestEndpointOfAServiceHasItsTargetsName(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	f.server.SetZone(dnstest.Service("app.service.consul.", "Node1.Test.", 8080, 0, 1, 0), dnstest.Address("node1.test.", "192.0.2.1", 0))
	to := f.follow(Name{Host: "app.service.consul", SRV: true})
	f.pass(0)
	if got := fmt.Sprint(<-to.sets); got != "[{192.0.2.1:8080 node1.test 1 false}]" {
		t.Errorf("told %s", got)
	}
	f.next(time.Second)
}

func TestTargetThatFailsKeepsItsAddresses(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	a, b := dnstest.Service(owner, "a.test.", 80, 0, 1, 10), dnstest.Service(owner, "b.test.", 80, 0, 1, 10)
	addr := func(host, addr string) dnsmessage.Resource { return dnstest.Address(host, addr, 10) }
	f.server.SetZone(a, b, addr("a.test.", "192.0.2.1"), addr("b.test.", "192.0.2.2"))
	to := f.follow(service)
	f.pass(0)
	to.want("192.0.2.1:80 192.0.2.2:80")

	// a fails, b moves.
	f.server.SetZone(a, b, addr("b.test.", "192.0.2.3"))
	f.pass(10 * time.Second)
	to.want("192.0.2.1:80 192.0.2.3:80")
	f.said("level=WARN", "a.test", "addresses=2", "host="+owner)
	// Retries get rarer, but what is well is looked up by its time to live.
	for _, wait := range []time.Duration{1, 2, 4, 8, 10, 10} {
		f.next(wait * time.Second)
		f.pass(wait * time.Second)
	}
	// Both fail, and a third that was never well.
	f.server.SetZone(a, b, dnstest.Service(owner, "c.test.", 80, 0, 1, 10))
	f.pass(10 * time.Second)
	to.want()
	f.said()
	// a is no target any more: its addresses go. c has none yet.
	f.server.SetZone(b, dnstest.Service(owner, "c.test.", 80, 0, 1, 10))
	f.pass(10 * time.Second)
	to.want("192.0.2.3:80")
	// None is left that ever had addresses: an empty answer.
	f.server.SetZone(dnstest.Service(owner, "c.test.", 80, 0, 1, 10))
	f.pass(10 * time.Second)
	to.want()
	f.said()
	if all := f.Snapshot(); describe(all[0].Endpoints) != "192.0.2.3:80" || all[0].Err == nil || all[0].Age != 10*time.Second {
		t.Errorf("Snapshot = %+v", all)
	}
	f.server.SetZone(a, addr("a.test.", "192.0.2.9"))
	f.pass(10 * time.Second)
	to.want("192.0.2.9:80")
	f.said("level=INFO", "host="+owner)
}

func TestRecordsOfAServiceAreBounded(t *testing.T) {
	f := newFixture(t, Config{MaxEndpoints: 3}, sock.ResolverConfig{})
	zone := []dnsmessage.Resource{dnstest.Address("e.test.", "192.0.2.9", 30)}
	for i, host := range []string{"e.test.", "d.test.", "c.test.", "b.test.", "a.test."} {
		zone = append(zone, dnstest.Service(owner, host, 80, uint16(i), 0, 30), dnstest.Address(host, fmt.Sprintf("192.0.2.%d", i+1), 30))
	}
	f.server.SetZone(zone...)
	to := f.follow(service)
	f.pass(0)
	to.want("192.0.2.1:80 192.0.2.9:80 192.0.2.2:80~")
	f.said("level=WARN", "addresses=5", "used=3", "host="+owner)
	if got := f.server.Questions.Load(); got != 4 {
		t.Errorf("%d questions, want those for the records and for three targets", got)
	}
}
