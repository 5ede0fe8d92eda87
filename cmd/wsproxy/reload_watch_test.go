package main

import (
	"os"
	"path/filepath"
	"testing"

	"wsproxy/routing"
)

// What changes between the start's reading and the watch's beginning is taken over, too.
func TestWatchMissesNothingAtTheStart(t *testing.T) {
	p := starting(t, routed("{path: /a, backends: [builtin:echo]}"), "")
	p.write(routed("{path: /b, backends: [builtin:echo]}"))
	p.watchFiles(p.current.Load().cfg)
	p.log.await(t, "route */b is new")
	lives(t, "link", p.open("/b"))
}

// Nothing is reloaded when nothing has changed.
func TestWatchLeavesAloneWhatIsTheSame(t *testing.T) {
	text := routed("{path: /a, passive: {failures: 2}, backends: [builtin:echo]}")
	p := starting(t, text, "")
	before := p.current.Load()
	p.watchFiles(before.cfg)
	if p.current.Load() != before {
		t.Errorf("the same file has been reloaded:\n%s", p.log)
	}
}

// A file that is included anew and has a fault is watched, so that it can be put right.
func TestWatchSeesFaultsPutRightInNewFiles(t *testing.T) {
	text := routed("{path: /a, backends: [builtin:echo]}")
	p := starting(t, text, "")
	p.watchFiles(p.current.Load().cfg)
	folder := filepath.Join(t.TempDir(), "more.d")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	more := filepath.Join(folder, "more.yaml")
	if err := os.WriteFile(more, []byte("- {path: more, backends: [builtin:echo]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.write("include: " + folder + "\n" + text)
	p.log.await(t, "more.yaml:1:")
	if err := os.WriteFile(more, []byte("- {path: /more, backends: [builtin:echo]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.log.await(t, "route */more is new")
	if _, err := routing.Load(p.file); err != nil {
		t.Error(err)
	}
	lives(t, "link", p.open("/more"))
}
