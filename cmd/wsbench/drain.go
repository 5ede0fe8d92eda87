package main

import "github.com/HdrHistogram/hdrhistogram-go"

// ending is how a link's connection ended.
type ending struct {
	code int    // of the Close received, 0 if none
	how  string // "close", "eof", "reset", "timeout" or "dropped" (by us)
}

// drainRecord collects how links end.
type drainRecord struct {
	n       int
	codes   map[int]int
	without map[string]int
	started bool
	from    int64
	spread  *hdrhistogram.Histogram
}

func newDrainRecord() *drainRecord {
	return &drainRecord{codes: map[int]int{}, without: map[string]int{}, spread: newHistogram()}
}

// start is the moment that ends are counted from; without it the first end is.
func (d *drainRecord) start(now int64) { d.started, d.from = true, now }

func (d *drainRecord) ended(now int64, e ending) {
	if !d.started {
		d.start(now)
	}
	d.n++
	if e.how == "close" {
		d.codes[e.code]++
	} else {
		d.without[e.how]++
	}
	_ = d.spread.RecordValue(max(1, now-d.from))
}

func (d *drainRecord) result(stillOpen int) *DrainResult {
	return &DrainResult{CloseCodes: d.codes, WithoutCode: d.without, StillOpen: stillOpen, Spread: quantiles(d.spread)}
}
