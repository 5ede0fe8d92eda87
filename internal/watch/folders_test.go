package watch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKubernetesSwapsAreTold(t *testing.T) {
	// As the kubelet does it: ..data points to a folder with a time in its name, and is replaced by a
	// rename; then the old folder goes.
	for _, whole := range []bool{false, true} {
		t.Run(map[bool]string{false: "file", true: "folder"}[whole], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			swap := func(version, text string) {
				old, _ := os.Readlink(filepath.Join(dir, "..data"))
				do(t, os.Mkdir(filepath.Join(dir, version), 0o700))
				write(t, filepath.Join(dir, version, "proxy.yaml"), text)
				do(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
				do(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
				if old != "" {
					do(t, os.RemoveAll(filepath.Join(dir, old)))
				}
			}
			swap("..2026_01", "one")
			file := filepath.Join(dir, "proxy.yaml")
			do(t, os.Symlink(filepath.Join("..data", "proxy.yaml"), file))
			watched := file
			if whole {
				watched = dir
			}
			w := startShowing(t, soon, file, watched)
			for version, text := range map[string]string{"..2026_02": "two", "..2026_03": "three", "..2026_04": "four"} {
				swap(version, text)
				w.await(text)
			}
			// The file that is there now can still be written in place.
			write(t, file, "five")
			w.await("five")
		})
	}
}

func TestLinksAreFollowed(t *testing.T) {
	dir, real := t.TempDir(), t.TempDir()
	for _, version := range []string{"1", "2"} {
		do(t, os.Mkdir(filepath.Join(real, version), 0o700))
		write(t, filepath.Join(real, version, "proxy.yaml"), version)
	}
	current := filepath.Join(dir, "current")
	do(t, os.Symlink(filepath.Join(real, "1"), current))
	file := filepath.Join(current, "proxy.yaml")
	w := start(t, soon, file)
	do(t, os.Symlink(filepath.Join(real, "2"), current+".new"))
	do(t, os.Rename(current+".new", current))
	w.await("2")
	replace(t, filepath.Join(real, "2", "proxy.yaml"), "3")
	w.await("3")
}

func TestFolderTellsOfFilesThatComeGoAndChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "routes.d")
	do(t, os.Mkdir(dir, 0o700))
	file, other := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	w := startShowing(t, soon, file, dir)
	write(t, file, "come")
	w.await("come")
	replace(t, file, "changed")
	w.await("changed")
	write(t, other, "another")
	w.await("changed")
	do(t, os.Rename(other, filepath.Join(dir, "c.yaml")))
	w.await("changed")
	do(t, os.Remove(file))
	w.await("")

	// What an editor leaves there is nothing.
	calls := w.calls.Load()
	for len(w.looked) > 0 {
		<-w.looked
	}
	write(t, filepath.Join(dir, ".c.yaml.swp"), "x")
	write(t, filepath.Join(dir, "c.yaml~"), "x")
	if changed := w.awaitLook(); changed || w.calls.Load() != calls {
		t.Error("Changed is called for an editor's own files")
	}
}

func TestFolderThatComesBackIsFound(t *testing.T) {
	tests := []struct {
		name string
		away func(dir string) error
	}{
		{"removed", os.RemoveAll},
		{"renamed", func(dir string) error { return os.Rename(dir, dir+".old") }},
	}
	for _, tt := range tests {
		for _, whole := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{false: ", file", true: ", folder"}[whole], func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "etc")
				file := filepath.Join(dir, "proxy.yaml")
				do(t, os.Mkdir(dir, 0o700))
				write(t, file, "one")
				watched := file
				if whole {
					watched = dir
				}
				w := startShowing(t, soon, file, watched)
				do(t, tt.away(dir))
				if w.awaitLook() {
					t.Error("a folder that is gone counts as a change")
				}
				do(t, os.Mkdir(dir, 0o700))
				write(t, file, "two")
				w.await("two")
				replace(t, file, "three")
				w.await("three")

				// At once, without a moment in which it is seen to be gone.
				do(t, os.Rename(dir, dir+".older"))
				do(t, os.Mkdir(dir, 0o700))
				write(t, file, "four")
				w.await("four")
				replace(t, file, "five")
				w.await("five")
			})
		}
	}
}

func TestWhatIsNotThereYetIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etc", "wsproxy", "proxy.yaml")
	w := start(t, soon, file)
	do(t, os.MkdirAll(filepath.Dir(file), 0o700))
	write(t, file, "one")
	w.await("one")
}
