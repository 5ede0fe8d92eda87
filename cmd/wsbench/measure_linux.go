package main

import (
	"fmt"
	"time"
)

// measure takes the readings at the ends of what is measured and makes the result of them.
type measure struct {
	loop   *loadLoop
	result *Result // nil until end
	err    error   // the first reading that failed

	began     int64
	cpuBegan  time.Duration
	made      int
	resumed   int
	messages  int64
	bytes     int64
	before    int64
	memory    int64
	processes int
	links     int // that the memory grew by
}

// begin starts the measure; it may be called once.
func (m *measure) begin() {
	l := m.loop
	m.cpuBegan = m.cpu()
	m.began = l.now()
	m.made, m.resumed, m.messages, m.bytes = l.stats.made, l.stats.resumed, l.stats.messages, l.stats.bytes
	l.stats.begin(m.began, l.opt.opensInMeasure())
}

// end takes the final readings. Latencies go on being recorded until finish.
func (m *measure) end() {
	l := m.loop
	took := l.now() - m.began
	r := &Result{
		Workload: l.opt.Workload, URL: l.opt.URL, Size: l.opt.Size, InFlight: l.opt.InFlight,
		RatePerLink: ratePerLink(l.opt.Interval), Seconds: seconds(took),
		Handshakes: l.stats.made - m.made, Messages: l.stats.messages - m.messages, Bytes: l.stats.bytes - m.bytes,
		Interrupted: l.ctx.Err() != nil,
	}
	r.MessagesPerSecond, r.BytesPerSecond = ratio(float64(r.Messages), r.Seconds), ratio(float64(r.Bytes), r.Seconds)
	r.HandshakesPerSecond = ratio(float64(l.openedThen), seconds(l.opening))
	if l.opt.opensInMeasure() {
		r.HandshakesPerSecond = ratio(float64(r.Handshakes), r.Seconds)
	}
	if l.opt.Workload == workResumed {
		share := ratio(float64(l.stats.resumed-m.resumed), float64(r.Handshakes))
		r.Resumed = &share
	}
	if l.opt.Workload == workIdle {
		r.MessagesBefore = l.opt.Messages
	}
	if l.account != nil {
		r.Proxy = &ProxyResult{PID: l.opt.PID, Note: proxyNote}
		cpu, err := l.account.cpu()
		if err == nil {
			r.Proxy.PrivateBytes, r.Proxy.Processes, err = l.account.memory()
		}
		if err != nil && l.opt.Workload != workDrain { // a drained proxy may well be gone
			m.fail(err)
		}
		r.Proxy.CPUSeconds = (cpu - m.cpuBegan).Seconds()
	}
	m.result = r
}

// memoryBefore and memoryAfter stand around the opening of the links whose memory is asked for.
func (m *measure) memoryBefore() { m.before, _ = m.private() }

func (m *measure) memoryAfter(links int) {
	m.memory, m.processes = m.private()
	m.links = links
}

func (m *measure) private() (int64, int) {
	if m.loop.account == nil {
		return 0, 0
	}
	n, procs, err := m.loop.account.memory()
	if err != nil {
		m.fail(err)
	}
	return n, procs
}

func (m *measure) cpu() time.Duration {
	if m.loop.account == nil {
		return 0
	}
	cpu, err := m.loop.account.cpu()
	if err != nil {
		m.fail(err)
	}
	return cpu
}

func (m *measure) fail(err error) {
	if m.err == nil {
		m.err = fmt.Errorf("measure the proxy: %w", err)
	}
}

// finish completes the result with what was recorded until now.
func (m *measure) finish() *Result {
	l, r := m.loop, m.result
	r.Made, r.Failed, r.Failures = l.stats.made, l.stats.failed, l.stats.failures
	r.Faults, r.Details = l.stats.faults, l.stats.details
	r.Latency, r.HandshakeLatency = quantiles(l.stats.latency), quantiles(l.stats.handshakes)
	if p := r.Proxy; p != nil {
		cpu := p.CPUSeconds
		p.MicrosPerMessage = ratio(cpu*1e6, float64(r.Messages))
		p.MillisPerGiB = ratio(cpu*1e3, float64(r.Bytes)/(1<<30))
		p.MicrosPerHandshake = ratio(cpu*1e6, float64(r.Handshakes))
		if m.links > 0 {
			p.PrivateBytes, p.Processes = m.memory, m.processes
			p.PrivateBefore = m.before
			p.BytesPerLink = ratio(float64(m.memory-m.before), float64(m.links))
		}
	}
	return r
}
