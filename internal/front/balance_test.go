package front_test

import (
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// three is a proxy with three backends, which make links.
func three(t *testing.T, change func(*routing.RouteConfig)) (p *fronttest.Proxy, all []*routing.Backend) {
	t.Helper()
	var rc routing.RouteConfig
	for range 3 {
		rc.Backends = append(rc.Backends, backendAt(moody(t, links).Addr)...)
	}
	change(&rc)
	p = fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{rc}})
	return p, p.Table.Routes()[0].Backends()
}

func expectLinks(t *testing.T, all []*routing.Backend, want ...int64) {
	t.Helper()
	for i, b := range all {
		if n := b.Links(); n != want[i] {
			t.Errorf("links of backend %d = %d, want %d", i, n, want[i])
		}
	}
}

func TestLeastConnectionsCountsLinks(t *testing.T) {
	p, all := three(t, func(rc *routing.RouteConfig) { rc.Balance = routing.LeastConnections })
	witnesses(t, p, nil)
	at := make(map[*routing.Backend][]*fronttest.Conn)
	add := func() {
		var had []int64
		for _, b := range all {
			had = append(had, b.Links())
		}
		c := linked(t, p)
		for i, b := range all {
			if b.Links() > had[i] {
				at[b] = append(at[b], c)
			}
		}
	}
	for range 9 {
		add()
	}
	expectLinks(t, all, 3, 3, 3)
	for _, c := range at[all[1]] {
		c.Close()
	}
	p.Log.Await(t, 3, "msg=link ")
	expectLinks(t, all, 3, 0, 3)
	// Plain requests take no slots.
	for range 5 {
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.Answer()
	}
	for range 3 {
		add()
	}
	expectLinks(t, all, 3, 3, 3)
	for _, b := range all {
		for _, c := range at[b] {
			c.Close()
		}
	}
	p.Log.Await(t, 12, "msg=link ")
	awaitLimits(t, p, front.LimitStats{})
}

func TestDrainedBackendGetsNothing(t *testing.T) {
	p, all := three(t, func(rc *routing.RouteConfig) { rc.Backends[0].Drain = true })
	heard := witnesses(t, p, nil)
	all[1].SetDraining(true)
	get := func() int {
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		r, _ := c.Answer()
		return r.StatusCode
	}
	for range 6 {
		linked(t, p).Close()
		if status := get(); status != 200 {
			t.Errorf("status = %d, want 200", status)
		}
	}
	if n := heard[all[2].Addr].admitted.Load(); n != 12 || admitted(heard) != 12 {
		t.Errorf("admitted = %d of %d, want all 12", n, admitted(heard))
	}
	all[2].SetDraining(true)
	expectRefusal(t, p, fronttest.Handshake, 503, "no_backend")
	if status := get(); status != 503 {
		t.Errorf("status = %d, want 503", status)
	}
	all[1].SetDraining(false)
	linked(t, p).Close()
	if n := heard[all[1].Addr].admitted.Load(); n != 1 {
		t.Errorf("admitted by the one that is back = %d, want 1", n)
	}
}

func TestBackupsAreForWhenNothingElseIs(t *testing.T) {
	p, all := three(t, func(rc *routing.RouteConfig) { rc.Backends[0].Backup = true })
	valves := make(map[string]routing.Judge)
	for _, b := range all {
		valves[b.Addr] = newValve()
	}
	heard := witnesses(t, p, valves)
	unhealthy := func(down bool) {
		for _, b := range all[1:] {
			valves[b.Addr].(*valve).shut.Store(down)
			b.SetHealthy(!down, time.Now())
		}
	}
	for range 6 {
		linked(t, p).Close()
	}
	w := heard[all[0].Addr]
	if n := w.admitted.Load(); n != 0 {
		t.Errorf("the backup got %d, want 0", n)
	}
	unhealthy(true)
	for range 3 {
		linked(t, p).Close()
	}
	if n := w.admitted.Load(); n != 3 {
		t.Errorf("the backup got %d, want 3", n)
	}
	unhealthy(false)
	for range 3 {
		linked(t, p).Close()
	}
	if n := w.admitted.Load(); n != 3 {
		t.Errorf("the backup got %d, want 3 as before", n)
	}
}
