// Package watch tells when the content of files has changed: however an editor writes them, however
// Kubernetes swaps them, and once for changes that come together.
package watch

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// seek is how often a folder is looked for that is away, or that the system does not tell about.
	seek = 3 * time.Second

	// looks is how many of these pass between two looks at everything, without a sign of a change:
	// network file systems give none.
	looks = 20
)

// Config is what to watch.
type Config struct {
	// Files are watched by content, and so is every file right in a folder among them, except those
	// whose name begins with a dot or ends in a tilde. Of each the first MiB counts. They need not be
	// there yet.
	Files []string

	// Log hears of files that go and come back. Nil stands for slog.Default.
	Log *slog.Logger

	// Quiet is how long nothing may happen to the files before they are read: several are rarely
	// written at once. Zero means 200 ms, negative not at all. Files that never rest are read after
	// ten times that.
	Quiet time.Duration

	// Changed is called when a content differs from the last, never twice at a time. What changes while
	// it runs leads to another call. It may call SetFiles, but not Close.
	//
	// That a file is gone is no change, since nothing can be read from it; that one is gone from a
	// folder is.
	Changed func()
}

// Watcher watches files until Close.
type Watcher struct {
	// Fixed at creation.
	log         *slog.Logger
	quiet, seek time.Duration
	changed     func()
	fs          *fsnotify.Watcher // nil where the system does not tell of changes
	stop, done  chan struct{}

	mu      sync.Mutex // guards what follows
	files   []string
	last    map[string]digest // by file, without those that were never read
	missing map[string]bool   // those that cannot be read now
	places  places
	watched map[string]os.FileInfo // by folder, those that the system tells about
	away    bool                   // some folder is not among these
}

// Watch starts a Watcher. What changes once it has returned is noticed, so that what it watches is
// best read after that. Close ends it.
func Watch(cfg Config) *Watcher { return watch(cfg, seek) }

func watch(cfg Config, seek time.Duration) *Watcher {
	w := &Watcher{
		log: cfg.Log, quiet: cfg.Quiet, seek: seek, changed: cfg.Changed,
		stop: make(chan struct{}), done: make(chan struct{}),
		last: make(map[string]digest), missing: make(map[string]bool), watched: make(map[string]os.FileInfo),
	}
	if w.log == nil {
		w.log = slog.Default()
	}
	switch {
	case w.quiet == 0:
		w.quiet = 200 * time.Millisecond
	case w.quiet < 0:
		w.quiet = 0
	}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		w.log.Warn("watch files; they are looked at every few seconds instead", "err", err)
		w.fs = nil
	}
	w.SetFiles(cfg.Files)
	go w.run()
	return w
}

// SetFiles watches these files and no others from now on. What is there now of those that are new is
// taken for known; the others keep what was known of them.
func (w *Watcher) SetFiles(files []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.files
	w.files = slices.Compact(slices.Sorted(slices.Values(files)))
	for _, name := range old {
		if !slices.Contains(w.files, name) {
			delete(w.last, name)
			delete(w.missing, name)
		}
	}
	w.followLocked() // before they are read, so that no change falls in between
	for _, name := range w.files {
		if !slices.Contains(old, name) {
			w.readLocked(name)
		}
	}
}

// Close ends the Watcher and waits until it has, and a call of Changed, too.
func (w *Watcher) Close() {
	close(w.stop)
	<-w.done
}

func (w *Watcher) run() {
	defer close(w.done)
	var events chan fsnotify.Event
	var errors chan error
	if w.fs != nil {
		events, errors = w.fs.Events, w.fs.Errors
		defer w.fs.Close()
	}
	ticker := time.NewTicker(w.seek)
	defer ticker.Stop()
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	var latest time.Time // when to look at the latest, zero when nothing has happened
	ticks := 0
	for {
		select {
		case event := <-events:
			if !w.concerns(event.Name) {
				continue
			}
			now := time.Now()
			if latest.IsZero() {
				latest = now.Add(10 * w.quiet)
			}
			rest.Reset(min(w.quiet, latest.Sub(now)))
		case err := <-errors:
			// Changes may have been missed.
			w.log.Debug("watch files", "err", err)
			rest.Reset(w.quiet)
		case <-rest.C:
			latest = time.Time{}
			w.look()
		case <-ticker.C:
			// A change that is being waited for is not looked at half done.
			if ticks++; latest.IsZero() && (ticks%looks == 0 || w.isAway()) {
				w.look()
			}
		case <-w.stop:
			return
		}
	}
}

// concerns reports whether something that happened under that name may have changed a content.
func (w *Watcher) concerns(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places.names[name] || w.places.whole[name] || w.places.whole[filepath.Dir(name)] || w.watched[name] != nil
}

func (w *Watcher) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

// look reads all files and calls Changed when one differs.
func (w *Watcher) look() {
	w.mu.Lock()
	w.followLocked()
	changed := false
	for _, name := range w.files {
		changed = w.readLocked(name) || changed
	}
	w.mu.Unlock()
	w.log.Debug("watched files read", "changed", changed)
	if changed {
		w.changed()
	}
}

// readLocked reads one file and reports whether it differs from the last time.
func (w *Watcher) readLocked(name string) (changed bool) {
	now, err := read(name)
	if err != nil {
		if !w.missing[name] {
			w.missing[name] = true
			w.log.Warn("watched file cannot be read", "file", name, "err", err)
		}
		return false
	}
	if w.missing[name] {
		delete(w.missing, name)
		w.log.Info("watched file is there", "file", name)
	}
	changed = w.last[name] != now
	w.last[name] = now
	return changed
}

// followLocked has the system tell about every folder in which something may happen to the files.
func (w *Watcher) followLocked() {
	w.places = find(w.files)
	w.away = w.fs == nil
	if w.fs == nil {
		return
	}
	live := make(map[string]bool)
	for _, folder := range w.fs.WatchList() {
		live[folder] = true
	}
	for folder := range w.watched {
		if !w.places.folders[folder] {
			_ = w.fs.Remove(folder) // it may have gone by itself
			delete(w.watched, folder)
		}
	}
	for folder := range w.places.folders {
		info, err := os.Stat(folder)
		if old := w.watched[folder]; err == nil && old != nil && live[folder] {
			if os.SameFile(old, info) {
				continue
			}
			_ = w.fs.Remove(folder) // another is in its place
		}
		if err == nil {
			err = w.fs.Add(folder)
		}
		if err != nil {
			w.log.Debug("watch folder", "folder", folder, "err", err)
			delete(w.watched, folder)
			w.away = true
			continue
		}
		w.watched[folder] = info
	}
}
