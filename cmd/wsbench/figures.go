package main

import (
	"fmt"
	"math"
	"slices"
)

// figure is one number that compare takes from a load's result; less is better for all of them.
type figure struct {
	name, unit string
	value      func(*Result) float64
	format     string
	// floor is what is too little to make a ratio of.
	floor float64
	// leavesOut is told below the table.
	leavesOut string
}

const fromWrite = "from the backend's write of an event to the client's read of its first byte; the backend's write and the client's queue are in it"

const ofMemory = "private memory (Private_Clean + Private_Dirty of smaps_rollup, whole process tree) after the links, minus before them, by their " +
	"number. “Before” follows some hundred links that were used and stay open, so what a " +
	"proxy sets up once is not counted; what the kernel holds for a link (socket buffers, TCP state) is not in it"

// figures of each workload, the one to compare first.
var figures = map[string][]figure{
	workIdle: {
		{"memory per link", "bytes", func(r *Result) float64 { return r.Proxy.BytesPerLink }, "%.0f", 1, ofMemory},
		{"CPU while idle", "ms/s", func(r *Result) float64 { return 1e3 * ratio(r.Proxy.CPUSeconds, r.Seconds) }, "%.2f", 0.5,
			"CPU of all idle links together; interrupts and kernel threads are not in it"},
	},
	workEcho: {
		{"CPU per message", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerMessage }, "%.2f", 0.01,
			"proxy's user and system time for one message there and back, closed loop with one message in flight on each link, so both " +
				"cores are busy; interrupts, the client's and the backend's CPU are not in it"},
		{"p99 latency", "ms", func(r *Result) float64 { return r.Latency.orNone().P99 / 1e3 }, "%.2f", 0.001,
			"client and backend share the cores with the proxy and are in it: it compares, it does not foretell"},
	},
	workSparse: {
		{"CPU per message", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerMessage }, "%.2f", 0.01,
			"proxy's user and system time when nearly every message wakes it for itself; interrupts are not in it"},
		{"p99 latency", "ms", func(r *Result) float64 { return r.Latency.orNone().P99 / 1e3 }, "%.2f", 0.001,
			"counted from when a message was due; client and backend are in it"},
	},
	workBulk: {
		{"CPU per GiB", "ms", func(r *Result) float64 { return r.Proxy.MillisPerGiB }, "%.0f", 1,
			"payload counts in each direction it was relayed: an echoed message twice; the network card's work is not in it, as all is loopback"},
	},
	workHandshake: {
		{"CPU per handshake", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerHandshake }, "%.1f", 0.1,
			"connect, 101, Close both ways, end; with wss a full TLS handshake each (X25519, P-256 certificate, no resumption); the connection " +
				"to the backend is in it, interrupts are not"},
	},
	workResumed: {
		{"CPU per handshake", "µs", func(r *Result) float64 { return ofResumed(r, r.Proxy.MicrosPerHandshake) }, "%.1f", 0.1,
			"as with handshake over wss, but TLS goes on with the session ticket of an earlier connection (TLS 1.3, with a key exchange, " +
				"without a certificate); no value for a proxy that resumed fewer than 99 in 100 of them"},
		{"full handshakes", "%", func(r *Result) float64 { return 100 * (1 - *r.Resumed) }, "%.1f", math.Inf(1),
			"those that a proxy answered with a full handshake though a ticket was offered; nothing to make a ratio of"},
	},
	workStorm: {
		{"CPU per handshake", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerHandshake }, "%.1f", 0.1,
			"all links reset and opened again at once, with one message each; clean-up of the dropped links is in it"},
		{"all back", "s", func(r *Result) float64 { return medianOf(r.Storm.AllBackSeconds) }, "%.2f", 0.001,
			"client and backend share the cores with the proxy and are in it"},
	},
	workGet: {
		{"CPU per request", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerMessage }, "%.2f", 0.01,
			"proxy's user and system time for one request and its answer, closed loop on connections that stay, on both sides of the " +
				"proxy; interrupts, the client's and the backend's CPU are not in it"},
		{"p99 latency", "ms", func(r *Result) float64 { return r.Latency.orNone().P99 / 1e3 }, "%.2f", 0.001,
			"client and backend share the cores with the proxy and are in it: it compares, it does not foretell"},
	},
	workDownload: ofBodies,
	workUpload:   ofBodies,
	workEvents: {
		{"CPU per event", "µs", func(r *Result) float64 { return r.Proxy.MicrosPerMessage }, "%.2f", 0.01,
			"proxy's user and system time when nearly every event wakes it for itself; interrupts are not in it"},
		{"p50 latency", "ms", func(r *Result) float64 { return r.Latency.orNone().P50 / 1e3 }, "%.2f", 0.001, fromWrite},
		{"p99 latency", "ms", func(r *Result) float64 { return r.Latency.orNone().P99 / 1e3 }, "%.2f", 0.001, fromWrite},
		{"max latency", "ms", func(r *Result) float64 { return r.Latency.orNone().Max / 1e3 }, "%.2f", 0.001, fromWrite},
		{"memory per stream", "bytes", func(r *Result) float64 { return r.Proxy.BytesPerLink }, "%.0f", 1, ofMemory},
	},
}

// ofBodies are the figures of workloads that move large bodies over HTTP.
var ofBodies = []figure{
	{"CPU per GiB", "ms", func(r *Result) float64 { return r.Proxy.MillisPerGiB }, "%.0f", 1,
		"each byte of a body counts once; the network card's work is not in it, as all is loopback"},
}

// ofResumed is v if nearly all handshakes were resumed, else NaN: full ones would be compared unseen.
func ofResumed(r *Result, v float64) float64 {
	if *r.Resumed < 0.99 {
		return math.NaN()
	}
	return v
}

// orNone is q, or NaN throughout if nothing was recorded.
func (q *Quantiles) orNone() Quantiles {
	if q == nil {
		none := math.NaN()
		return Quantiles{0, none, none, none, none, none}
	}
	return *q
}

// series holds one figure of one peer, by round; NaN where there is none.
type series []float64

// missing fills a series before there is a value.
func missing(n int) series {
	s := make(series, n)
	for i := range s {
		s[i] = math.NaN()
	}
	return s
}

func (s series) valid() []float64 {
	return slices.DeleteFunc(slices.Clone(s), math.IsNaN)
}

// medianOf is the middle value, or the mean of the two middle ones; NaN of nothing.
func medianOf(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

func (s series) median() float64 { return medianOf(s.valid()) }

// text is median and spread.
func (s series) text(format string) string {
	v := s.valid()
	if len(v) == 0 {
		return "–"
	}
	return fmt.Sprintf(format+" ("+format+"…"+format+")", medianOf(v), slices.Min(v), slices.Max(v))
}

// ratioTo is the median of the ratios of rounds that both have; NaN if there is none.
func (s series) ratioTo(other series) float64 {
	var r []float64
	for i := range min(len(s), len(other)) {
		if q := s[i] / other[i]; !math.IsNaN(q) && !math.IsInf(q, 0) {
			r = append(r, q)
		}
	}
	return medianOf(r)
}

// bestOf names the series with the lowest median, "" if none has one.
func bestOf(names []string, all map[string]series) string {
	best := ""
	for _, n := range names {
		m := all[n].median()
		if !math.IsNaN(m) && (best == "" || m < all[best].median()) {
			best = n
		}
	}
	return best
}
