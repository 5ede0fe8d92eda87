//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

import (
	"io/fs"
	"os"
	"syscall"
)

// refused is Windows' WSAECONNREFUSED: syscall.ECONNREFUSED is none of its numbers there.
const refused = syscall.Errno(10061)

func owner(fs.FileInfo) (uid int, ok bool) { return 0, false }

func folderWritable(folder string) bool {
	info, err := os.Stat(folder)
	return err == nil && info.IsDir()
}

func lock(*os.File) error { return nil }
