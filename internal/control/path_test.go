package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// machine is a machine of its own for DefaultPath and Find.
type machine struct {
	t   *testing.T
	dir string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t: t, dir: shortDir(t)}
	for _, folder := range []string{"run", "tmp", "xdg", "unit", "etc"} {
		m.mkdir(folder)
	}
	return m
}

func (m machine) path(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

func (m machine) mkdir(name string) {
	m.t.Helper()
	if err := os.MkdirAll(m.path(name), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) write(name string) string {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

func (m machine) link(target, name string) string {
	m.t.Helper()
	_ = os.Remove(m.path(name)) // the one before
	if err := os.Symlink(target, m.path(name)); err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

func (m machine) with(env map[string]string) surroundings {
	return surroundings{
		env: func(key string) string { return env[key] },
		run: m.path("run"), temp: m.path("tmp"), uid: os.Geteuid(),
	}
}

func (m machine) listen(path string) *Server {
	m.t.Helper()
	s, err := Listen(path, map[string]Handler{"echo": echo}, quiet)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.Close)
	return s
}

func TestFolderIsTheFirstThatCanBeUsed(t *testing.T) {
	tests := []struct {
		name    string
		env     map[string]string // below the machine's folder
		prepare func(m machine)
		want    string
	}{
		{"a unit's", map[string]string{"RUNTIME_DIRECTORY": "unit", "XDG_RUNTIME_DIR": "xdg"}, nil, "unit"},
		{"run", map[string]string{"XDG_RUNTIME_DIR": "xdg"}, nil, "run/wsproxy"},
		{"run is not there", map[string]string{"XDG_RUNTIME_DIR": "xdg"},
			func(m machine) { _ = os.Remove(m.path("run")) }, "xdg/wsproxy"},
		{"run is open to others", map[string]string{"XDG_RUNTIME_DIR": "xdg"}, func(m machine) {
			m.mkdir("run/wsproxy")
			_ = os.Chmod(m.path("run/wsproxy"), 0o777)
		}, "xdg/wsproxy"},
		{"a unit's is not there", map[string]string{"RUNTIME_DIRECTORY": "none/there"}, nil, "run/wsproxy"},
		{"temporary", nil, func(m machine) { _ = os.Remove(m.path("run")) }, "tmp/" + machine{}.with(nil).tempName()},
		{"session has ended", map[string]string{"XDG_RUNTIME_DIR": "none"},
			func(m machine) { _ = os.Remove(m.path("run")) }, "tmp/" + machine{}.with(nil).tempName()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if tt.prepare != nil {
				tt.prepare(m)
			}
			env := make(map[string]string)
			for key, name := range tt.env {
				env[key] = m.path(name)
			}
			file := m.write("etc/proxy.yaml")
			path := m.with(env).path(file)
			if got := filepath.Dir(path); got != m.path(tt.want) {
				t.Fatalf("the folder is %s, want %s", got, m.path(tt.want))
			}
			s := m.listen(path)
			if got, err := m.with(env).find(bounded(t), file); got != s.Path() {
				t.Errorf("find = %q, %v, want %q", got, err, s.Path())
			}
		})
	}
}

func TestUnitIsFoundFromATerminal(t *testing.T) {
	m := newMachine(t)
	m.mkdir("run/chat-proxy") // RuntimeDirectory=chat-proxy
	file := m.write("etc/proxy.yaml")
	s := m.listen(m.with(map[string]string{"RUNTIME_DIRECTORY": m.path("run/chat-proxy") + ":" + m.path("run/more")}).path(file))
	if filepath.Dir(s.Path()) != m.path("run/chat-proxy") {
		t.Errorf("the unit listens on %s", s.Path())
	}
	got, err := m.with(map[string]string{"XDG_RUNTIME_DIR": m.path("xdg")}).find(bounded(t), file)
	if got != s.Path() {
		t.Errorf("find = %q, %v, want %q", got, err, s.Path())
	}
}

func TestRootFindsWhatAUserRuns(t *testing.T) {
	for _, folder := range []string{"run/user/1000/wsproxy", "tmp/wsproxy-1000"} {
		m := newMachine(t)
		m.mkdir(folder)
		file := m.write("etc/proxy.yaml")
		given, resolved := hashes(file)
		s := m.listen(filepath.Join(m.path(folder), given+"-"+resolved+suffix))
		root := m.with(nil)
		root.uid = 0
		if got, err := root.find(bounded(t), file); got != s.Path() {
			t.Errorf("find = %q, %v, want %q", got, err, s.Path())
		}
	}
}

func TestFileIsFoundUnderEveryName(t *testing.T) {
	m := newMachine(t)
	env := m.with(nil)
	file := m.write("etc/proxy.yaml")
	other := m.write("etc/other.yaml")
	link := m.link(file, "etc/link.yaml")
	folder := filepath.Join(m.link(m.path("etc"), "folder"), "proxy.yaml")
	for _, ran := range []string{file, link, folder} {
		s := m.listen(env.path(ran))
		for _, asked := range []string{file, link, folder, filepath.Dir(file) + "/../etc/./proxy.yaml"} {
			if got, err := env.find(bounded(t), asked); got != s.Path() {
				t.Errorf("find(%s) = %q, %v, with %s running at %q", asked, got, err, ran, s.Path())
			}
		}
		if got, err := env.find(bounded(t), other); !errors.Is(err, ErrNobody) ||
			err.Error() != "no wsproxy runs with "+other+": nothing listens on "+env.path(other) {
			t.Errorf("find(%s) = %q, %v", other, got, err)
		}
		s.Close()
	}
	t.Chdir(m.path("etc"))
	s := m.listen(env.path("proxy.yaml"))
	t.Chdir(m.path("tmp"))
	if got, err := env.find(bounded(t), "../etc/proxy.yaml"); got != s.Path() {
		t.Errorf("find from another folder = %q, %v, want %q", got, err, s.Path())
	}
}

func TestFileIsFoundAfterItsLinkHasMoved(t *testing.T) {
	m := newMachine(t)
	env := m.with(nil)
	for _, version := range []string{"etc/..1", "etc/..2"} {
		m.mkdir(version)
		m.write(version + "/proxy.yaml")
	}
	m.link("..1", "etc/..data")
	file := m.link("..data/proxy.yaml", "etc/proxy.yaml")
	s := m.listen(env.path(file))
	m.link("..2", "etc/..data")
	if got, err := env.find(bounded(t), file); got != s.Path() {
		t.Errorf("find = %q, %v, want %q", got, err, s.Path())
	}
	if got := env.path(file); got != s.Path() {
		t.Errorf("another wsproxy would listen on %q, beside %q", got, s.Path())
	}
}

func TestSocketsLeftBehindArePassedOver(t *testing.T) {
	m := newMachine(t)
	file := m.write("etc/proxy.yaml")
	first := m.with(map[string]string{"RUNTIME_DIRECTORY": m.path("unit")})
	dead := m.listen(first.path(file))
	dead.claim.socket = nil
	dead.listener.Close()
	s := m.listen(m.with(nil).path(file))
	if got, err := first.find(bounded(t), file); got != s.Path() {
		t.Errorf("find = %q, %v, want %q", got, err, s.Path())
	}
	cancelled, cancel := context.WithCancel(bounded(t))
	cancel()
	if _, err := first.find(cancelled, file); !errors.Is(err, context.Canceled) {
		t.Errorf("find = %v, want context.Canceled", err)
	}
}

func TestPathsFitIntoASocketsAddress(t *testing.T) {
	for _, folder := range []string{
		"/run/wsproxy", "/run/user/4294967295/wsproxy",
		"/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/wsproxy-501",
	} {
		given, resolved := hashes("/etc/wsproxy/proxy.yaml")
		if err := fits(filepath.Join(folder, given+"-"+resolved+suffix)); err != nil {
			t.Error(err)
		}
	}
}
