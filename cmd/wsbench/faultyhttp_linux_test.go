package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxyAnswer is one answer, or one chunk of an answer in chunks, on its way from the backend to the client; a fault may
// change it.
type proxyAnswer struct {
	conn, number int // both from 0; number is the chunk's where there are chunks
	status       int
	length       int    // what Content-Length says
	body         []byte // or chunk
	times        int    // how often it is sent: 1 unless changed
	delay        time.Duration
	hold         bool // keep it, and all behind it, until the test ends
	reset, end   bool // reset or end the connection behind it
	last         bool // with chunks: end the answer behind it
	bare         bool // announce neither length nor chunks
}

// newFaultyHTTPProxy relays to a backend and lets fault do to each answer from it what it wants. It returns its URL. fault
// is called from one goroutine for each connection, under a lock.
func newFaultyHTTPProxy(t *testing.T, backendURL string, fault func(*proxyAnswer)) string {
	t.Helper()
	var mu sync.Mutex // guards fault
	locked := func(p *proxyAnswer) {
		mu.Lock()
		defer mu.Unlock()
		fault(p)
	}
	back := func(conn int, client net.Conn, backend *bufio.Reader, stop chan struct{}) {
		for number := 0; ; number++ {
			resp, err := http.ReadResponse(backend, nil)
			if err != nil {
				return
			}
			p := &proxyAnswer{conn: conn, number: number, status: resp.StatusCode, times: 1}
			if len(resp.TransferEncoding) > 0 {
				_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				relayChunks(client, resp.Body, p, stop, locked)
				return
			}
			if p.body, err = io.ReadAll(resp.Body); err != nil {
				return
			}
			p.length = len(p.body)
			locked(p)
			head := fmt.Sprintf("HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n", p.status, p.length)
			if p.bare {
				head = "HTTP/1.1 200 Whatever\r\n\r\n"
			}
			if !relayPiece(client, p, head+string(p.body), stop) {
				return
			}
		}
	}
	return "http://" + newRelay(t, strings.Replace(backendURL, "http://", "ws://", 1), back)
}

// relayChunks relays an answer that goes on for ever, of events of 128 bytes, each as a chunk.
func relayChunks(client net.Conn, body io.Reader, p *proxyAnswer, stop chan struct{}, fault func(*proxyAnswer)) {
	event := make([]byte, 128)
	for number := 0; ; number++ {
		if _, err := io.ReadFull(body, event); err != nil {
			return
		}
		chunk := *p
		chunk.number, chunk.body = number, event
		fault(&chunk)
		wire := fmt.Sprintf("%x\r\n%s\r\n", len(chunk.body), chunk.body)
		if chunk.last {
			wire += "0\r\n\r\n"
		}
		if !relayPiece(client, &chunk, wire, stop) {
			return
		}
	}
}

// relayPiece writes what the client gets of p, and tells whether the connection goes on.
func relayPiece(client net.Conn, p *proxyAnswer, wire string, stop chan struct{}) bool {
	if p.hold {
		<-stop
		return false
	}
	time.Sleep(p.delay) // the fault itself, nobody waits for it
	if _, err := io.WriteString(client, strings.Repeat(wire, p.times)); err != nil {
		return false
	}
	if p.reset {
		_ = client.(*net.TCPConn).SetLinger(0)
	}
	return !p.reset && !p.end
}

func TestOneWrongAnswerIsCaught(t *testing.T) {
	backend := httpBackend(t)
	cut := func(n int) func(p *proxyAnswer) {
		return func(p *proxyAnswer) { p.body, p.end = p.body[:n], true }
	}
	flip := func(at int) func(p *proxyAnswer) { return func(p *proxyAnswer) { p.body[at] ^= 1 } }
	short := func(p *proxyAnswer) { p.body = p.body[:len(p.body)-1]; p.length-- }
	foreign := func(p *proxyAnswer) { p.body[15] = '9' } // the last digit of the link
	for _, tt := range []struct {
		workload, name string
		fault          func(*proxyAnswer)
		timeout        time.Duration
		kind           faultKind
		detail         string
	}{
		{workGet, "corrupted", flip(127), 0, faultCorrupt, "request 0: byte 127 is "},
		{workGet, "short", short, 0, faultCorrupt, "request 0: 127 bytes long, want 128"},
		{workGet, "long", func(p *proxyAnswer) { p.body = append(p.body, 'x'); p.length++ }, 0, faultCorrupt, "request 0: 129 bytes long, want 128"},
		{workGet, "empty", func(p *proxyAnswer) { p.body, p.length = nil, 0 }, 0, faultCorrupt, "request 0: 0 bytes long, want 128"},
		{workGet, "truncated", cut(100), 0, faultEnded, "ended by itself: eof"},
		{workGet, "truncated in its head", func(p *proxyAnswer) { p.times, p.end = 0, true }, 0, faultEnded, "ended by itself: eof"},
		{workGet, "reset", func(p *proxyAnswer) { p.times, p.reset = 0, true }, 0, faultEnded, "ended by itself: reset"},
		{workGet, "longer than announced", func(p *proxyAnswer) { p.length-- }, 0, faultProtocol, "request 1: status line "},
		{workGet, "refused", func(p *proxyAnswer) { p.status = 502 }, 0, faultStatus, "request 0: answered with status 502, want 200"},
		{workGet, "of another link", foreign, 0, faultForeign, "request 0: it is answer 0 of link 9"},
		{workGet, "held", func(p *proxyAnswer) { p.hold = true }, 500 * time.Millisecond, faultLate, "request 0: nothing moved for 0."},
		{workGet, "without a length", func(p *proxyAnswer) { p.bare = true }, 0, faultProtocol, "request 0: answer of status 200 without a length"},
		{workDownload, "corrupted", flip(2_999_999), 0, faultCorrupt, "request 0: byte 2999999 is "},
		{workDownload, "short", short, 0, faultCorrupt, "request 0: 2999999 bytes long, want 3000000"},
		{workDownload, "truncated", cut(2_000_000), 0, faultEnded, "ended by itself: eof"},
		{workDownload, "stuck", func(p *proxyAnswer) { p.hold = true }, 500 * time.Millisecond, faultLate, "request 0: nothing moved for 0."},
		{workUpload, "fewer bytes", func(p *proxyAnswer) { p.body[tagSize+10]-- }, 0, faultCorrupt, "received 2000000 right 3000000"},
		{workUpload, "refused", func(p *proxyAnswer) { p.status = 413 }, 0, faultStatus, "request 0: answered with status 413, want 200"},
		{workUpload, "of another link", foreign, 0, faultForeign, "request 0: it is answer 0 of link 9"},
		{workUpload, "no answer", func(p *proxyAnswer) { p.times, p.end = 0, true }, 0, faultEnded, "ended by itself: eof"},
		{workEvents, "corrupted", flip(120), 0, faultCorrupt, "event 0: byte 120 is "},
		{workEvents, "short", func(p *proxyAnswer) { p.body = p.body[:127] }, 0, faultCorrupt, "event 0: byte 127 is "},
		{workEvents, "dropped", func(p *proxyAnswer) { p.times = 0 }, 0, faultMissing, "event 0: event 1 came instead"},
		{workEvents, "duplicated", func(p *proxyAnswer) { p.times = 2 }, 0, faultDuplicate, "event 1: event 0 came again"},
		{workEvents, "cut", func(p *proxyAnswer) { p.end = true }, 0, faultEnded, "ended by itself: eof"},
		{workEvents, "over", func(p *proxyAnswer) { p.last = true }, 0, faultEnded, "ended by itself: the answer is over"},
		{workEvents, "from another clock", func(p *proxyAnswer) { p.body[56] = '7' }, 0, faultCorrupt, "after it came: the backend must run on this machine"},
		{workEvents, "held", func(p *proxyAnswer) { p.hold = true }, 500 * time.Millisecond, faultLate, "request 0: nothing moved for 0."},
	} {
		t.Run(tt.workload+" "+tt.name, func(t *testing.T) {
			proxy := newFaultyHTTPProxy(t, backend, func(p *proxyAnswer) {
				if p.conn == 0 && p.number == 0 {
					tt.fault(p)
				}
			})
			opt := Options{
				URL: proxy, Workload: tt.workload, Connections: 2, Duration: 300 * time.Millisecond, WarmUp: -1, Timeout: tt.timeout,
			}
			switch tt.workload {
			case workEvents:
				opt.Interval = 10 * time.Millisecond
			case workDownload, workUpload:
				opt.Size = 3_000_000
			}
			res, err := runLoad(context.Background(), opt, nil)
			if err != nil {
				t.Fatal(err)
			}
			// On a busy machine others may be late as well.
			if n := res.Faults[tt.kind]; !res.faulty() || n == 0 || (n > 1 && tt.kind != faultLate) {
				t.Errorf("faults %v, want one %s", res.Faults, tt.kind)
			}
			if all := strings.Join(res.Details, "\n"); !strings.Contains(all, string(tt.kind)+": ") || !strings.Contains(all, tt.detail) {
				t.Errorf("details\n%s\nwant %s with %q", all, tt.kind, tt.detail)
			}
		})
	}
}

func TestAnAnswerThatComesTwiceIsCaught(t *testing.T) {
	backend := httpBackend(t)
	for _, tt := range []struct {
		name     string
		interval time.Duration
		kind     faultKind
		detail   string
	}{
		{"in place of the next", 0, faultDuplicate, "link 0: request 1: answer 0 came again"},
		{"though nobody asks", 5 * time.Second, faultProtocol, " bytes behind the answer to request 0"},
	} {
		proxy := newFaultyHTTPProxy(t, backend, func(p *proxyAnswer) {
			if p.conn == 0 && p.number == 0 {
				p.times = 2
			}
		})
		res, err := runLoad(context.Background(), Options{
			URL: proxy, Workload: workGet, Connections: 1, Interval: tt.interval, Duration: 100 * time.Millisecond, WarmUp: -1,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(res.Details, "\n"); res.Faults[tt.kind] != 1 || !strings.Contains(all, tt.detail) {
			t.Errorf("%s: faults %v, details %q, want one %s with %q", tt.name, res.Faults, all, tt.kind, tt.detail)
		}
	}
}
