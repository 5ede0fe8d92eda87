// Package interop tests the wsproxy command against programs that nobody here wrote: Node's ws and
// Python's websockets as clients and as backends, Chromium, curl, and pebble, an ACME server.
//
// A test whose program is missing is skipped with a line that says how to install it; with
// WSPROXY_INTEROP=require in the environment it fails instead.
package interop

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take; it ends tests that hang and decides no other.
const patience = time.Minute

// scratch is the folder of the whole run.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "wsproxy-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) {
	if err := lookAtModule(); err != nil {
		return "", err
	}
	program := filepath.Join(scratch, "wsproxy")
	args := []string{"build", "-o", program}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "wsproxy/cmd/wsproxy")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build wsproxy: %w\n%s", err, out)
	}
	return program, nil
})

// lookAtModule looks at every file of the module. go test repeats an old result when the files that
// the test itself looked at are the same, and those that only its children read are not among them.
func lookAtModule() error {
	return filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if err == nil {
			_, err = os.Stat(path)
		}
		return err
	})
}

// tool is a program or library that a test needs.
type tool struct {
	name    string
	install string       // from the repository's top
	find    func() error // nil when it is there
}

var (
	nodeWS = tool{"Node's ws", "install Node 20 or later, then (cd internal/interop/peers/node && npm ci)",
		sync.OnceValue(func() error {
			return exec.Command("node", "--input-type=module", "--eval",
				"import('"+must(filepath.Abs("peers/node/node_modules/ws/wrapper.mjs"))+"')").Run()
		})}
	pythonWebsockets = tool{"Python's websockets", "apt-get install python3-websockets",
		sync.OnceValue(func() error { _, err := python(); return err })}
	chromium = tool{"Chromium", "apt-get install chromium", inPath("chromium")}
	curl     = tool{"curl", "apt-get install curl", inPath("curl")}
)

// need skips the test, or fails it when it is required, unless all tools are there.
func need(t *testing.T, tools ...tool) {
	t.Helper()
	for _, tool := range tools {
		if err := tool.find(); err != nil {
			if os.Getenv("WSPROXY_INTEROP") == "require" {
				t.Fatalf("%s is missing (%v), and WSPROXY_INTEROP=require; %s", tool.name, err, tool.install)
			}
			t.Skipf("%s is missing; %s", tool.name, tool.install)
		}
	}
}

func inPath(program string) func() error {
	return sync.OnceValue(func() error { _, err := exec.LookPath(program); return err })
}

// python is the interpreter that has websockets. Debian's packages are for Debian's own, which need
// not be the first in PATH.
var python = sync.OnceValues(func() (string, error) {
	var err error
	for _, program := range []string{"python3", "/usr/bin/python3"} {
		if err = exec.Command(program, "-c", "import websockets.legacy").Run(); err == nil {
			return program, nil
		}
	}
	return "", err
})

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
