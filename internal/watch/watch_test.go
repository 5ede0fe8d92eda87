package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 30 * time.Second

// watching is a Watcher in a test, and what it told.
type watching struct {
	*Watcher
	t *testing.T

	calls   atomic.Int64
	running atomic.Int64
	seen    chan string // what stands in the shown file at each call
	looked  chan bool   // whether a look found a change

	mu     sync.Mutex // guards what follows
	shown  string
	onCall func()
}

// set changes what the next call shows and does.
func (w *watching) set(shown string, onCall func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown, w.onCall = shown, onCall
}

// start watches files and shows, at each call, what stands in the first.
func start(t *testing.T, quiet time.Duration, files ...string) *watching {
	t.Helper()
	return startShowing(t, quiet, files[0], files...)
}

func startShowing(t *testing.T, quiet time.Duration, shown string, files ...string) *watching {
	t.Helper()
	w := &watching{t: t, seen: make(chan string, 1000), looked: make(chan bool, 1000), shown: shown, onCall: func() {}}
	w.Watcher = watch(Config{
		Files: files, Log: slog.New(lookLog{looked: w.looked}), Quiet: quiet,
		Changed: func() {
			if w.running.Add(1) > 1 {
				t.Error("Changed runs twice at a time")
			}
			defer w.running.Add(-1)
			w.calls.Add(1)
			w.mu.Lock()
			shown, onCall := w.shown, w.onCall
			w.mu.Unlock()
			onCall()
			text, _ := os.ReadFile(shown)
			w.seen <- string(text)
		},
	}, 20*time.Millisecond)
	t.Cleanup(w.Close)
	return w
}

// await waits for a call at which the shown file has text. Others may come before: a file is for a
// moment empty while it is written in place.
func (w *watching) await(text string) {
	w.t.Helper()
	deadline := time.After(hung)
	for {
		select {
		case got := <-w.seen:
			if got == text {
				return
			}
		case <-deadline:
			w.t.Fatalf("Changed is not called with %q in the file", text)
		}
	}
}

// awaitLook waits for a look that begins from now on, and returns whether it found a change.
func (w *watching) awaitLook() (changed bool) {
	w.t.Helper()
	select {
	case changed := <-w.looked:
		return changed
	case <-time.After(hung):
		w.t.Fatal("files are not looked at")
		return false
	}
}

// lookLog is a log's handler that reports looks.
type lookLog struct{ looked chan bool }

func (h lookLog) Enabled(context.Context, slog.Level) bool { return true }
func (h lookLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h lookLog) WithGroup(string) slog.Handler            { return h }
func (h lookLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "changed" {
			select {
			case h.looked <- a.Value.Bool():
			default: // nobody waits
			}
		}
		return true
	})
	return nil
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file as vim does: another one, in its place.
func replace(t *testing.T, file, text string) {
	t.Helper()
	write(t, file+".new", text)
	do(t, os.Rename(file+".new", file))
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const soon = 10 * time.Millisecond

func TestChangesAreTold(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, file, text string)
	}{
		{"written in place", write},
		{"replaced", replace},
		{"backup made, file made again", func(t *testing.T, file, text string) {
			do(t, os.Rename(file, file+"~"))
			write(t, file, text)
		}},
		{"removed and made again", func(t *testing.T, file, text string) {
			do(t, os.Remove(file))
			write(t, file, text)
		}},
		{"appended in bits", func(t *testing.T, file, text string) {
			do(t, os.Truncate(file, 0))
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			do(t, err)
			defer f.Close()
			for i := range text {
				_, err := f.WriteString(text[i : i+1])
				do(t, err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "proxy.yaml")
			write(t, file, "zero")
			w := start(t, soon, file)
			for _, text := range []string{"one", "two", "three"} {
				tt.change(t, file, text)
				w.await(text)
			}
		})
	}
}

func TestWhatChangesNoContentIsNotTold(t *testing.T) {
	tests := []struct {
		name   string
		happen func(t *testing.T, file string)
	}{
		{"mode", func(t *testing.T, file string) { do(t, os.Chmod(file, 0o640)) }},
		{"time", func(t *testing.T, file string) { do(t, os.Chtimes(file, time.Now(), time.Unix(1e9, 0))) }},
		{"replaced by its equal", func(t *testing.T, file string) { replace(t, file, "same") }},
		{"gone", func(t *testing.T, file string) { do(t, os.Remove(file)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "proxy.yaml")
			write(t, file, "same")
			w := start(t, soon, file)
			tt.happen(t, file)
			if w.awaitLook() || w.calls.Load() != 0 {
				t.Errorf("Changed is called %d times, want none", w.calls.Load())
			}
		})
	}
}

func TestOtherFilesInTheFolderAreNotLookedAt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "proxy.yaml")
	write(t, file, "a")
	w := start(t, soon, file)
	for range 100 {
		write(t, filepath.Join(dir, "access.log"), "line")
	}
	replace(t, file, "b")
	w.await("b")
	if n := len(w.looked); n > 1 {
		t.Errorf("%d looks, want one", n)
	}
}

func TestChangesInQuickSuccessionAreOne(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	write(t, first, "")
	write(t, second, "")
	w := start(t, time.Second, first, second)
	write(t, first, "half")
	write(t, second, "new")
	write(t, first, "whole")
	w.await("whole")
	if n := w.calls.Load(); n != 1 {
		t.Errorf("Changed is called %d times, want once", n)
	}
}

func TestFilesThatNeverRestAreReadAllTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	write(t, file, "a")
	w := start(t, 50*time.Millisecond, file)
	done := make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				_ = os.WriteFile(file, []byte{'a' + byte(i%20)}, 0o600)
			}
		}
	}()
	w.awaitLook()
	close(done)
	<-written
}

func TestSetFilesForgetsAndLearns(t *testing.T) {
	dir := t.TempDir()
	kept, dropped, added := filepath.Join(dir, "kept"), filepath.Join(dir, "dropped"), filepath.Join(t.TempDir(), "added")
	for _, file := range []string{kept, dropped, added} {
		write(t, file, "old")
	}
	w := start(t, soon, kept, dropped)
	w.SetFiles([]string{kept, added})
	w.set(added, func() {})
	write(t, dropped, "new")
	replace(t, added, "new")
	w.await("new")
	if n := w.calls.Load(); n != 1 {
		t.Errorf("Changed is called %d times, want once", n)
	}
	replace(t, kept, "new")
	w.await("new")
	if n := len(w.fs.WatchList()); n != 2 {
		t.Errorf("%d folders are watched, want 2", n)
	}
}

func TestChangedMaySetFiles(t *testing.T) {
	dir := t.TempDir()
	main, included := filepath.Join(dir, "proxy.yaml"), filepath.Join(t.TempDir(), "routes.yaml")
	write(t, main, "one")
	write(t, included, "a")
	w := startShowing(t, soon, included, main)
	w.set(included, func() { w.SetFiles([]string{main, included}) })
	replace(t, main, "two")
	w.await("a")
	replace(t, included, "b")
	w.await("b")
}

func TestChangeDuringACallLeadsToAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	write(t, file, "one")
	w := start(t, soon, file)
	inside, release := make(chan struct{}), make(chan struct{})
	w.set(file, func() {
		if w.calls.Load() == 1 {
			close(inside)
			<-release
		}
	})
	replace(t, file, "two")
	<-inside
	replace(t, file, "three")
	close(release)
	w.await("three")
	for w.calls.Load() < 2 { // the first call may have seen the second text
		w.await("three")
	}
}

func TestCloseWaitsForTheCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	write(t, file, "one")
	inside, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	w := Watch(Config{Files: []string{file}, Log: slog.New(slog.DiscardHandler), Quiet: -1, Changed: func() {
		close(inside)
		<-release
		ended.Store(true)
	}})
	replace(t, file, "two")
	<-inside
	go close(release)
	w.Close()
	if !ended.Load() {
		t.Error("Close returns while Changed runs")
	}
}

func TestOnlySoMuchIsRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "huge")
	write(t, file, "")
	do(t, os.Truncate(file, 1<<40)) // of which the disk holds nothing
	before, err := read(file)
	do(t, err)
	do(t, os.Truncate(file, 1<<41))
	after, err := read(file)
	do(t, err)
	if before == after {
		t.Error("the size of what is not read does not count")
	}
}

func TestContentsDoNotRunTogether(t *testing.T) {
	dir := t.TempDir()
	var digests []digest
	for _, texts := range [][2]string{{"ab", "c"}, {"a", "bc"}, {"abc", ""}} {
		write(t, filepath.Join(dir, "1"), texts[0])
		write(t, filepath.Join(dir, "2"), texts[1])
		d, err := read(dir)
		do(t, err)
		digests = append(digests, d)
	}
	if digests[0] == digests[1] || digests[1] == digests[2] {
		t.Error("files with the same bytes in other places have the same digest")
	}
}
