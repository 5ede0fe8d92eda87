package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 3 * time.Second
	keptOutput   = 64 << 10
)

// process is a program that compare started. Its owner calls stop.
type process struct {
	cmd    *exec.Cmd
	output *firstOutput
	done   chan struct{} // closed when it has ended and was waited for
}

// startProcess starts a program in the foreground, in its own process group. It gets SIGTERM too if
// wsbench dies without a chance to stop it.
func startProcess(path string, args []string, dir string) (*process, error) {
	return startCommand(exec.Command(path, args...), dir)
}

func startCommand(cmd *exec.Cmd, dir string) (*process, error) {
	p := &process{cmd: cmd, output: &firstOutput{first: make(chan struct{})}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = time.Second // a grandchild may keep the output open
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	go p.reap()
	return p, nil
}

// reap waits for the process; stop waits for reap.
func (p *process) reap() {
	_ = p.cmd.Wait() // how it ended is told by its output
	close(p.done)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the process to end, kills its group if it does not, and waits until it is gone.
func (p *process) stop() {
	if !p.ended() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
		}
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // whatever is left of the group
	<-p.done
}

// awaitPorts waits until the process accepts on every port.
func (p *process) awaitPorts(ctx context.Context, ports ...int) error {
	deadline := time.Now().Add(startTimeout)
	for _, port := range ports {
		for {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-p.done:
				return fmt.Errorf("%s", p.output.firstLine())
			case <-ctx.Done():
				return errInterrupted
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("not listening after %v; it said: %s", startTimeout, p.output.firstLine())
			}
		}
	}
	if p.ended() { // somebody else has the port
		return fmt.Errorf("%s", p.output.firstLine())
	}
	return nil
}

// firstOutput keeps the beginning of what a program says. It is safe for concurrent use.
type firstOutput struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	first chan struct{} // closed with the first whole line
	once  sync.Once
}

func (o *firstOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := keptOutput - o.buf.Len(); room > 0 {
		o.buf.Write(p[:min(room, len(p))])
	}
	if bytes.IndexByte(p, '\n') >= 0 {
		o.once.Do(func() { close(o.first) })
	}
	return len(p), nil
}

// firstLine prefers a line that speaks of an error.
func (o *firstOutput) firstLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := ""
	for line := range strings.Lines(o.buf.String()) {
		line = strings.TrimSpace(line)
		if first == "" {
			first = line
		}
		low := strings.ToLower(line)
		if strings.Contains(low, "error") || strings.Contains(low, "alert") || strings.Contains(low, "emerg") {
			return line
		}
	}
	if first == "" {
		return "it ended and said nothing"
	}
	return first
}

// freePorts picks ports outside the range that outgoing connections use.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		port := 10240 + rand.IntN(32000-10240)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = ln.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("pick ports: none free between 10240 and 32000")
}
