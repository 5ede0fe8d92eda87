package fronttest

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is a slog.Handler that keeps the lines it gets, debug ones included.
type Log struct {
	text slog.Handler

	mu      sync.Mutex // guards what follows
	buf     bytes.Buffer
	lines   []string
	changed chan struct{} // closed and made anew with every line
}

func newLog() *Log {
	l := &Log{changed: make(chan struct{})}
	l.text = slog.NewTextHandler(&l.buf, &slog.HandlerOptions{Level: slog.LevelDebug})
	return l
}

// Enabled is slog.Handler's.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle is slog.Handler's.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
	err := l.text.Handle(ctx, r)
	l.lines = append(l.lines, strings.TrimSpace(l.buf.String()))
	close(l.changed)
	l.changed = make(chan struct{})
	return err
}

// WithAttrs and WithGroup are slog.Handler's; the proxy uses neither.
func (l *Log) WithAttrs([]slog.Attr) slog.Handler { panic("not used") }

// WithGroup is slog.Handler's.
func (l *Log) WithGroup(string) slog.Handler { panic("not used") }

// Lines are the lines so far that contain every one of the texts, in order.
func (l *Log) Lines(texts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.linesLocked(texts)
}

func (l *Log) linesLocked(texts []string) (found []string) {
next:
	for _, line := range l.lines {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// Await waits until n lines contain every one of the texts.
func (l *Log) Await(t testing.TB, n int, texts ...string) {
	t.Helper()
	deadline := time.After(Hung)
	for {
		l.mu.Lock()
		found, changed := l.linesLocked(texts), l.changed
		l.mu.Unlock()
		if len(found) >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("log has %d lines with %q, want %d:\n%s", len(found), texts, n, strings.Join(l.Lines(), "\n"))
		}
	}
}

// Shown are the lines above debug level that are about requests and links.
func (l *Log) Shown() (shown []string) {
	for _, line := range l.Lines() {
		if !strings.Contains(line, "level=DEBUG") {
			shown = append(shown, line)
		}
	}
	return shown
}
