package tlsterm

import (
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"wsproxy/internal/watch"
)

const (
	// settle is how long files must be quiet before they are read: a certificate and its key are
	// rarely written at once.
	settle = 200 * time.Millisecond

	// look is how often files are looked at without a sign that they have changed, since network file
	// systems give none, and certificates of ACME are asked for that are not there.
	look = time.Hour
)

// Watcher has listeners reload what they read from files when those files change, and warns of
// certificates that expire.
type Watcher struct {
	log       *slog.Logger
	listeners []*Listener
	settle    time.Duration

	fs    *fsnotify.Watcher // nil where there are no files, or the system does not tell of changes
	paths map[string]bool   // whose replacement matters; the goroutine's

	stop, done chan struct{}
}

// Watch starts a Watcher. Close ends it.
func Watch(log *slog.Logger, listeners ...*Listener) *Watcher {
	return newWatcher(log, settle, listeners)
}

func newWatcher(log *slog.Logger, settle time.Duration, listeners []*Listener) *Watcher {
	w := &Watcher{log: log, listeners: listeners, settle: settle, stop: make(chan struct{}), done: make(chan struct{})}
	if slices.ContainsFunc(listeners, func(l *Listener) bool { return len(l.sources()) > 0 }) {
		var err error
		if w.fs, err = fsnotify.NewWatcher(); err != nil {
			log.Warn("watch files; changes are noticed within an hour, or when told of", "err", err)
			w.fs = nil
		}
	}
	w.follow()
	go w.run()
	return w
}

// Close ends the Watcher and waits until it has.
func (w *Watcher) Close() {
	close(w.stop)
	<-w.done
}

// Reload has every listener reload, and says what came of it. Faults are logged anew.
func (w *Watcher) Reload() Reloaded { return w.reload(true) }

func (w *Watcher) reload(all bool) (r Reloaded) {
	for _, l := range w.listeners {
		r.add(l.Reload(all))
	}
	return r
}

func (w *Watcher) run() {
	defer close(w.done)
	var events chan fsnotify.Event
	var errors chan error
	if w.fs != nil {
		events, errors = w.fs.Events, w.fs.Errors
		defer w.fs.Close()
	}
	regular, daily := time.NewTicker(look), time.NewTicker(warnEvery)
	defer regular.Stop()
	defer daily.Stop()
	quiet := time.NewTimer(look)
	quiet.Stop()
	var latest time.Time // when to read at the latest, zero when nothing has changed
	for {
		select {
		case event := <-events:
			if !w.paths[event.Name] || event.Op == fsnotify.Chmod {
				continue
			}
			now := time.Now()
			if latest.IsZero() {
				latest = now.Add(10 * w.settle)
			}
			quiet.Reset(min(w.settle, latest.Sub(now)))
		case err := <-errors:
			// Changes may have been missed.
			w.log.Debug("watch files", "err", err)
			quiet.Reset(w.settle)
		case <-quiet.C:
			latest = time.Time{}
			w.reload(false)
			w.follow()
		case <-regular.C:
			w.reload(false)
			w.follow()
			for _, l := range w.listeners {
				if l.cfg.ACME != nil {
					l.cfg.ACME.Obtain()
				}
			}
		case now := <-daily.C: // the start has been warned of
			for _, l := range w.listeners {
				l.WarnExpiring(now)
			}
		case <-w.stop:
			return
		}
	}
}

// follow watches the folders of everything whose replacement changes what a listener would read.
// Folders and not files: editors and Kubernetes put another in a file's place.
func (w *Watcher) follow() {
	if w.fs == nil {
		return
	}
	w.paths = make(map[string]bool)
	folders := make(map[string]bool)
	for _, l := range w.listeners {
		for _, name := range l.sources() {
			for _, path := range watch.Hops(name) {
				w.paths[path] = true
				folders[filepath.Dir(path)] = true
			}
		}
	}
	for _, old := range w.fs.WatchList() {
		if !folders[old] {
			_ = w.fs.Remove(old) // it may have gone by itself
		}
	}
	for folder := range folders {
		if err := w.fs.Add(folder); err != nil {
			w.log.Debug("watch folder", "folder", folder, "err", err)
		}
	}
}
