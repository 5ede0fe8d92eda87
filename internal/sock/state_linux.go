package sock

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

func idle(conn net.Conn) bool {
	if c, ok := conn.(*Conn); ok {
		return c.idle()
	}
	ok := true
	open := control(conn, func(fd int) {
		var b [1]byte
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		// Nothing to read and not at its end: EAGAIN. Bytes, an end (0) and errors all rule it out.
		ok = n < 0 && err == unix.EAGAIN
	})
	return open && ok
}

func departed(conn net.Conn) bool {
	if c, ok := conn.(*Conn); ok && c.watched.Load() {
		return c.Pending().Ended
	}
	return gone(conn)
}

func gone(conn net.Conn) bool {
	ended := false
	open := control(conn, func(fd int) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		ended = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return !open || ended
}

func unsent(conn net.Conn) (n int) {
	control(conn, func(fd int) {
		if queued, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = queued
		}
	})
	return n
}

func acked(conn net.Conn) (n uint64) {
	control(conn, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked
		}
	})
	return n
}

func tryRead(conn net.Conn, p []byte) (n int) {
	control(conn, func(fd int) {
		if got, _, err := unix.Recvfrom(fd, p, unix.MSG_DONTWAIT); err == nil {
			n = got
		}
	})
	return n
}

func tryWrite(conn net.Conn, p []byte) bool {
	n := 0
	control(conn, func(fd int) {
		if sent, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err == nil {
			n = sent
		}
	})
	return n == len(p)
}

// control runs f on the descriptor while it cannot be closed, and reports whether conn is open. A
// connection without a descriptor counts as open.
func control(conn net.Conn, f func(fd int)) (open bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) }) == nil
}
