package sock

import (
	"net"

	"golang.org/x/sys/unix"
)

func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<31-1 {
		return 0
	}
	return int(limit.Cur)
}

func descriptorOf(conn net.Conn) int {
	number := -1
	if c, ok := conn.(*Conn); ok { // without what control allocates
		if c.acquire() {
			number = int(c.socket.fd - 1)
			c.release()
		}
		return number
	}
	control(conn, func(fd int) { number = fd })
	return number
}
