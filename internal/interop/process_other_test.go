//go:build !linux

package interop

import (
	"os"
	"syscall"
)

func own() *syscall.SysProcAttr { return nil }

func kill(p *os.Process) { _ = p.Kill() }
