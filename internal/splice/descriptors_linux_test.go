package splice

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// A child of its own has few descriptors, as others in this process need them.
func TestNoDescriptorsLeftShedsTheNewLinkOnly(t *testing.T) {
	const child = "WSPROXY_TEST_FEW_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("with few descriptors: %v\n%s", err, out)
		}
		return
	}
	s := setup{driver: Epoll}
	e := s.engine(t, forGood)
	old := s.join(t, e, Spec{})
	shed, spec := s.pairs(t, e, Spec{})
	before := openDescriptors(t)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 1 // nothing that is open is closed
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := e.Splice(spec)
	if restored := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if err != nil {
		t.Errorf("Splice: %v, want the link to end by its Done", err)
	}
	checkCause(t, shed.result(), Drained)
	expectEnd(t, shed.client)
	expectEnd(t, shed.backend)
	if got := openDescriptors(t); got != before-2 {
		t.Errorf("%d descriptors open, want %d", got, before-2)
	}
	hello := wire(fin|text, fromClient, []byte("hello"))
	send(t, old.client, hello)
	expect(t, old.backend, hello)
	old.over()
	again := s.join(t, e, Spec{})
	send(t, again.client, hello)
	expect(t, again.backend, hello)
	again.over()
}
