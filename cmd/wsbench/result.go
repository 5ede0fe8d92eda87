package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// proxyNote says what the proxy's figures leave out.
const proxyNote = "CPU is user and system time of the proxy's threads, without interrupts and kernel threads; " +
	"private memory is without what the kernel holds for the proxy (socket buffers, TCP state, page tables)"

// Result is what one load came to. Rates and CPU belong to the measured seconds; Made, Failed and Faults to
// the whole run.
type Result struct {
	Workload    string  `json:"workload"`
	URL         string  `json:"url"`
	Size        int     `json:"size"`
	InFlight    int     `json:"in_flight"`
	RatePerLink float64 `json:"rate_per_link,omitempty"`
	Interrupted bool    `json:"interrupted,omitempty"`

	Made     int               `json:"connections_made"`
	Failed   int               `json:"connections_failed"`
	Failures map[string]int    `json:"failures,omitempty"`
	Faults   map[faultKind]int `json:"faults,omitempty"`
	Details  []string          `json:"fault_details,omitempty"`

	Seconds    float64 `json:"seconds"`
	Handshakes int     `json:"handshakes"`
	// Resumed is the share of Handshakes that went on with an earlier TLS session; nil unless the workload is resumed.
	Resumed *float64 `json:"resumed_share,omitempty"`
	// MessagesBefore is how many messages idle exchanged on each link before it measured.
	MessagesBefore int `json:"messages_per_link_before,omitempty"`
	// Messages counts requests with get, download and upload, events with events.
	Messages int64 `json:"messages"`
	// Bytes counts the payload of each echoed message twice, there and back, the bodies of HTTP and events once. Those
	// of bodies count that were moved in the measured seconds, whether the whole body was or not.
	Bytes             int64   `json:"bytes"`
	MessagesPerSecond float64 `json:"messages_per_second"`
	BytesPerSecond    float64 `json:"bytes_per_second"`
	// HandshakesPerSecond is of the measured seconds with handshake and storm, otherwise of the time in which
	// the links were opened.
	HandshakesPerSecond float64 `json:"handshakes_per_second"`

	Latency          *Quantiles `json:"latency_us,omitempty"`
	HandshakeLatency *Quantiles `json:"handshake_latency_us,omitempty"`

	Proxy *ProxyResult `json:"proxy,omitempty"`
	Storm *StormResult `json:"storm,omitempty"`
	Drain *DrainResult `json:"drain,omitempty"`
}

// Quantiles of a latency, in microseconds.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// ProxyResult is what the proxy's process tree spent on the measured seconds.
type ProxyResult struct {
	PID                int     `json:"pid"`
	Processes          int     `json:"processes"`
	CPUSeconds         float64 `json:"cpu_seconds"`
	MicrosPerMessage   float64 `json:"cpu_us_per_message,omitempty"`
	MicrosPerHandshake float64 `json:"cpu_us_per_handshake,omitempty"`
	MillisPerGiB       float64 `json:"cpu_ms_per_gib,omitempty"`
	PrivateBytes       int64   `json:"private_bytes"`
	PrivateBefore      int64   `json:"private_bytes_before,omitempty"`
	BytesPerLink       float64 `json:"private_bytes_per_link,omitempty"`
	Note               string  `json:"note"`
}

// StormResult is how links came back after all had dropped at once.
type StormResult struct {
	AllBackSeconds []float64 `json:"all_back_seconds"`
	Retries        int       `json:"failed_attempts"`
	NotBack        int       `json:"links_not_back"`
}

// DrainResult is how links ended while the proxy drained.
type DrainResult struct {
	CloseCodes  map[int]int    `json:"close_codes"`
	WithoutCode map[string]int `json:"without_close"`
	StillOpen   int            `json:"still_open"`
	// Spread is when links ended, after SIGTERM if wsbench sent it, otherwise after the first end.
	Spread *Quantiles `json:"spread_us,omitempty"`
}

// faulty tells whether the run must end with status 1.
func (r *Result) faulty() bool {
	return r.Failed > 0 || len(r.Faults) > 0 || r.Interrupted || (r.Storm != nil && r.Storm.NotBack > 0)
}

// trouble says in one line why a result does not count.
func (r *Result) trouble() string {
	var parts []string
	for kind, n := range r.Faults {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	if len(r.Details) > 0 {
		parts = append(parts, r.Details[0])
	}
	if r.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d connections failed", r.Failed))
		for cause := range r.Failures {
			parts = append(parts, cause)
			break
		}
	}
	if r.Interrupted {
		parts = append(parts, "interrupted")
	}
	return strings.Join(parts, "; ")
}

// print writes the result as a table for people.
func (r *Result) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	unit := unitOf(r.Workload)
	what := "%d-byte " + unit + "s"
	if isHTTP(r.Workload) {
		what = "%d bytes each"
	}
	row("workload", "%s of "+what+" to %s", r.Workload, r.Size, r.URL)
	if r.MessagesBefore > 0 {
		row("", "%d messages went there and back on each link before the measure", r.MessagesBefore)
	}
	row("connections", "%d made, %d failed", r.Made, r.Failed)
	for _, cause := range slices.Sorted(maps.Keys(r.Failures)) {
		row("", "%d × %s", r.Failures[cause], cause)
	}
	if r.Interrupted {
		row("measured", "%.2f s, then interrupted", r.Seconds)
	} else {
		row("measured", "%.2f s", r.Seconds)
	}
	if r.Handshakes > 0 {
		row("handshakes", "%d, %.0f/s", r.Handshakes, r.HandshakesPerSecond)
	} else {
		row("handshakes", "all before the measure, %.0f/s", r.HandshakesPerSecond)
	}
	if r.Resumed != nil {
		row("", "%.1f%% of them resumed a TLS session", 100**r.Resumed)
	}
	row(unit+"s", "%d, %.0f/s", r.Messages, r.MessagesPerSecond)
	ways, how := " both ways", unit+" latency"
	if isHTTP(r.Workload) {
		ways = ""
	}
	row("payload", "%s%s, %s/s", humanBytes(float64(r.Bytes)), ways, humanBytes(r.BytesPerSecond))
	switch {
	case r.Workload == workEvents:
		how = "latency from write"
	case r.RatePerLink > 0:
		how = "latency from due time"
	}
	r.Latency.print(row, how)
	r.HandshakeLatency.print(row, "handshake latency")
	if s := r.Storm; s != nil {
		row("all back after", "%.3f s", s.AllBackSeconds)
		row("", "%d attempts failed and were made again, %d links not back", s.Retries, s.NotBack)
	}
	if d := r.Drain; d != nil {
		for _, code := range slices.Sorted(maps.Keys(d.CloseCodes)) {
			row("ended with Close", "%d × %d", d.CloseCodes[code], code)
		}
		for _, how := range slices.Sorted(maps.Keys(d.WithoutCode)) {
			row("ended without Close", "%d × %s", d.WithoutCode[how], how)
		}
		row("still open", "%d", d.StillOpen)
		d.Spread.print(row, "ended after")
	}
	if p := r.Proxy; p != nil {
		if p.Processes == 0 {
			row("proxy", "process %d, ended", p.PID)
		} else {
			row("proxy", "process %d, %d in its tree", p.PID, p.Processes)
		}
		row("  CPU", "%.3f s, %.1f%% of one core", p.CPUSeconds, 100*ratio(p.CPUSeconds, r.Seconds))
		if r.Messages > 0 {
			row("", "%.2f µs per %s", p.MicrosPerMessage, unit)
		}
		if r.Bytes > 0 && r.Size >= 4096 {
			row("", "%.0f ms per GiB", p.MillisPerGiB)
		}
		if r.Handshakes > 0 {
			row("", "%.1f µs per handshake", p.MicrosPerHandshake)
		}
		if p.Processes > 0 {
			row("  private memory", "%s", humanBytes(float64(p.PrivateBytes)))
		}
		if p.PrivateBefore > 0 {
			row("", "%s before, %.0f bytes per link", humanBytes(float64(p.PrivateBefore)), p.BytesPerLink)
		}
		row("  left out", "%s", p.Note)
	}
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		row("WRONG", "%d × %s", r.Faults[kind], kind)
		total += r.Faults[kind]
	}
	for _, d := range r.Details {
		row("", "%s", d)
	}
	if total > len(r.Details) && len(r.Details) == maxDetails {
		row("", "… the first %d in words", maxDetails)
	}
}

// unitOf is what a workload counts.
func unitOf(workload string) string {
	switch {
	case workload == workEvents:
		return "event"
	case isHTTP(workload):
		return "request"
	}
	return "message"
}

func (q *Quantiles) print(row func(name, format string, args ...any), name string) {
	if q == nil {
		return
	}
	row(name, "p50 %s  p90 %s  p99 %s  p99.9 %s  max %s",
		humanMicros(q.P50), humanMicros(q.P90), humanMicros(q.P99), humanMicros(q.P999), humanMicros(q.Max))
}

// quantiles of a histogram of nanoseconds; nil if it is empty.
func quantiles(h *hdrhistogram.Histogram) *Quantiles {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 }
	return &Quantiles{h.TotalCount(), at(50), at(90), at(99), at(99.9), float64(h.Max()) / 1e3}
}

func ratePerLink(interval time.Duration) float64 {
	if interval == 0 {
		return 0
	}
	return 1 / interval.Seconds()
}

// ratio is a/b, and 0 where that is not a number.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

func humanBytes(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.2f %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f B", n)
}

func humanMicros(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.2f s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.2f ms", us/1e3)
	}
	return fmt.Sprintf("%.0f µs", us)
}
