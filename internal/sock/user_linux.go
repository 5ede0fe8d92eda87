package sock

import (
	"net"

	"golang.org/x/sys/unix"
)

func user(conn net.Conn) (uid, pid int, ok bool) {
	control(conn, func(fd int) {
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid, pid, ok = int(cred.Uid), int(cred.Pid), true
		}
	})
	return uid, pid, ok
}
