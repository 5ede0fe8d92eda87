package routing

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPickAllocatesNothing(t *testing.T) {
	for _, tt := range pickCases() {
		r, ask := tt.route(t, 10)
		if n := testing.AllocsPerRun(100, func() { r.Pick(ask) }); n != 0 {
			t.Errorf("%s: Pick allocates %v times, want 0", tt.name, n)
		}
		n := testing.AllocsPerRun(100, func() {
			if b, err := r.Acquire(t.Context(), ask); err == nil {
				b.Release()
			}
		})
		if n != 0 {
			t.Errorf("%s: Acquire allocates %v times, want 0", tt.name, n)
		}
	}
}

type pickCase struct {
	name   string
	change func(rc *RouteConfig)
}

func pickCases() []pickCase {
	weighted := func(rc *RouteConfig) {
		for i := range rc.Backends {
			rc.Backends[i].Weight = 1 + i%5
		}
	}
	return []pickCase{
		{"round_robin", func(*RouteConfig) {}},
		{"round_robin_weighted", weighted},
		{"least_connections", func(rc *RouteConfig) { rc.Balance = LeastConnections }},
		{"random_two", func(rc *RouteConfig) { rc.Balance = RandomTwo }},
		{"hash", func(rc *RouteConfig) { rc.Balance, rc.HashKey.Header = Hash, "X-User" }},
		{"hash_weighted", func(rc *RouteConfig) { rc.Balance, rc.HashKey.Query = Hash, "room"; weighted(rc) }},
		{"hash_client", func(rc *RouteConfig) { rc.Balance, rc.HashKey.ClientIP = Hash, true }},
		{"sticky", func(rc *RouteConfig) { rc.Sticky = &StickyConfig{} }},
		{"slow_start", func(rc *RouteConfig) { rc.SlowStart = time.Minute }},
	}
}

// route is one of so many backends, and a request for it.
func (p pickCase) route(t testing.TB, backends int) (*Route, *Ask) {
	var rc RouteConfig
	for i := range backends {
		addr := fmt.Sprintf("10.0.0.%d:80", i)
		rc.Backends = append(rc.Backends, BackendConfig{URL: "http://" + addr, Addr: addr})
	}
	p.change(&rc)
	r := newTestRoute(t, rc)
	r.random = rand.Uint64
	var cookie []byte
	if r.Sticky != nil {
		set := r.Sticky.SetCookie(r.Backends()[backends-1], true)
		value, _, _ := strings.Cut(strings.TrimPrefix(set, "wsproxy="), ";")
		cookie = []byte(value)
	}
	user := []byte("user-4711")
	return r, &Ask{
		Client: netip.MustParseAddr("2001:db8::1"),
		Header: func(string) []byte { return user },
		Cookie: func(string) []byte { return cookie },
		Query:  []byte("a=b&room=12"),
	}
}

// BenchmarkPick is one request's pick; parallel has as many goroutines as there are CPUs on one route.
func BenchmarkPick(b *testing.B) {
	for _, tt := range pickCases() {
		for _, backends := range []int{3, 100} {
			b.Run(fmt.Sprintf("%s/%d", tt.name, backends), func(b *testing.B) {
				r, ask := tt.route(b, backends)
				b.ReportAllocs()
				for b.Loop() {
					r.Pick(ask)
				}
			})
		}
	}
	for _, tt := range pickCases()[:2] {
		b.Run(tt.name+"/parallel", func(b *testing.B) {
			r, ask := tt.route(b, 3)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.Pick(ask)
				}
			})
		})
	}
}
