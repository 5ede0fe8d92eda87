package splice

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// A child of its own has few descriptors, as others in this process need them.
func TestNoDescriptorsLeftShedsNewLinksOnly(t *testing.T) {
	const child = "WSPROXY_TEST_FEW_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("with few descriptors: %v\n%s", err, out)
		}
		return
	}
	const links = 5
	onEverySetup(t, func(t *testing.T, s setup) {
		// A loop duplicates the descriptors it is given. Two goroutines read those as they are, so
		// that such a link needs none that it does not bring.
		sheds := s.driver != Goroutines && !s.tls && !s.homely // what lives in a loop needs no further descriptor
		e := s.engine(t, forGood)
		var old, young []*rig
		var specs []Spec
		for range links {
			old = append(old, s.join(t, e, Spec{}))
			r, spec := s.pairs(t, e, Spec{})
			young, specs = append(young, r), append(specs, spec)
		}
		before := openDescriptors(t)

		restore := noDescriptors(t)
		defer restore()
		for i, r := range young {
			r.splice(specs[i])
			if !sheds {
				r.trip()
				continue
			}
			checkCause(t, r.result(), Drained)
			expectEnd(t, r.client)
			expectEnd(t, r.backend)
		}
		for _, r := range old {
			r.trip()
		}
		// An end needs no descriptor either.
		old[0].over()
		want, gone := Stats{Open: 2*links - 1, Opened: 2 * links}, 4 // of the old link that is over
		if sheds {
			want.Open -= links
			gone += 2 * links // of the young ones, whose far ends are open still
		}
		eventually(t, "all links are open but those shed and one", func() bool { return e.Stats() == want })
		restore()

		if got := openDescriptors(t); got != before-gone {
			t.Errorf("%d descriptors open, want %d", got, before-gone)
		}
		for _, r := range old[1:] {
			r.trip()
			r.over()
		}
		again := s.join(t, e, Spec{})
		again.trip()
		again.over()
		for _, r := range young {
			r.client.Close()
			r.backend.Close()
		}
	})
}

// noDescriptors lets nothing be opened until restore is called, once or several times. What is open
// stays so.
func noDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(to syscall.Rlimit) {
		t.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &to); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: 1, Max: limit.Max})
	return func() { set(limit) }
}
