package sock

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pipe is a pipe of the kernel's through which bytes go from one socket to another without being
// copied (splice(2)). One goroutine owns it, and closes it.
type Pipe struct {
	r, w int
	held int // bytes in it
}

// pipeSize is how much a Pipe is asked to hold. What it holds is counted in fragments of packets, up
// to 256 of them then.
const pipeSize = 1 << 20

// NewPipe makes an empty Pipe, of two descriptors.
func NewPipe() (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	// The size the system has by default will do where a user may not have more.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return &Pipe{r: fds[0], w: fds[1]}, nil
}

// Len is how many bytes are in the pipe.
func (p *Pipe) Len() int { return p.held }

// Fill takes at most most bytes out of s, into an empty pipe: ErrAgain when there are none, io.EOF at
// the other side's end.
func (p *Pipe) Fill(s Socket, most int) (n int, err error) {
	n, err = splice(int(s.fd-1), p.w, most, 0)
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	p.held += n
	return n, err
}

// Drain gives what is in the pipe to s: ErrAgain comes with a part of it left. more says that s will
// be given more at once.
func (p *Pipe) Drain(s Socket, more bool) error {
	flags := 0
	if more {
		flags = unix.SPLICE_F_MORE
	}
	for p.held > 0 {
		n, err := splice(p.r, int(s.fd-1), p.held, flags)
		if err != nil {
			return err
		}
		p.held -= n
	}
	return nil
}

// Close closes the pipe, with what is in it.
func (p *Pipe) Close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

func splice(from, to, most, flags int) (int, error) {
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0,
			uintptr(most), uintptr(flags|unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK))
		switch errno {
		case 0:
			return int(r), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, errno
		}
	}
}
