package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxDetails bounds how many faults are told in words; all are counted.
const maxDetails = 10

// stats counts what happens in a run. The loop owns it.
type stats struct {
	made, failed int // connections
	resumed      int // of those made, with a TLS session of an earlier one
	failures     map[string]int
	messages     int64 // echoed, answers and events, each as it should be
	bytes        int64 // payload relayed: each echoed message counts there and back, a body and an event once
	faults       map[faultKind]int
	details      []string

	from       int64 // latencies of messages due before are left out
	latency    *hdrhistogram.Histogram
	handshakes *hdrhistogram.Histogram
}

func newStats() stats {
	return stats{
		failures: map[string]int{}, faults: map[faultKind]int{},
		latency: newHistogram(), handshakes: newHistogram(),
	}
}

// newHistogram holds nanoseconds up to an hour with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Hour), 3)
}

// opened counts a connection made, ns after it was due to be dialled.
func (s *stats) opened(ns int64, resumed bool) {
	s.made++
	if resumed {
		s.resumed++
	}
	_ = s.handshakes.RecordValue(ns) // fails only above an hour, which the timeout forbids
}

func (s *stats) connectFailed(err error) {
	s.failed++
	s.failures[err.Error()]++
}

// fail counts a failure of wsbench itself as a failed connection.
func (s *stats) fail(what string, err error) {
	s.failed++
	s.failures[what+": "+err.Error()]++
}

// received counts an echo, answer or event that is right and was due to be sent at due.
func (s *stats) received(due, now int64) {
	s.messages++
	if due >= s.from {
		_ = s.latency.RecordValue(max(1, min(now-due, int64(time.Hour))))
	}
}

func (s *stats) fault(f fault) {
	s.faults[f.kind] += f.n
	if len(s.details) < maxDetails {
		s.details = append(s.details, string(f.kind)+": "+f.text)
	}
}

func (s *stats) faultCount() int {
	n := 0
	for _, k := range s.faults {
		n += k
	}
	return n
}

// begin starts a measure at a moment: latencies are forgotten, counters go on. Those of handshakes are kept
// where all of them come before.
func (s *stats) begin(now int64, forgetHandshakes bool) {
	s.from = now
	s.latency.Reset()
	if forgetHandshakes {
		s.handshakes.Reset()
	}
}
