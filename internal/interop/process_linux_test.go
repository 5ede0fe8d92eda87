package interop

import (
	"os"
	"syscall"
)

// own gives a child a process group, for kill, and ends it with a test that dies without a cleanup.
func own() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends a child that has not been waited for, and the children it has.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
