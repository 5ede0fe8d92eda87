package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRoundsAreInterleaved(t *testing.T) {
	peers := []peer{{name: "A"}, {name: "B", only: []string{workBulk}}, {name: "C"}}
	cells := []cell{{workEcho, false}, {workBulk, true}}
	var got []string
	for _, s := range (&plan{rounds: 2}).interleave(cells, peers) {
		got = append(got, fmt.Sprintf("%d%s/%s%s", s.round, s.cell.workload, s.cell.scheme(), peers[s.peer].name))
	}
	want := "0echo/wsA 0echo/wsC 0bulk/wssA 0bulk/wssB 0bulk/wssC 1echo/wsA 1echo/wsC 1bulk/wssA 1bulk/wssB 1bulk/wssC"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("order\n%s, want\n%s", s, want)
	}
}

func TestCompareResumesOverTLSOnly(t *testing.T) {
	got := (&compareOptions{only: []string{workResumed, workHandshake}}).cells()
	want := []cell{{workHandshake, false}, {workHandshake, true}, {workResumed, true}}
	if !slices.Equal(got, want) {
		t.Errorf("cells %v, want %v", got, want)
	}
}

func TestCompareMeasuresHTTP(t *testing.T) {
	for _, tt := range []struct {
		opt  compareOptions
		want []cell
	}{
		{compareOptions{only: []string{workEvents, workGet}}, []cell{{workGet, false}, {workGet, true}, {workEvents, false}, {workEvents, true}}},
		{compareOptions{quick: true, only: []string{workUpload}}, []cell{{workUpload, false}, {workUpload, true}}},
	} {
		if got := tt.opt.cells(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: cells %v, want %v", tt.opt, got, tt.want)
		}
	}
	for quick, want := range map[bool]int{true: 4, false: 8} {
		n := 0
		for _, c := range (&compareOptions{quick: quick}).cells() {
			if isHTTP(c.workload) {
				n++
			}
		}
		if n != want {
			t.Errorf("quick %t: %d cells of HTTP, want %d", quick, n, want)
		}
	}
	for c, want := range map[cell]string{
		{workGet, false}: "http", {workGet, true}: "https", {workEcho, false}: "ws", {workEcho, true}: "wss",
	} {
		if got := c.scheme(); got != want {
			t.Errorf("scheme of %v: %s, want %s", c, got, want)
		}
	}
}

func TestReportTellsAboutHTTP(t *testing.T) {
	opt := compareOptions{only: httpWorkloads}
	r := newReport(opt)
	r.ours, r.others = []string{"wsproxy"}, []string{"nginx"}
	r.begin(newPlan(false, 0, 0), opt.cells())
	for name, cpu := range map[string]float64{"wsproxy": 30, "nginx": 20} {
		res := &Result{Proxy: &ProxyResult{MicrosPerMessage: cpu, MillisPerGiB: 10 * cpu, BytesPerLink: 100 * cpu}, Latency: &Quantiles{1, 1000, 2000, 3000, 4000, 5000}}
		for _, c := range opt.cells() {
			for i, f := range figures[c.workload] {
				r.put(c, i, name, 0, f.value(res))
			}
		}
	}
	text := r.markdown()
	for _, want := range []string{
		"5 interleaved rounds (get: 3, download: 3, upload: 3, events: 3)",
		"| get      | http  | CPU per request, µs      | 30.00 (30.00…30.00) | 20.00 (20.00…20.00) | 1.50 × nginx  ",
		"| download | https | CPU per GiB, ms          | 300 (300…300)       | 200 (200…200)       | 1.50 × nginx  ",
		"| events   | https | max latency, ms          | 5.00 (5.00…5.00)    | 5.00 (5.00…5.00)    | 1.00 × nginx  ",
		"| events   | http  | memory per stream, bytes | 3000 (3000…3000)    | 2000 (2000…2000)    | 1.50 × nginx  ",
		"**get**: 64 connections, on each a GET of 128 bytes when the last is answered, for 2s.",
		"**download**: 4 connections, answers of 64.00 MiB one after the other, for 2s.",
		"**upload**: 4 connections, POSTs of 64.00 MiB one after the other, for 2s.",
		"**events**: 1000 answers of text/event-stream that do not end, a 128-byte event every 1s on each, for 2s.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
}

func TestReportShowsWhoDoesNotResume(t *testing.T) {
	opt := compareOptions{only: []string{workResumed}}
	r := newReport(opt)
	r.ours, r.others = []string{"wsproxy"}, []string{"nginx", "haproxy"}
	r.begin(newPlan(true, 1, 0), opt.cells())
	for name, share := range map[string]float64{"wsproxy": 1, "nginx": 0.5, "haproxy": 0.999} {
		res := &Result{Resumed: &share, Proxy: &ProxyResult{MicrosPerHandshake: 200}}
		for i, f := range figures[workResumed] {
			r.put(opt.cells()[0], i, name, 0, f.value(res))
		}
	}
	text := r.markdown()
	for _, want := range []string{
		"| CPU per handshake, µs | 200.0 (200.0…200.0) | –                | 200.0 (200.0…200.0) | 1.00 × haproxy",
		"| full handshakes, %    | 0.0 (0.0…0.0)       | 50.0 (50.0…50.0) | 0.1 (0.1…0.1)       | –",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
}

func TestReportSaysWhatIdleSent(t *testing.T) {
	opt := compareOptions{only: []string{workIdle}}
	r := newReport(opt)
	r.begin(newPlan(false, 1, 0), opt.cells())
	want := "**idle**: 8000 links, 2 messages of 4096 bytes there and back on each (over wss 5), then 4s of silence."
	if text := r.markdown(); !strings.Contains(text, want) {
		t.Errorf("report lacks %q:\n%s", want, text)
	}
	for secure, messages := range map[bool]int{false: 2, true: 5} {
		if got := r.plan.options(cell{workIdle, secure}).Messages; got != messages {
			t.Errorf("secure %t: %d messages, want %d", secure, got, messages)
		}
	}
}

func TestPlanFitsItsBudget(t *testing.T) {
	cells := (&compareOptions{}).cells()
	for _, quick := range []bool{true, false} {
		for _, peers := range []int{1, 4, 9, 12} {
			p := newPlan(quick, 0, 0)
			measures := func(cell) int { return peers }
			p.fit(cells, measures)
			total := p.total(cells, measures)
			if total > p.budget && p.rounds > 1 || p.rounds < 1 || p.measure < 400*time.Millisecond {
				t.Errorf("quick %t, %d peers: %d rounds of %v take %v, budget %v", quick, peers, p.rounds, p.measure, total, p.budget)
			}
		}
	}
}

func TestRatioIsTheMedianOfTheRounds(t *testing.T) {
	nan := math.NaN()
	all := map[string]series{
		"nginx":   {10, 20, 40},
		"haproxy": {11, 12, 100},
		"absent":  {nan, nan, nan},
	}
	if best := bestOf([]string{"absent", "nginx", "haproxy", "unknown"}, all); best != "haproxy" {
		t.Errorf("best %q, want haproxy with median 12", best)
	}
	for _, tt := range []struct {
		name        string
		ours, other series
		want        float64
	}{
		{"three rounds", series{5, 30, 40}, series{10, 20, 40}, 1}, // 0.5, 1.5, 1
		{"two rounds: mean of both", series{5, 30}, series{10, 20}, 1},
		{"a round without a value does not count", series{5, nan, 80}, series{10, 20, 40}, 1.25},
		{"no common round", series{nan, 1}, series{1, nan}, nan},
		{"nothing to compare with", series{1, 2}, nil, nan},
		{"best is zero", series{1}, series{0}, nan},
	} {
		if got := tt.ours.ratioTo(tt.other); got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got, want := (series{3, nan, 1, 2}).text("%.1f"), "2.0 (1.0…3.0)"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestReportShowsRatioAndLeavesNothingOfTheMachine(t *testing.T) {
	opt := compareOptions{only: []string{workBulk}, wsproxy: []string{"/secret/place/wsproxy"}}
	opt.command = opt.commandLine(false)
	r := newReport(opt)
	ours, nginx := ourPeer("wsproxy", "/secret/place/wsproxy", ""), peerTable[0]
	r.take(&ours, "wsproxy 1")
	r.take(&nginx, "nginx version: nginx/1")
	r.begin(newPlan(true, 2, 0), opt.cells())
	for i, v := range []float64{300, 340} {
		r.put(cell{workBulk, false}, 0, "wsproxy", i, v)
		r.put(cell{workBulk, false}, 0, "nginx", i, 400)
	}
	text := r.markdown()
	for _, want := range []string{
		"| bulk     | ws  | CPU per GiB, ms | 320 (300…340) | 400 (400…400) | 0.80 × nginx",
		"| bulk     | wss | CPU per GiB, ms | –             | –             | –",
		"go run ./cmd/wsbench compare --only bulk --wsproxy wsproxy=PATH\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "/secret") {
		t.Errorf("report names a path of the machine:\n%s", text)
	}
}
