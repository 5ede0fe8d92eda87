//go:build !linux

package sock

import (
	"net"
	"time"
)

func idle(net.Conn) bool { return true }

func departed(net.Conn) bool { return false }

func gone(net.Conn) bool { return false }

func unsent(net.Conn) int { return 0 }

func acked(net.Conn) uint64 { return 0 }

func tryRead(net.Conn, []byte) int { return 0 }

func tryWrite(conn net.Conn, p []byte) bool {
	const moment = 20 * time.Millisecond
	_ = conn.SetWriteDeadline(time.Now().Add(moment))
	defer conn.SetWriteDeadline(time.Time{})
	n, err := conn.Write(p)
	return err == nil && n == len(p)
}
