// Package sock is the only room that names a system call. What a system lacks is answered here
// with the safe guess, so that no other room knows which system it runs on.
package sock

import "net"

// Idle reports whether a pooled connection can carry another request: open, and with nothing to
// read. A server that closed it, or that sent an answer nobody asked for, makes it unusable
// (RFC 9112 §9.2 and §9.5). conn must be a plain TCP or Unix connection; where the system cannot
// tell, the answer is true and the next read finds out.
func Idle(conn net.Conn) bool { return idle(conn) }

// Gone reports whether the other side has closed or reset the connection, or its sending half,
// even when unread bytes stand before the end. conn must be a plain TCP or Unix connection; where
// the system cannot tell, the answer is false and the next write or read finds out.
func Gone(conn net.Conn) bool { return gone(conn) }

// Reset makes the next Close of a TCP connection send a reset instead of an orderly end, so that
// the other side can tell that what it received was cut off. It does nothing to other connections.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // only a closed connection refuses, which has ended already
	}
}
