package tlsterm

import (
	"io"
	"runtime"
	"testing"
	"time"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// A pooled connection to a TLS 1.3 server, which sends more than data, stays usable until there is data
// or an end.
func TestIdle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell what is there")
	}
	// comes waits until something is there to be read.
	comes := func(t *testing.T, c *TLSConn) {
		t.Helper()
		for end := time.Now().Add(hung); sock.Idle(c.tcp); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("nothing comes")
			}
		}
	}
	for _, tt := range []struct {
		name string
		act  func(server *TLSConn) error
		idle bool
		read string // what can still be read
	}{
		{"KeyUpdate", func(s *TLSConn) error { return s.updateKey(false) }, true, ""},
		{"KeyUpdate that asks for another", func(s *TLSConn) error { return s.updateKey(true) }, true, ""},
		{"data", func(s *TLSConn) error { _, err := s.Write([]byte("hello")); return err }, false, "hello"},
		{"data behind a KeyUpdate", func(s *TLSConn) error {
			_, err := (&updating{TLSConn: s}).Write([]byte("hello"))
			return err
		}, false, "hello"},
		{"close_notify", func(s *TLSConn) error { return s.CloseWrite() }, false, ""},
		{"an end", func(s *TLSConn) error { return s.tcp.Close() }, false, ""},
		{"a part of a record", func(s *TLSConn) error { _, err := s.tcp.Write([]byte{23, 3, 3, 0, 100, 1}); return err }, false, ""},
		{"a forged record", func(s *TLSConn) error {
			_, err := s.tcp.Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...))
			return err
		}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := ourPair(t)
			if !sock.Idle(client) {
				t.Fatal("not idle at first")
			}
			if err := tt.act(server); err != nil {
				t.Fatal(err)
			}
			comes(t, client)
			if got := sock.Idle(client); got != tt.idle {
				t.Errorf("Idle = %v, want %v", got, tt.idle)
			}
			if sock.Idle(client) != tt.idle {
				t.Error("asked twice, Idle changes its mind")
			}
			want := tt.read
			if tt.idle {
				want = "there"
				if _, err := io.WriteString(server, want); err != nil {
					t.Fatal(err)
				}
			}
			b := make([]byte, len(want))
			if _, err := io.ReadFull(client, b); err != nil || string(b) != want {
				t.Errorf("read %q, %v, want %q", b, err, want)
			}
		})
	}
}

// A server cannot keep a pool busy with nothing.
func TestIdleIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell what is there")
	}
	server, client := ourPair(t)
	for range 100 {
		if err := server.updateKey(false); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(hung); client.Idle(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("still idle")
		}
	}
	if _, failed := client.session.Err().(*record.AlertError); !failed {
		t.Errorf("it ends with %v, want a violation", client.session.Err())
	}
}
