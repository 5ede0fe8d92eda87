package routing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// abc are backends a, b, c ... with these weights.
func abc(weights ...int) []BackendConfig {
	var backends []BackendConfig
	for i, weight := range weights {
		name := string(rune('a' + i))
		backends = append(backends, BackendConfig{URL: name, Addr: name + ":80", Weight: weight})
	}
	return backends
}

// newTestRoute is the one route of a table of rc.
func newTestRoute(t testing.TB, rc RouteConfig) *Route {
	t.Helper()
	table, err := NewTable(&Config{Routes: []RouteConfig{rc}}, echo, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := table.Routes()[0]
	r.random = rand.New(rand.NewPCG(1, 2)).Uint64
	return r
}

// urls are the URLs of what n calls of pick give, "-" for nil.
func urls(n int, pick func() *Backend) string {
	var s strings.Builder
	for range n {
		if b := pick(); b != nil {
			s.WriteString(b.URL)
		} else {
			s.WriteByte('-')
		}
	}
	return s.String()
}

func picks(n int, r *Route, ask *Ask) string {
	return urls(n, func() *Backend { return r.Pick(ask) })
}

// checkShares holds counts against weights with the chi-square test: four standard deviations of that
// statistic, and a little for few degrees of freedom, are passed by all but one seed in a thousand.
func checkShares(t *testing.T, counts map[*Backend]int, backends []*Backend, weights []int) {
	t.Helper()
	var n, total, chi float64
	for i, b := range backends {
		n += float64(counts[b])
		total += float64(weights[i])
	}
	for i, b := range backends {
		want := n * float64(weights[i]) / total
		chi += (float64(counts[b]) - want) * (float64(counts[b]) - want) / want
	}
	if freedom := float64(len(backends) - 1); chi > freedom+4*math.Sqrt(2*freedom)+4 {
		t.Errorf("shares %v for the weights %v: chi-square %.1f at %.0f degrees of freedom", counts, weights, chi, freedom)
	}
}

var allBalances = []Balance{RoundRobin, LeastConnections, RandomTwo, Hash}

func TestPickTakesTurns(t *testing.T) {
	for _, tt := range []struct {
		balance Balance
		weights []int
		want    string
	}{
		{RoundRobin, []int{0, 0, 0}, "abcabca"},
		{RoundRobin, []int{7, 7}, "abababa"},
		{RoundRobin, []int{5, 1, 1}, "aabacaaaabacaa"},
		{RoundRobin, []int{1, 3}, "babbbabb"},
		// Without links all are alike, weighted or not.
		{LeastConnections, []int{1, 1, 1}, "abcabca"},
	} {
		r := newTestRoute(t, RouteConfig{Balance: tt.balance, Backends: abc(tt.weights...)})
		if got := picks(len(tt.want), r, &Ask{}); got != tt.want {
			t.Errorf("%v with weights %v gives %s, want %s", tt.balance, tt.weights, got, tt.want)
		}
	}
}

func TestPickIsEvenAcrossGoroutines(t *testing.T) {
	const goroutines, picks = 8, 300
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
		r := newTestRoute(t, RouteConfig{Backends: abc(weights...)})
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range picks {
					r.Pick(&Ask{}).Acquire()
				}
			})
		}
		wg.Wait()
		total := weights[0] + weights[1] + weights[2]
		for i, b := range r.Backends() {
			if got, want := b.Links(), int64(goroutines*picks*weights[i]/total); got != want {
				t.Errorf("weights %v: %s has %d links, want %d", weights, b.URL, got, want)
			}
		}
	}
}

func TestSharesFollowWeights(t *testing.T) {
	for _, balance := range allBalances {
		for _, weights := range [][]int{{1, 1, 1, 1}, {1, 2, 3, 10}, {1000, 1, 500}, {3}} {
			rc := RouteConfig{Balance: balance, Backends: abc(weights...)}
			if balance == Hash {
				rc.HashKey.Path = true
			}
			r := newTestRoute(t, rc)
			counts := make(map[*Backend]int)
			for i := range 30_000 {
				b := r.Pick(&Ask{Path: fmt.Appendf(nil, "/room/%d", i)})
				counts[b]++
				if balance == LeastConnections {
					b.Acquire() // links that stay
				}
			}
			t.Run(fmt.Sprint(balance, " ", weights), func(t *testing.T) {
				checkShares(t, counts, r.Backends(), weights)
			})
		}
	}
}

func TestFewestLinksForTheWeight(t *testing.T) {
	for _, tt := range []struct {
		name    string
		balance Balance
		weights []int
		links   []int
		want    string
	}{
		{"the emptiest", LeastConnections, []int{1, 1, 1}, []int{3, 1, 2}, "bbb"},
		{"the emptiest in turn", LeastConnections, []int{1, 1, 1, 1}, []int{1, 0, 1, 0}, "bdbdb"},
		{"for its weight", LeastConnections, []int{1, 10}, []int{1, 9}, "bbb"},
		{"the heavy one is full", LeastConnections, []int{1, 10}, []int{0, 10}, "aaa"},
		{"of two", RandomTwo, []int{1, 1}, []int{5, 4}, "bbbbbb"},
		{"of two by weight", RandomTwo, []int{1, 10}, []int{1, 9}, "bbbbbb"},
	} {
		r := newTestRoute(t, RouteConfig{Balance: tt.balance, Backends: abc(tt.weights...)})
		for i, b := range r.Backends() {
			for range tt.links[i] {
				b.Acquire()
			}
		}
		if got := picks(len(tt.want), r, &Ask{}); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestRandomTwoNeverTakesTheFullest is what the power of two choices is about.
func TestRandomTwoNeverTakesTheFullest(t *testing.T) {
	r := newTestRoute(t, RouteConfig{Balance: RandomTwo, Backends: abc(1, 1, 1)})
	r.Backends()[1].Acquire()
	if got := picks(1000, r, &Ask{}); strings.Contains(got, "b") || !strings.Contains(got, "a") || !strings.Contains(got, "c") {
		t.Errorf("b, which is the fullest, is picked, or one of the others is not: %s", got)
	}
}

// TestPickLeavesOut holds each algorithm to what no backend may get.
func TestPickLeavesOut(t *testing.T) {
	for _, balance := range allBalances {
		for _, tt := range []struct {
			name   string
			change func(rc *RouteConfig)
			before func(b []*Backend)
			tried  string
			want   string // all that may be picked, "-" for nil
		}{
			{name: "nobody", want: "abc"},
			{name: "an unhealthy one", before: func(b []*Backend) { b[1].SetHealthy(false, time.Now()) }, want: "ac"},
			{name: "one that came back", before: func(b []*Backend) {
				b[1].SetHealthy(false, time.Now())
				b[1].SetHealthy(true, time.Now())
			}, want: "abc"},
			{name: "one that drains", before: func(b []*Backend) { b[0].SetDraining(true) }, want: "bc"},
			{name: "one that drained", before: func(b []*Backend) { b[0].SetDraining(true); b[0].SetDraining(false) }, want: "abc"},
			{name: "one that drains for this route", change: func(rc *RouteConfig) { rc.Backends[2].Drain = true }, want: "ab"},
			{name: "one that was tried", tried: "b", want: "ac"},
			{name: "all but one", tried: "bc", want: "a"},
			{name: "all, tried", tried: "abc", want: "-"},
			{name: "all, for different reasons", tried: "a", before: func(b []*Backend) {
				b[1].SetHealthy(false, time.Now())
				b[2].SetDraining(true)
			}, want: "-"},
			{name: "not the full ones, since a request takes no slot", change: func(rc *RouteConfig) {
				rc.MaxLinks, rc.Backends = 1, abc(1, 1, 1)
			}, before: func(b []*Backend) { b[0].Acquire(); b[1].Acquire(); b[2].Acquire() }, want: "abc"},
			{name: "the backups", change: func(rc *RouteConfig) { rc.Backends[0].Backup, rc.Backends[1].Backup = true, true }, want: "c"},
			{name: "the others for the backups", change: func(rc *RouteConfig) { rc.Backends[0].Backup, rc.Backends[1].Backup = true, true },
				before: func(b []*Backend) { b[2].SetHealthy(false, time.Now()) }, want: "ab"},
			{name: "those tried for the backup", change: func(rc *RouteConfig) { rc.Backends[0].Backup = true }, tried: "bc", want: "a"},
		} {
			for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
				rc := RouteConfig{Balance: balance, Backends: abc(weights...)}
				if balance == Hash {
					rc.HashKey.ClientIP = true
				}
				if tt.change != nil {
					tt.change(&rc)
				}
				r := newTestRoute(t, rc)
				if tt.before != nil {
					tt.before(r.Backends())
				}
				ask := &Ask{}
				for _, b := range r.Backends() {
					if strings.Contains(tt.tried, b.URL) {
						ask.Tried = append(ask.Tried, b)
					}
				}
				seen := make(map[byte]bool)
				for i := range 100 {
					ask.Client = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
					seen[picks(1, r, ask)[0]] = true
				}
				got := ""
				for _, c := range []byte("abc-") {
					if seen[c] {
						got += string(c)
					}
				}
				if got != tt.want {
					t.Errorf("%s, weights %v, leaving out %s: %s are picked, want %s", balance, weights, tt.name, got, tt.want)
				}
			}
		}
	}
}

func TestTurnsStayEvenWhenOneIsGone(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {2, 1, 2}} {
		r := newTestRoute(t, RouteConfig{Backends: abc(weights...)})
		r.Backends()[1].SetHealthy(false, time.Now())
		if got := picks(10, r, &Ask{}); strings.Count(got, "a") != 5 || strings.Count(got, "c") != 5 {
			t.Errorf("weights %v without b: %s, want five each", weights, got)
		}
	}
}

func TestSlowStart(t *testing.T) {
	const slow = 30 * time.Second
	back := time.Now()
	for _, balance := range []Balance{RoundRobin, LeastConnections, RandomTwo} {
		for _, tt := range []struct {
			after time.Duration
			share float64 // of b, of its weight
		}{
			{-time.Second, 0.1}, {0, 0.1}, {slow / 3, 0.4}, {slow * 2 / 3, 0.7}, {slow, 1}, {time.Hour, 1},
		} {
			r := newTestRoute(t, RouteConfig{Balance: balance, SlowStart: slow, Backends: abc(1, 2, 1)})
			b := r.Backends()[1]
			b.SetHealthy(false, back.Add(-time.Minute))
			b.SetHealthy(true, back)
			b.SetHealthy(true, back.Add(time.Minute)) // no news
			counts := make(map[*Backend]int)
			for range 20_000 {
				m := r.pickAt(&Ask{}, false, sinceEpoch(back.Add(tt.after)))
				counts[m.backend]++
				if balance == LeastConnections {
					m.backend.Acquire()
				}
			}
			t.Run(fmt.Sprint(balance, " ", tt.after), func(t *testing.T) {
				checkShares(t, counts, r.Backends(), []int{1000, int(2000 * tt.share), 1000})
			})
		}
	}
}

func TestSlowStartIsOffAtFirst(t *testing.T) {
	r := newTestRoute(t, RouteConfig{SlowStart: time.Hour, Backends: abc(1, 1)})
	if got := picks(6, r, &Ask{}); got != "ababab" {
		t.Errorf("at the start of the process: %s, want ababab", got)
	}
}
