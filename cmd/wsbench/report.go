package main

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// report collects what compare finds and writes it down.
type report struct {
	opt      compareOptions
	machine  []string
	began    time.Time
	took     time.Duration
	plan     plan
	cells    []cell
	ours     []string // builds of wsproxy that took part
	others   []string
	versions []string
	absent   []string // who did not take part, and why
	left     string   // what was left out as time was up, "" if nothing
	troubles []string // measures that do not count, and why
	values   map[valueKey]map[string]series
}

// localPath is a path of this machine as it may stand in an error; the report names none.
var localPath = regexp.MustCompile(`(/[\w.+@-]+){2,}/?`)

// valueKey names one row of the table: a figure of a workload over a scheme.
type valueKey struct {
	cell   cell
	figure int
}

func newReport(opt compareOptions) *report {
	return &report{opt: opt, machine: describeMachine(), began: time.Now(), values: map[valueKey]map[string]series{}}
}

// take notes a proxy that takes part.
func (r *report) take(p *peer, version string) {
	if p.ours {
		r.ours = append(r.ours, p.name)
	} else {
		r.others = append(r.others, p.name)
	}
	r.versions = append(r.versions, p.name+": "+version)
}

func (r *report) begin(p plan, cells []cell) { r.plan, r.cells = p, cells }

// put notes one value.
func (r *report) put(c cell, figure int, name string, round int, v float64) {
	key := valueKey{c, figure}
	if r.values[key] == nil {
		r.values[key] = map[string]series{}
	}
	if r.values[key][name] == nil {
		r.values[key][name] = missing(r.plan.rounds)
	}
	r.values[key][name][round] = v
}

// roundsText says how many rounds there were, as far as all are alike.
func (r *report) roundsText() string {
	text := fmt.Sprintf("%d interleaved rounds", r.plan.rounds)
	var fewer []string
	for _, w := range compared {
		n := r.plan.roundsOf(w)
		if n < r.plan.rounds && slices.ContainsFunc(r.cells, func(c cell) bool { return c.workload == w }) {
			fewer = append(fewer, fmt.Sprintf("%s: %d", w, n))
		}
	}
	if len(fewer) > 0 {
		text += " (" + strings.Join(fewer, ", ") + ")"
	}
	if r.left != "" {
		text += " (left out as time was up: " + r.left + ")"
	}
	return text
}

// measured keeps the names that have a value anywhere.
func (r *report) measured(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		for _, row := range r.values {
			if row[name] != nil {
				return false
			}
		}
		return true
	})
}

// grid is the table as cells of text, the heading first.
func (r *report) grid() [][]string {
	ours, others := r.measured(r.ours), r.measured(r.others)
	head := slices.Concat([]string{"workload", "", "figure"}, ours, others)
	for _, name := range ours {
		head = append(head, name+" / best peer")
	}
	rows := [][]string{head}
	for _, c := range r.cells {
		for i, f := range figures[c.workload] {
			values := r.values[valueKey{c, i}]
			row := []string{c.workload, c.scheme(), f.name + ", " + f.unit}
			for _, name := range slices.Concat(ours, others) {
				row = append(row, values[name].text(f.format))
			}
			best := bestOf(others, values)
			for _, name := range ours {
				row = append(row, ratioText(values[name], values[best], best, f.floor))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// ratioText is how one of ours stands to the best of the others.
func ratioText(ours, best series, name string, floor float64) string {
	q := ours.ratioTo(best)
	if name == "" || math.IsNaN(q) || best.median() < floor {
		return "–"
	}
	return fmt.Sprintf("%.2f × %s", q, name)
}

// table writes the table for a terminal and what went wrong below it.
func (r *report) table(w io.Writer) {
	fmt.Fprint(w, markdownTable(r.grid()))
	fmt.Fprintf(w, "\nmedian (lowest…highest) of %s, less is better, in %.0f s\n", r.roundsText(), r.took.Seconds())
	for _, a := range r.absent {
		fmt.Fprintf(w, "without %s\n", a)
	}
	for _, t := range r.troubles {
		fmt.Fprintf(w, "does not count: %s\n", t)
	}
}

// markdown is the whole report.
func (r *report) markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	list := func(items []string) {
		for _, it := range items {
			p("- %s", localPath.ReplaceAllString(it, "…"))
		}
		p("")
	}
	p("# Benchmarks\n")
	kind := "a full run"
	if r.opt.quick {
		kind = "a quick run, too short to rely on"
	}
	p("wsproxy beside its peers on one machine: %s of %s that took %s. Less is better everywhere.", kind, r.began.UTC().Format("2006-01-02"), r.took.Round(time.Second))
	p("Each figure is the median of %s, then (lowest…highest). Each measure is made on a freshly started", r.roundsText())
	p("process. The last column is the median of the rounds' ratios to the peer with the lowest median: absolute figures drift")
	p("with the machine, ratios within one run much less.\n")
	b.WriteString(markdownTable(r.grid()))
	p("\n## Machine\n")
	list(r.machine)
	p("## Versions\n")
	list(r.versions)
	if len(r.absent) > 0 {
		p("Not measured:\n")
		list(r.absent)
	}
	if len(r.troubles) > 0 {
		p("Measures that went wrong and do not count:\n")
		list(r.troubles)
	}
	p("## How to repeat it\n")
	p("```\napt-get install nginx-light haproxy\n%s\n```\n", r.opt.command)
	p("Configurations of all proxies stand in `cmd/wsbench/peers/`. One figure alone: `wsbench load URL --workload … --pid PID`.\n")
	p("## What was measured, and what each figure leaves out\n")
	done := map[string]bool{}
	for _, c := range r.cells {
		if done[c.workload] {
			continue
		}
		done[c.workload] = true
		o := r.plan.options(c)
		_ = o.complete() // fills in the defaults that were used
		p("- **%s**: %s", c.workload, workloadText(&o))
		for _, f := range figures[c.workload] {
			p("  - %s: %s.", f.name, f.leavesOut)
		}
	}
	p("\nClient, backend and proxy share the machine's cores, all over loopback; every echo, answer and event was checked byte for byte.")
	p("CPU is read from `/proc/PID/task/*/schedstat` over the proxy's whole process tree. No access logs, no HTTP/2, no compression.")
	return b.String()
}

// workloadText says what one workload does.
func workloadText(o *Options) string {
	switch o.Workload {
	case workIdle:
		return fmt.Sprintf("%d links, %d messages of %d bytes there and back on each (over wss %d), then %v of silence.",
			o.Connections, idleMessages(false), o.Size, idleMessages(true), o.Duration)
	case workSparse:
		return fmt.Sprintf("%d links, a %d-byte message every %v on each, for %v.", o.Connections, o.Size, o.Interval, o.Duration)
	case workHandshake, workResumed:
		return fmt.Sprintf("%d links at a time are opened and closed again, for %v.", o.Connections, o.Duration)
	case workStorm:
		return fmt.Sprintf("%d links are reset and come back at once, %d times.", o.Connections, o.Storms)
	case workGet:
		return fmt.Sprintf("%d connections, on each a GET of %d bytes when the last is answered, for %v.", o.Connections, o.Size, o.Duration)
	case workDownload:
		return fmt.Sprintf("%d connections, answers of %s one after the other, for %v.", o.Connections, humanBytes(float64(o.Size)), o.Duration)
	case workUpload:
		return fmt.Sprintf("%d connections, POSTs of %s one after the other, for %v.", o.Connections, humanBytes(float64(o.Size)), o.Duration)
	case workEvents:
		return fmt.Sprintf("%d answers of text/event-stream that do not end, a %d-byte event every %v on each, for %v.", o.Connections, o.Size, o.Interval, o.Duration)
	}
	return fmt.Sprintf("%d links, %d-byte messages, %d in flight on each, for %v.", o.Connections, o.Size, o.InFlight, o.Duration)
}

// markdownTable aligns the columns, so that it reads well as it stands.
func markdownTable(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			width[i] = max(width[i], len([]rune(text)))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, text := range row {
			fmt.Fprintf(&b, "| %-*s ", width[i], text)
		}
		b.WriteString("|\n")
	}
	line(rows[0])
	for _, w := range width {
		b.WriteString("|" + strings.Repeat("-", w+2))
	}
	b.WriteString("|\n")
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}
