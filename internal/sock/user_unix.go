//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const refused = unix.ECONNREFUSED

func owner(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

func folderWritable(folder string) bool { return unix.Access(folder, unix.W_OK|unix.X_OK) == nil }

func lock(file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
	})
	switch {
	case controlErr != nil:
		return controlErr
	case err == unix.EWOULDBLOCK:
		return ErrLocked
	}
	return os.NewSyscallError("flock", err)
}
