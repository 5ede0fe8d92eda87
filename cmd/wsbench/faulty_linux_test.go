package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxyFrame is one frame on its way from the backend to the client; a fault may change it.
type proxyFrame struct {
	conn, number int // both from 0
	wire         []byte
	times        int  // how often it is sent: 1 unless changed
	hold         bool // keep it, and all behind it, until the test ends
	cut          bool // reset the connection instead
}

// newFaultyProxy relays TCP to a backend and lets fault do to each frame from it what it wants. It returns
// its URL. fault is called from one goroutine for each connection, under a lock.
func newFaultyProxy(t *testing.T, backendURL string, fault func(*proxyFrame)) string {
	t.Helper()
	var mu sync.Mutex // guards fault
	return "ws://" + newRelay(t, backendURL, func(conn int, client net.Conn, backend *bufio.Reader, stop chan struct{}) {
		relayFrames(client, backend, stop, func(f *proxyFrame) {
			mu.Lock()
			defer mu.Unlock()
			f.conn = conn
			fault(f)
		})
	}) + "/"
}

// newRelay relays TCP to a backend and leaves the way back to a function, called for each connection on a goroutine of its
// own; stop is closed when the test ends. It returns its address.
func newRelay(t *testing.T, backendURL string, back func(conn int, client net.Conn, backend *bufio.Reader, stop chan struct{})) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		running sync.WaitGroup
		stop    = make(chan struct{})
	)
	running.Add(1)
	go func() {
		defer running.Done()
		for n := 0; ; n++ {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", strings.TrimPrefix(backendURL, "ws://"))
			if err != nil {
				client.Close()
				continue
			}
			running.Add(2)
			go func() {
				defer running.Done()
				_, _ = io.Copy(backend, client)
				backend.Close()
			}()
			go func() {
				defer running.Done()
				defer client.Close()
				back(n, client, bufio.NewReader(backend), stop)
			}()
		}
	}()
	t.Cleanup(func() {
		close(stop)
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

// relayFrames copies the answer to the upgrade, then frame by frame.
func relayFrames(client net.Conn, backend *bufio.Reader, stop chan struct{}, fault func(*proxyFrame)) {
	for {
		line, err := backend.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(client, line)
		if line == "\r\n" {
			break
		}
	}
	for number := 0; ; number++ {
		var (
			r headerReader
			h frameHeader
		)
		f := &proxyFrame{number: number, times: 1}
		for done := false; !done; {
			b, err := backend.ReadByte()
			if err != nil {
				return
			}
			f.wire = append(f.wire, b)
			_, done = r.feed([]byte{b}, &h)
		}
		head := len(f.wire)
		f.wire = append(f.wire, make([]byte, h.length)...)
		if _, err := io.ReadFull(backend, f.wire[head:]); err != nil {
			return
		}
		if !h.control() {
			fault(f)
		}
		switch {
		case f.hold:
			<-stop
			return
		case f.cut:
			_ = client.(*net.TCPConn).SetLinger(0)
			return
		}
		for range f.times {
			if _, err := client.Write(f.wire); err != nil {
				return
			}
		}
	}
}

func TestOneWrongMessageIsCaught(t *testing.T) {
	backend := newTestBackend(t)
	const at = 5 // the frame, of the first connection, that is not as it should be
	var kept []byte
	for _, tt := range []struct {
		name    string
		fault   func(*proxyFrame)
		timeout time.Duration
		opt     Options
		kind    faultKind
		detail  string
	}{
		{"corrupted", func(f *proxyFrame) { f.wire[len(f.wire)-1] ^= 0x80 }, 0, Options{}, faultCorrupt, "message 5: byte 127 is "},
		{"corrupted in a large one", func(f *proxyFrame) { f.wire[40_000] ^= 1 }, 0, Options{Size: 64 << 10}, faultCorrupt, "message 5: byte 39990 is "},
		{"dropped", func(f *proxyFrame) { f.times = 0 }, 0, Options{InFlight: 4}, faultMissing, "message 5 missing: message 6 came instead"},
		{"dropped, and nothing behind it", func(f *proxyFrame) { f.times = 0 }, 500 * time.Millisecond, Options{}, faultLate, "message 5: no echo within "},
		{"duplicated", func(f *proxyFrame) { f.times = 2 }, 0, Options{}, faultDuplicate, "message 6: message 5 came again"},
		{"delayed", func(f *proxyFrame) { f.hold = true }, 500 * time.Millisecond, Options{}, faultLate, "message 5: no echo within "},
		{"cut short", func(f *proxyFrame) { f.wire[1]--; f.wire[2] = 1 }, 0, Options{Size: 125}, faultProtocol, "frame "},
		{"replaced by an older one", func(f *proxyFrame) { f.wire = kept }, 0, Options{InFlight: 4}, faultDuplicate, "message 5: message 4 came again"},
		{"reset", func(f *proxyFrame) { f.cut = true }, 0, Options{}, faultEnded, "ended by itself: reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := newFaultyProxy(t, backend, func(f *proxyFrame) {
				if f.conn == 0 && f.number == at {
					tt.fault(f)
				} else if f.conn == 0 {
					kept = f.wire
				}
			})
			opt := tt.opt
			// idle exchanges a known number of messages, however slow the machine is.
			opt.URL, opt.Workload, opt.Connections, opt.Messages, opt.WarmLinks = proxy, workIdle, 2, 10, -1
			opt.Duration, opt.WarmUp, opt.Timeout = time.Millisecond, -1, tt.timeout
			fill(&opt.Size, 128)
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
