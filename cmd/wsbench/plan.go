package main

import (
	"time"
)

// cell is one workload over one scheme.
type cell struct {
	workload string
	secure   bool
}

func (c cell) scheme() string {
	scheme := "ws"
	if isHTTP(c.workload) {
		scheme = "http"
	}
	if c.secure {
		scheme += "s"
	}
	return scheme
}

// compared are the workloads that compare knows.
var compared = append([]string{workIdle, workEcho, workSparse, workBulk, workHandshake, workResumed, workStorm}, httpWorkloads...)

// plan is how much compare measures.
type plan struct {
	rounds      int
	httpRounds  int // bounds those of plain HTTP: WebSockets, wsproxy's trade, get most of the time
	idleLinks   int
	sparseLinks int
	stormLinks  int
	streams     int           // of events
	measure     time.Duration // of each measure; sparse gets at least one interval, HTTP half of it
	warmUp      time.Duration
	budget      time.Duration // no measure begins that would end after it
}

func newPlan(quick bool, rounds, links int) plan {
	p := plan{rounds: 5, httpRounds: 3, idleLinks: 8000, sparseLinks: 4000, stormLinks: 1000, streams: 1000, measure: 4 * time.Second, warmUp: time.Second, budget: 24 * time.Minute}
	if quick {
		p = plan{rounds: 2, httpRounds: 1, idleLinks: 1000, sparseLinks: 1000, stormLinks: 300, streams: 300, measure: time.Second, warmUp: 300 * time.Millisecond, budget: 165 * time.Second}
	}
	if rounds > 0 { // asked for
		p.httpRounds = rounds
	}
	fill(&rounds, p.rounds)
	p.rounds = rounds
	if links > 0 {
		p.idleLinks, p.sparseLinks = links, links
	}
	return p
}

// estimate is about how long one measure takes, start and end of the peer included. The rates are those of
// a small machine with other work to do.
func (p *plan) estimate(c cell) time.Duration {
	handshake := 150 * time.Microsecond
	if c.secure {
		handshake = 450 * time.Microsecond
	}
	o := p.options(c)
	d := 300*time.Millisecond + o.WarmUp + o.Duration
	switch c.workload {
	case workIdle:
		d += time.Duration(p.idleLinks) * (handshake*3/2 + 200*time.Microsecond)
	case workSparse:
		d += time.Duration(p.sparseLinks) * handshake
	case workStorm:
		d += time.Duration(p.stormLinks) * 5 * handshake
	case workEvents:
		d += time.Duration(p.streams) * handshake
	case workDownload, workUpload:
		d += 500 * time.Millisecond // the last bodies
	}
	return d
}

// warmLinks are opened before the memory of the others is measured.
const warmLinks = 200

// sparseInterval is between two messages of one link, eventInterval between two events of one stream.
const (
	sparseInterval = 2 * time.Second
	eventInterval  = time.Second
)

// fit shortens the measures, then the rounds, until the whole plan fits its budget.
func (p *plan) fit(cells []cell, measures func(cell) int) {
	total := func() time.Duration { return p.total(cells, measures) }
	shortest := p.measure / 2
	for total() > p.budget && p.measure > shortest {
		p.measure -= 100 * time.Millisecond
	}
	for total() > p.budget && p.rounds > 1 {
		p.rounds--
	}
}

// total is about how long the whole plan takes; measures says how many peers a cell has.
func (p *plan) total(cells []cell, measures func(cell) int) time.Duration {
	var t time.Duration
	for _, c := range cells {
		t += time.Duration(measures(c)*p.roundsOf(c.workload)) * p.estimate(c)
	}
	return t
}

// options of the load for one cell.
func (p *plan) options(c cell) Options {
	o := Options{Workload: c.workload, Duration: p.measure, WarmUp: p.warmUp, Insecure: true}
	if isHTTP(c.workload) {
		o.Duration = p.measure / 2
	}
	switch c.workload {
	case workIdle:
		o.Connections = p.idleLinks
		o.Messages = idleMessages(c.secure)
		o.WarmLinks = min(warmLinks, p.idleLinks)
	case workEcho:
		o.Connections = 200
	case workSparse:
		o.Connections = p.sparseLinks
		o.Interval = sparseInterval
		o.WarmUp = max(p.warmUp, sparseInterval/2)
		o.Duration = max(p.measure, sparseInterval)
	case workStorm:
		o.Connections = p.stormLinks
		o.Duration = 0 // it ends by itself
	case workEvents:
		o.Connections = p.streams
		o.WarmLinks = p.streams / 5
		o.Interval = eventInterval
		o.Duration = max(o.Duration, eventInterval)
	}
	return o
}

// memoryRounds bounds the rounds of idle: it takes longest and differs least.
const memoryRounds = 3

// roundsOf is in how many rounds a workload is measured.
func (p *plan) roundsOf(workload string) int {
	switch {
	case workload == workIdle:
		return min(p.rounds, memoryRounds)
	case isHTTP(workload):
		return min(p.rounds, p.httpRounds)
	}
	return p.rounds
}

// step is one measure: who, what, in which round.
type step struct {
	round int
	cell  cell
	peer  int
}

// interleave orders the measures: in each round, for each cell, every peer once: A B C, A B C.
func (p *plan) interleave(cells []cell, peers []peer) []step {
	var steps []step
	for r := range p.rounds {
		for _, c := range cells {
			if r >= p.roundsOf(c.workload) {
				continue
			}
			for i := range peers {
				if peers[i].takesPart(c.workload) {
					steps = append(steps, step{r, c, i})
				}
			}
		}
	}
	return steps
}
