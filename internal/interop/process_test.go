package interop

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child of the test.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser

	stderr output
	exited chan struct{} // closed when it has been waited for
}

// launch starts a program that the test ends, if nothing else does, and shows its standard error
// when the test fails. Each line it prints goes to line, on one goroutine.
func launch(t *testing.T, name string, line func(string), program string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Stdout = &lines{each: line}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = own()
	// When a child of its own keeps its output open.
	p.cmd.WaitDelay = patience / 4
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // what ProcessState says is enough
	}()
	t.Cleanup(func() {
		if !p.gone() {
			kill(p.cmd.Process)
		}
		<-p.exited
		if t.Failed() {
			t.Logf("%s, %v, wrote:\n%s", p.name, p.cmd.ProcessState, p.stderr.tail())
		}
	})
	return p
}

func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// terminate asks the process to end and waits for that.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("SIGTERM to %s: %v", p.name, err)
	}
	p.wait(t, "SIGTERM")
}

// wait waits for the end that something should cause.
func (p *process) wait(t *testing.T, cause string) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Errorf("%s still runs %v after %s", p.name, patience, cause)
		kill(p.cmd.Process)
		<-p.exited
	}
}

// lines cuts what is written into lines.
type lines struct {
	each func(string)
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.each(string(line))
		l.rest = rest
	}
}

// output is what a process has written so far.
type output struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b...)
	return len(b), nil
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.b)
}

// tail is the end of it, where a fault shows.
func (o *output) tail() []byte {
	const most = 8 << 10
	b := o.bytes()
	return b[max(0, len(b)-most):]
}
