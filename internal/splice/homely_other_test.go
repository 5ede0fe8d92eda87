//go:build !linux

package splice

import (
	"errors"
	"syscall"
)

// homelySocket has no use: there are no loops where an end could live.
type homelySocket struct{ End }

func (s homelySocket) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

func (s homelySocket) SetReadBuffer(int) error { return errors.ErrUnsupported }

func (s homelySocket) SetWriteBuffer(int) error { return errors.ErrUnsupported }
