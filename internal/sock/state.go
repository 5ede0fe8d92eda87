// Package sock is the only room that names a system call. What a system lacks is answered here
// with the safe guess, so that no other room knows which system it runs on. A *tls.Conn is looked
// through: what is asked is asked of the connection below it.
package sock

import (
	"errors"
	"net"
)

// ErrAgain is the answer of what does not wait, when there is nothing to read or no room for what is to be
// written.
var ErrAgain = errors.New("resource temporarily unavailable")

// Idle reports whether a pooled connection can carry another request: open, and with nothing to
// read. A server that closed it, or that sent an answer nobody asked for, makes it unusable
// (RFC 9112 §9.2 and §9.5). Where the system cannot tell, the answer is true and the next read finds
// out. A connection with an Idle method, over TLS, is asked instead: what has come for it may be none of
// the data.
func Idle(conn net.Conn) bool {
	if c, ok := conn.(interface{ Idle() bool }); ok {
		return c.Idle()
	}
	return idle(plain(conn))
}

// TryRead reads what is there without waiting, whatever deadline there is; 0 stands for nothing, an end
// and errors alike, and for a system that cannot do that. Nobody else may read meanwhile.
func TryRead(conn net.Conn, p []byte) int { return tryRead(plain(conn), p) }

// Gone reports whether the other side has closed or reset the connection, or its sending half,
// even when unread bytes stand before the end. Where the system cannot tell, the answer is false
// and the next write or read finds out.
func Gone(conn net.Conn) bool { return gone(plain(conn)) }

// Departed is Gone for who looks time and again: where the connection's home watches it, its word is taken,
// which may be a moment old and costs no system call.
func Departed(conn net.Conn) bool { return departed(plain(conn)) }

// Reset makes the next Close of a TCP connection send a reset instead of an orderly end, so that
// the other side can tell that what it received was cut off. It does nothing to other connections.
func Reset(conn net.Conn) {
	if tcp, ok := plain(conn).(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // only a closed connection refuses, which has ended already
	}
}

// Acked grows by every byte that the other side acknowledges; 0 where the system cannot tell, and
// once the connection is closed.
func Acked(conn net.Conn) uint64 { return acked(plain(conn)) }

// Cut closes a connection at once with a reset. A *tls.Conn takes no leave with a close_notify
// before it, which would say that all has been sent.
func Cut(conn net.Conn) {
	Reset(conn)
	_ = plain(conn).Close()
}

// CloseNow closes a connection without waiting; the system still sends what it has taken. A
// *tls.Conn takes leave with a close_notify if there is room for one: crypto/tls would wait five
// seconds for room.
func CloseNow(conn net.Conn) {
	if under := plain(conn); under != conn && unsent(under) > 0 {
		_ = under.Close()
	}
	_ = conn.Close()
}

// TryWrite writes p, which is short, as far as there is room without waiting, whatever deadline there
// is, and reports whether all of it went. Nobody else may write meanwhile. Where the system cannot do
// that it waits for a moment at most, and takes the write deadline away.
func TryWrite(conn net.Conn, p []byte) bool { return tryWrite(plain(conn), p) }

// plain is the connection at the bottom of a *tls.Conn, or of whatever else has one below it.
func plain(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}
