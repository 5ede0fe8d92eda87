package routing

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIncludeOfAMountedFolder is a folder as Kubernetes mounts a ConfigMap: names are links into a
// hidden folder, which is itself a link that is swapped.
func TestIncludeOfAMountedFolder(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"proxy.yaml":             "listeners: [{address: ':1'}]\ninclude: " + filepath.Join(dir, "mounted") + "\n",
		"mounted/..1/a.yaml":     "- {path: /a, backends: [builtin:echo]}\n",
		"mounted/..2/a.yaml":     "- {path: /new, backends: [builtin:echo]}\n",
		"mounted/folder.yaml/no": "",
	})
	link := func(to, name string) {
		t.Helper()
		at := filepath.Join(dir, "mounted", name)
		os.Remove(at)
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	link("..data/a.yaml", "a.yaml")
	for target, want := range map[string]string{"..1": "/a", "..2": "/new"} {
		link(target, "..data")
		cfg, err := Load(filepath.Join(dir, "proxy.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Routes) != 1 || cfg.Routes[0].Path != want {
			t.Errorf("Routes = %+v, want %s alone", cfg.Routes, want)
		}
		files := []string{filepath.Join(dir, "proxy.yaml"), filepath.Join(dir, "mounted") + "/", filepath.Join(dir, "mounted", "a.yaml")}
		if !reflect.DeepEqual(cfg.Files, files) {
			t.Errorf("Files = %q, want %q", cfg.Files, files)
		}
	}
}

func TestIncludedFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"proxy.yaml":    "listeners: [{address: ':1'}]\ninclude: r.d\n",
		"r.d/good.yaml": "- {backends: [builtin:echo]}\n",
		"r.d/huge.yaml": strings.Repeat("#", maxFileSize+1),
	})
	if err := os.Symlink("nowhere", filepath.Join(dir, "r.d", "dangling.yaml")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "r.d", "socket.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_, err = Load(filepath.Join(dir, "proxy.yaml"))
	want := "dangling.yaml: no such file or directory\nhuge.yaml: is too large; at most 4096 KiB are read\nsocket.yaml: is not a file"
	if err == nil || strings.ReplaceAll(err.Error(), filepath.Join(dir, "r.d")+"/", "") != want {
		t.Errorf("Load = %v, want %s", err, want)
	}
}
