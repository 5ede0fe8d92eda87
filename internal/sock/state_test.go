//go:build linux

package sock

import (
	"io"
	"net"
	"testing"
	"time"
)

// pair is a connected pair of TCP sockets on loopback.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// awaitEnd reads near to its end, so that the other side's close or reset has arrived.
func awaitEnd(near net.Conn) { _, _ = io.Copy(io.Discard, near) }

func TestIdleAndGone(t *testing.T) {
	tests := []struct {
		name       string
		act        func(near, far *net.TCPConn)
		idle, gone bool
	}{
		{"open and silent", func(near, far *net.TCPConn) {}, true, false},
		{"closed by the other side", func(near, far *net.TCPConn) { far.Close(); awaitEnd(near) }, false, true},
		{"half-closed by the other side", func(near, far *net.TCPConn) { far.CloseWrite(); awaitEnd(near) }, false, true},
		{"closed here", func(near, far *net.TCPConn) { near.Close() }, false, true},
		{"reset", func(near, far *net.TCPConn) { Reset(far); far.Close(); awaitEnd(near) }, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := pair(t)
			tt.act(near, far)
			if got := Idle(near); got != tt.idle {
				t.Errorf("Idle = %v, want %v", got, tt.idle)
			}
			if got := Gone(near); got != tt.gone {
				t.Errorf("Gone = %v, want %v", got, tt.gone)
			}
		})
	}
}

func TestUnreadBytesAreNotIdleButNotGone(t *testing.T) {
	near, far := pair(t)
	if _, err := far.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	// Reading the first byte waits for the segment; the rest stays unread.
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if Idle(near) {
		t.Error("Idle = true with bytes unread, want false")
	}
	if Gone(near) {
		t.Error("Gone = true on an open connection with bytes unread, want false")
	}
}

func TestTryWrite(t *testing.T) {
	near, far := pair(t)
	_ = near.SetWriteDeadline(time.Unix(1, 0)) // it does not count
	if !TryWrite(near, []byte("hello")) {
		t.Error("TryWrite = false where there is room")
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(far, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	full := false
	for range 100_000 {
		if full = !TryWrite(near, make([]byte, 4<<10)); full {
			break
		}
	}
	if !full {
		t.Error("TryWrite finds room for ever")
	}
	near.Close()
	if TryWrite(near, []byte("hello")) {
		t.Error("TryWrite = true of a closed connection")
	}
}
