package sock

import (
	"errors"
	"io/fs"
	"net"
	"os"
)

// ErrLocked is what Lock returns when another holds the file.
var ErrLocked = errors.New("another process has locked the file")

// User returns who is on the other side of a Unix socket: the user and the process that connected, or
// that listens. A process that this one cannot see is 0. Where the system cannot tell, ok is false.
func User(conn net.Conn) (uid, pid int, ok bool) { return user(conn) }

// Owner returns the user whom a file belongs to, ok is false where files have none.
func Owner(info fs.FileInfo) (uid int, ok bool) { return owner(info) }

// Writable reports whether files can be made in a folder, as far as the system can tell without trying.
func Writable(folder string) bool { return folderWritable(folder) }

// Lock locks an open file for this process until the file is closed, or returns ErrLocked at once. On
// systems that have no such locks it does nothing.
func Lock(file *os.File) error { return lock(file) }

// Refused reports whether a dial failed since nobody listens.
func Refused(err error) bool { return errors.Is(err, refused) }
