package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"wsproxy/internal/sock"
)

// claim is a process's right to a path, which the system ends with the process: a lock on a file beside
// the socket. Of two processes that find a socket left behind, one replaces it.
type claim struct {
	lock   *os.File
	socket os.FileInfo // as it was made
}

// take listens at path, where nobody else may be listening.
func take(path string) (*claim, *net.UnixListener, error) {
	if err := fits(path); err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	if err := secure(filepath.Dir(path)); err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	lock, err := lockBeside(path)
	if errors.Is(err, sock.ErrLocked) {
		return nil, nil, inUse(path)
	} else if err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	c := &claim{lock: lock}
	listener, err := c.listen(path)
	if err != nil {
		c.unlock()
		return nil, nil, err
	}
	return c, listener, nil
}

// listen makes the socket in place of one that nobody listens on.
func (c *claim) listen(path string) (*net.UnixListener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("control socket %s: there is a file that is no socket", path)
	default:
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		if !sock.Refused(err) {
			return nil, inUse(path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the path may be another's by then
	if runtime.GOOS != "windows" {   // where files have no modes
		// Until then the folder keeps others out, or on Linux serve.
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		c.socket, err = os.Lstat(path)
	}
	if err != nil {
		listener.Close()
		os.Remove(path)
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return listener, nil
}

// release gives the path back and closes the listener.
func (c *claim) release(listener *net.UnixListener) {
	path := listener.Addr().String()
	if info, err := os.Lstat(path); err == nil && os.SameFile(info, c.socket) {
		os.Remove(path)
	}
	listener.Close()
	c.unlock()
}

func (c *claim) unlock() {
	os.Remove(c.lock.Name()) // while it is locked: lockBeside looks whether it has one that is gone
	c.lock.Close()
}

// lockBeside locks the file that stands for path.
func lockBeside(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := sock.Lock(file); err != nil {
			file.Close()
			return nil, err
		}
		locked, err := file.Stat()
		if err != nil {
			file.Close()
			return nil, err
		}
		if there, err := os.Lstat(file.Name()); err == nil && os.SameFile(locked, there) {
			return file, nil
		}
		file.Close() // whoever had the lock has removed the file since it was opened
	}
}

// inUse says who listens at path.
func inUse(path string) error {
	who := ""
	if conn, err := net.Dial("unix", path); err == nil {
		if _, pid, ok := sock.User(conn); ok && pid > 0 {
			who = fmt.Sprintf(" (pid %d)", pid)
		}
		conn.Close()
	}
	return fmt.Errorf("control socket %s: another wsproxy runs with this file%s", path, who)
}

// fits refuses a path that is too long for a socket's address.
func fits(path string) error {
	most := 103 // the least of all systems: 104 with the zero at its end
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		most = 107
	}
	if len(path) > most {
		return fmt.Errorf("%s has %d bytes, and the path of a socket may have %d; choose a shorter one", path, len(path), most)
	}
	return nil
}

// secure makes a folder that others cannot enter, or checks that they can put nothing into the one that
// is there.
func secure(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return private(folder)
}

// private refuses a folder in which others can put another socket in place of ours.
func private(folder string) error {
	info, err := os.Lstat(folder)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if err := ours(folder, info); err != nil {
			return err
		}
		info, err = os.Stat(folder)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", folder)
	}
	if err := ours(folder, info); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("others may write to %s (mode %04o); choose a folder of its own, or chmod 700 it", folder, mode)
	}
	return nil
}

// ours refuses what belongs to neither root nor the user that runs this process.
func ours(path string, info fs.FileInfo) error {
	if uid, ok := sock.Owner(info); ok && uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d; only root or user %d could be trusted with it", path, uid, os.Geteuid())
	}
	return nil
}
