package tlsterm

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// ourPair is a connection with the record layer on both sides.
func ourPair(t testing.TB) (server, client *TLSConn) {
	t.Helper()
	near, far := tcpPair(t)
	server = &TLSConn{tcp: near}
	accepted := make(chan error, 1)
	go func() {
		_, err := server.accept(server.tcp, serverConfig(serverTLS()))
		accepted <- err
	}()
	client, _, err := Client(far, clientTLS(), hung)
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*TLSConn{server, client} {
		_ = c.SetDeadline(time.Now().Add(hung))
	}
	return server, client
}

// updateKey sends a KeyUpdate.
func (c *TLSConn) updateKey(request bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.send(c.tcp.Write, func(ciphers *record.Ciphers) []byte { return c.session.AppendKeyUpdate(ciphers, nil, request) })
}

// updating changes its key before each write.
type updating struct {
	*TLSConn
	request bool
}

func (c *updating) Write(p []byte) (int, error) {
	c.request = !c.request
	if err := c.updateKey(c.request); err != nil {
		return 0, err
	}
	return c.TLSConn.Write(p)
}

// Both sides read and write at once, and change their keys and have them changed.
func TestConcurrentReadWriteAndKeyUpdate(t *testing.T) {
	server, client := ourPair(t)
	keys := [...]record.Session{server.session, client.session}
	exchange(t, 7, &updating{TLSConn: server}, &updating{TLSConn: client})
	if server.session == keys[0] || client.session == keys[1] {
		t.Error("the keys have not changed")
	}
}

func TestReadDeadlineIsNoEnd(t *testing.T) {
	server, client := ourPair(t)
	past := func() {
		t.Helper()
		_ = server.SetReadDeadline(time.Unix(1, 0))
		if n, err := server.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %d, %v, want a deadline", n, err)
		}
		_ = server.SetReadDeadline(time.Now().Add(hung))
	}
	past()
	// A record that comes in two parts, with a deadline between them.
	ciphers := record.NewCiphers(2)
	wire := client.session.Seal(ciphers, nil, []byte("hello"))
	if _, err := client.tcp.Write(wire[:9]); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := server.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %d, %v of a part of a record, want a deadline", n, err)
	}
	past()
	if _, err := client.tcp.Write(wire[9:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestTruncation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tail   int // bytes of a record at the end
		client bool
		want   error
	}{
		{"at a server, between records", 0, false, io.EOF},
		{"at a client, between records", 0, true, record.ErrTruncated},
		{"at a server, inside a record", 10, false, io.ErrUnexpectedEOF},
		{"at a client, inside a header", 3, true, io.ErrUnexpectedEOF},
	} {
		from, to := ourPair(t)
		if !tt.client {
			from, to = to, from
		}
		ciphers := record.NewCiphers(2)
		wire := from.session.Seal(ciphers, nil, []byte("all"))
		wire = append(wire, from.session.Seal(ciphers, nil, []byte("and more"))[:tt.tail]...)
		if _, err := from.tcp.Write(wire); err != nil {
			t.Fatal(err)
		}
		from.tcp.Close()
		got, err := []byte(nil), error(nil)
		for room := make([]byte, 100); err == nil; {
			var n int
			n, err = to.Read(room)
			got = append(got, room[:n]...)
		}
		if string(got) != "all" || err != tt.want {
			t.Errorf("%s: %q and %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestHalfClose(t *testing.T) {
	roles(t, func(t *testing.T, weAreClient bool) {
		ours, _, theirs := shakeBoth(t, weAreClient, serverTLS(), clientTLS())
		if err := ours.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := ours.CloseWrite(); err != nil {
			t.Errorf("CloseWrite again: %v", err)
		}
		if _, err := ours.Write([]byte("x")); !errors.Is(err, errShutdown) {
			t.Errorf("Write behind CloseWrite: %v, want %v", err, errShutdown)
		}
		if b, err := io.ReadAll(theirs); len(b) > 0 || err != nil {
			t.Errorf("the other side reads %q, %v, want the end", b, err)
		}
		if _, err := io.WriteString(theirs, "answer"); err != nil {
			t.Fatal(err)
		}
		if err := theirs.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(ours); string(b) != "answer" || err != nil {
			t.Errorf("read %q, %v behind our end", b, err)
		}
	})
}

func TestCloseSendsCloseNotify(t *testing.T) {
	ours, client := ourPair(t)
	if _, err := io.WriteString(ours, "bye"); err != nil {
		t.Fatal(err)
	}
	if err := ours.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := ours.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close again: %v", err)
	}
	if b, err := io.ReadAll(client); string(b) != "bye" || err != nil {
		t.Errorf("the client reads %q, %v", b, err)
	}
	for name, err := range map[string]error{
		"Read":       func() error { _, err := ours.Read(make([]byte, 1)); return err }(),
		"Write":      func() error { _, err := ours.Write([]byte("x")); return err }(),
		"CloseWrite": ours.CloseWrite(),
		"Detach":     func() error { _, err := ours.Detach(); return err }(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed connection: %v", name, err)
		}
	}
	if ours.session != (record.Session{}) {
		t.Error("keys are left of a closed connection")
	}
}

// What TryWrite has sealed and not sent goes before anything else, and where it cannot nothing does: the
// other side has a part of a record.
func TestTryWriteKeepsTheOrder(t *testing.T) {
	ours, client := ourPair(t) // over connections on which nothing goes without waiting
	for _, p := range []string{"one ", "two "} {
		if n, err := ours.TryWrite([]byte(p)); n != len(p) || err != sock.ErrAgain {
			t.Errorf("TryWrite = %d, %v, want all sealed and ErrAgain", n, err)
		}
		if n, err := ours.TryWrite([]byte("no")); n != 0 || err != sock.ErrAgain {
			t.Errorf("another TryWrite = %d, %v, want nothing and ErrAgain", n, err)
		}
		if n, err := ours.Write(nil); n != 0 || err != nil {
			t.Errorf("Write of nothing = %d, %v", n, err)
		}
	}
	if _, err := ours.TryWrite([]byte("three ")); err != sock.ErrAgain {
		t.Errorf("TryWrite: %v", err)
	}
	if err := ours.updateKey(true); err != nil {
		t.Error(err)
	}
	if _, err := ours.TryWrite([]byte("four ")); err != sock.ErrAgain {
		t.Errorf("TryWrite: %v", err)
	}
	if err := ours.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
	if b, err := io.ReadAll(client); string(b) != "one two three four " || err != nil {
		t.Errorf("the client reads %q, %v", b, err)
	}

	ours, client = ourPair(t)
	if _, err := ours.TryWrite([]byte("lost")); err != sock.ErrAgain {
		t.Errorf("TryWrite: %v", err)
	}
	ours.Close()
	if b, err := io.ReadAll(client); len(b) > 0 || err != record.ErrTruncated {
		t.Errorf("the client reads %q, %v, want %v", b, err, record.ErrTruncated)
	}
}

// Somebody who takes nothing does not keep us from closing.
func TestCloseDoesNotWait(t *testing.T) {
	server, _ := ourPair(t)
	_ = server.SetDeadline(time.Time{})
	data := make([]byte, 1<<20)
	_ = server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for {
		if _, err := server.Write(data); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	_ = server.SetWriteDeadline(time.Time{})
	if _, err := server.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write behind a part of a record: %v, want the error again", err)
	}
	closed := make(chan struct{})
	go func() { server.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(closeTimeout / 2):
		t.Error("Close waits")
	}

	server, _ = ourPair(t)
	_ = server.SetDeadline(time.Time{})
	ended := make(chan error, 2)
	go func() {
		for {
			if _, err := server.Write(data); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() { _, err := server.Read(make([]byte, 1)); ended <- err }()
	for server.writing.TryLock() { // until Write is under way
		server.writing.Unlock()
		runtime.Gosched()
	}
	server.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read or Write of a connection that was closed: %v", err)
		}
	}
}

func TestViolationIsAnswered(t *testing.T) {
	roles(t, func(t *testing.T, weAreClient bool) {
		for _, tt := range []struct {
			name  string
			wire  []byte
			alert tls.AlertError
			heard string
		}{
			{"record that does not authenticate", append([]byte{23, 3, 3, 0, 100}, make([]byte, 100)...), 20, "bad record MAC"},
			{"header of a record too long", []byte{23, 3, 3, 0xff, 0xff}, 22, "record overflow"},
			{"header of another version", []byte{23, 3, 1, 1, 0}, 70, "protocol version"},
			{"no TLS", []byte("GET / HTTP/1.1\r\n\r\n"), 10, "unexpected message"},
		} {
			ours, _, theirs := shakeBoth(t, weAreClient, serverTLS(), clientTLS())
			if _, err := theirs.NetConn().Write(tt.wire); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, tt.alert) {
					t.Errorf("%s: Read = %v, want alert %d", tt.name, err, tt.alert)
				}
			}
			if _, err := theirs.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), tt.heard) {
				t.Errorf("%s: the other side reads %v, want %q", tt.name, err, tt.heard)
			}
			if _, err := ours.Write([]byte("x")); !errors.Is(err, tt.alert) {
				t.Errorf("%s: Write = %v", tt.name, err)
			}
			if _, err := ours.Detach(); !errors.Is(err, tt.alert) {
				t.Errorf("%s: Detach = %v", tt.name, err)
			}
		}
	})
}

func TestNothingBeforeTheHandshake(t *testing.T) {
	near, _ := tcpPair(t)
	c := &TLSConn{tcp: near}
	if _, err := c.Read(make([]byte, 1)); err != record.ErrNoKeys {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != record.ErrNoKeys {
		t.Errorf("Write: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// What is taken apart gives the rest of the stream, wherever it stood.
func TestDetachKeepsTheStream(t *testing.T) {
	for _, read := range []int{0, 1, 10000, 16384, 16385, 30000} {
		server, client := ourPair(t)
		data := bytes.Repeat([]byte("0123456789abcdef"), 4000)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(data)
			sent <- errors.Join(err, client.CloseWrite())
		}()
		got := make([]byte, read)
		for n := 0; n < read; {
			step, err := server.Read(got[n:min(read, n+9000)])
			if err != nil {
				t.Fatal(err)
			}
			n += step
		}
		d, err := server.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Plain) > record.MaxRecord || len(d.Raw) > record.MaxRecord {
			t.Errorf("%d bytes opened and %d raw are kept", len(d.Plain), len(d.Raw))
		}
		if server.session != (record.Session{}) || server.Close() != net.ErrClosed {
			t.Error("the connection is not as good as closed")
		}
		got = append(got, d.Plain...)
		ciphers, room, raw := record.NewCiphers(2), make([]byte, 0, record.MaxOpened), d.Raw
		for err == nil {
			out, n, openErr := d.Session.Open(ciphers, room, raw)
			got, raw, err = append(got, out...), raw[n:], openErr
			if n == 0 && err == nil {
				more := make([]byte, 5000)
				var size int
				size, err = d.TCP.Read(more)
				raw = append(raw, more[:size]...)
			}
		}
		if err != io.EOF || !d.Session.ReceivedClose() || !bytes.Equal(got, data) {
			t.Errorf("behind %d bytes: %d of %d in all, or others, %v", read, len(got), len(data), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		// And the other way.
		if _, err := d.TCP.Write(d.Session.AppendCloseNotify(ciphers, d.Session.Seal(ciphers, nil, []byte("answer")))); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(client); string(b) != "answer" || err != nil {
			t.Errorf("the client reads %q, %v", b, err)
		}
		d.TCP.Close()
	}
}
