package health

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log as text, one line for each record, without time and durations.
type lines struct {
	mu  sync.Mutex
	got []string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "dur" {
			text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, text)
	return nil
}

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.got, "\n")
}

func TestStateTellsOnlyWhatChanges(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var log lines
	var changes []string
	s := NewState(StateConfig{
		Name: "http://a", Log: slog.New(&log), Passive: Passive{Failures: 1, Probed: true},
		Changed: func(up bool, reason string) { changes = append(changes, fmt.Sprint(up, " ", reason)) },
	})
	probe := func(seconds int, reason string, up bool) {
		s.Probed(Result{At: at(seconds), Took: time.Second, Reason: reason, Row: 1, Up: up})
	}
	if snap := s.Snapshot(); !reflect.DeepEqual(snap, Snapshot{Up: true}) {
		t.Errorf("Snapshot at the beginning = %+v", snap)
	}
	probe(0, "", true)
	probe(1, "status 503", true)
	probe(2, "status 500", false)
	want := Snapshot{Reason: "status 500", Since: at(3), Probe: Result{At: at(2), Took: time.Second, Reason: "status 500", Row: 1}}
	if snap := s.Snapshot(); !reflect.DeepEqual(snap, want) {
		t.Errorf("Snapshot = %+v, want %+v", snap, want)
	}
	if s.Usable(at(3)) || s.Admit(at(100)) {
		t.Error("usable while the probes say no")
	}
	s.Failed(at(4), at(4), FailedDial) // out by both
	probe(5, "", true)                 // out for its pause
	if snap := s.Snapshot(); snap.Up || snap.Until != at(9) || snap.Reason != "status 500" {
		t.Errorf("Snapshot in the pause = %+v", snap)
	}
	probe(8, "", true)
	if !s.Usable(at(9)) || !s.Admit(at(9)) {
		t.Error("not usable when both are content")
	}
	s.Failed(at(10), at(10), TimedOut)
	s.Failed(at(11), at(11), TimedOut)
	probe(12, "connect: connection refused", false)
	probe(30, "", true)

	wantChanges := []string{"false status 500", "true probe succeeded after a pause of 5s", "false timeout", "true probe succeeded after a pause of 10s"}
	if !reflect.DeepEqual(changes, wantChanges) {
		t.Errorf("changes are %q, want %q", changes, wantChanges)
	}
	const wantLog = `WARN backend down backend=http://a reason=status 500 by=probe
INFO backend up backend=http://a reason=probe succeeded after a pause of 5s by=probe
WARN backend down backend=http://a reason=timeout by=traffic
INFO backend up backend=http://a reason=probe succeeded after a pause of 10s by=probe`
	if got := log.text(); got != wantLog {
		t.Errorf("the log is\n%s\nwant\n%s", got, wantLog)
	}
}

// TestStateOfABackendThatComesAndGoes: a Prober and requests, both of a real backend.
func TestStateOfABackendThatComesAndGoes(t *testing.T) {
	leavesNothing(t)
	var mu sync.Mutex
	status := "200"
	b := serve(t, func(c net.Conn, br *bufio.Reader) {
		mu.Lock()
		text := "HTTP/1.1 " + status + " x\r\n\r\n"
		mu.Unlock()
		answer(text)(c, br)
	})
	type change struct {
		up     bool
		reason string
	}
	changes := make(chan change, 10)
	s := NewState(StateConfig{Name: b.addr, Log: noLog, Passive: Passive{Probed: true, Pause: time.Millisecond},
		Changed: func(up bool, reason string) { changes <- change{up, reason} }})
	p := New(Config{Log: noLog})
	p.Add(b.target(s.Probed), Check{Kind: HTTP, Interval: time.Millisecond})
	for range 3 {
		for _, step := range []struct {
			status string
			want   change
		}{{"503", change{false, "status 503"}}, {"200", change{true, "probe succeeded"}}} {
			mu.Lock()
			status = step.status
			mu.Unlock()
			if got := await(t, changes); got != step.want {
				t.Errorf("with %s: %+v, want %+v", step.status, got, step.want)
			}
			if got := s.Usable(time.Now()); got != step.want.up {
				t.Errorf("with %s: Usable = %v", step.status, got)
			}
		}
	}
	now := time.Now()
	for range 3 {
		s.Failed(now, now, FailedDial)
	}
	if got := await(t, changes); got.up {
		t.Errorf("three failures: %+v", got)
	}
	if got := await(t, changes); got != (change{true, "probe succeeded after a pause of 1ms"}) {
		t.Errorf("behind the pause: %+v", got)
	}
	p.Close()
	if snap := s.Snapshot(); !snap.Up || !snap.Probe.OK() || snap.Since.IsZero() {
		t.Errorf("Snapshot = %+v", snap)
	}
}

// TestStateUnderManyHands: whoever tells what, changes alternate and the last one is what is held.
func TestStateUnderManyHands(t *testing.T) {
	last, count := true, 0
	s := NewState(StateConfig{Log: noLog, Passive: Passive{Failures: 1, Pause: time.Nanosecond}, Changed: func(up bool, _ string) {
		if up == last {
			t.Errorf("told %v twice", up)
		}
		last = up
		count++
	}})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 500 {
				now := time.Now()
				switch (i + j) % 5 {
				case 0:
					s.Failed(now, now, FailedDial)
				case 1:
					s.Succeeded(now)
				case 2:
					if s.Admit(now) {
						s.Opened(now)
						s.Ended(now, time.Now(), j%2 == 0)
					}
				case 3:
					s.Snapshot()
				}
				s.Usable(now)
			}
		})
	}
	all.Go(func() { // Probed is one goroutine's
		for j := range 500 {
			s.Probed(Result{At: time.Now(), Up: j%3 > 0, Reason: []string{"status 500", "", ""}[j%3]})
		}
	})
	all.Wait()
	if snap := s.Snapshot(); snap.Up != last || count == 0 {
		t.Errorf("Snapshot says %v behind %d changes, the last %v", snap.Up, count, last)
	}
}
