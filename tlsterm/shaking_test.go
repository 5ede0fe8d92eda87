package tlsterm

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// await waits for what a listener does by itself; it yields in between, and no test measures it.
func await(t *testing.T, done func() bool, what func() string) {
	t.Helper()
	for deadline := time.Now().Add(hung); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(what())
		}
	}
}

// Every kind of client that does not behave is cut in time and counted, and a good one is served
// while all of them are there.
func TestHostileHandshakesAreCutAndCounted(t *testing.T) {
	good := hello{version: tls.VersionTLS12, suites: suites12, curves: []tls.CurveID{tls.X25519}}.bytes()
	// A ClientHello of 64 KiB and one byte, in as many records as it takes.
	huge := func() []byte {
		message := binary.BigEndian.AppendUint32(nil, 1<<24|(64<<10+1))
		message = append(message, make([]byte, 64<<10+1)...)
		var b []byte
		for len(message) > 0 {
			n := min(len(message), 16<<10)
			b = append(b, recordHandshake, 3, 1, byte(n>>8), byte(n))
			b = append(b, message[:n]...)
			message = message[n:]
		}
		return b
	}()
	for _, tt := range []struct {
		name string
		send []byte
		want Result
	}{
		{"nothing", nil, ResultSilent},
		{"one byte", good[:1], ResultTimeout},
		{"half a ClientHello", good[:len(good)/2], ResultTimeout},
		{"a ClientHello and no more", good, ResultTimeout},
		{"garbage", bytes.Repeat([]byte{0xff}, 100), ResultMalformed},
		{"zeros", make([]byte, 100), ResultMalformed},
		{"a ClientHello of zeros", []byte("\x16\x03\x01\x00\x08\x01\x00\x00\x04\x00\x00\x00\x00"), ResultMalformed},
		{"plain HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), ResultHTTP},
		{"SSH", []byte("SSH-2.0-x\r\n"), ResultMalformed},
		{"a huge ClientHello", huge, ResultMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln := served(t, Config{Certs: selfSigned(t), HandshakeTimeout: 100 * time.Millisecond, Budget: NewBudget(1)})
			conn := dial(t, ln.Addr().String())
			_, _ = conn.Write(tt.send) // it may be refused before all is written
			_, _ = io.Copy(io.Discard, conn)
			awaitCount(t, ln, tt.want, 1)
			conn.Close()
			expectIdle(t, ln)
		})
	}
}

// expectIdle expects that nothing of a handshake is left.
func expectIdle(t *testing.T, ln *Listener) {
	t.Helper()
	await(t, func() bool { return ln.Stats().InFlight == 0 }, func() string { return "handshakes are in flight" })
	b := ln.cfg.Budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free != b.slots || b.begun.Len()+b.newcomer.Len() > 0 || ln.Stats().Queued != 0 {
		t.Errorf("%d of %d slots free, %d and %d wait, want all and nobody", b.free, b.slots, b.begun.Len(), b.newcomer.Len())
	}
}

// 2,000 clients hold their handshakes open, some silent, some in the middle of their ClientHello,
// some behind it. A good client is served at once with a budget of one: none of them has a slot.
func TestHalfOpenHandshakesHoldNoSlot(t *testing.T) {
	const many = 2000
	// None is cut by its deadline, however long it takes to open them all.
	ln := served(t, Config{Certs: selfSigned(t), HandshakeTimeout: 10 * hung, Budget: NewBudget(1)})
	addr := ln.Addr().String()
	good := hello{version: tls.VersionTLS12, suites: suites12, curves: []tls.CurveID{tls.X25519}}.bytes()
	pieces := [][]byte{nil, good[:20], good}
	var ended sync.WaitGroup
	var half []net.Conn
	for i := range many {
		conn := dial(t, addr)
		half = append(half, conn)
		if _, err := conn.Write(pieces[i%len(pieces)]); err != nil {
			t.Fatal(err)
		}
		ended.Go(func() { _, _ = io.Copy(io.Discard, conn); conn.Close() })
	}
	conn, err := shake(addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("handshake beside %d half open: %v", many, err)
	}
	echo(t, conn)
	await(t, func() bool { return ln.Stats().InFlight == many },
		func() string { return fmt.Sprintf("%d handshakes in flight, want all %d", ln.Stats().InFlight, many) })
	conn.Close()
	for _, conn := range half {
		conn.Close()
	}
	ended.Wait()
	await(t, func() bool {
		s := ln.Stats().Handshakes
		return s[ResultSilent]+s[ResultGone] == many
	}, func() string { return "not all are counted" })
	if got := ln.Stats().Handshakes[ResultOK]; got != 1 {
		t.Errorf("%d handshakes ok, want 1", got)
	}
	expectIdle(t, ln)
}

// A client that takes its time over the handshake is served all the same.
func TestSlowHandshakeSucceeds(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ln := served(t, Config{Certs: selfSigned(t), Budget: NewBudget(1)})
		conn := tls.Client(&dripping{dial(t, ln.Addr().String())}, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err := conn.Handshake(); err != nil {
			t.Fatalf("%s: %v", tls.VersionName(version), err)
		}
		echo(t, conn)
		s := ln.Stats()
		if s.TLS12+s.TLS13 != 1 || s.Handshakes[ResultOK] != 1 || (version == tls.VersionTLS13) != (s.TLS13 == 1) {
			t.Errorf("%s: %+v", tls.VersionName(version), s)
		}
		conn.Close()
		expectIdle(t, ln)
	}
}

// dripping writes bytes one by one.
type dripping struct{ halfCloser }

func (d *dripping) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.halfCloser.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// While all slots are taken newcomers wait, and are turned away when the wait is too long.
func TestNewcomersWaitAndAreTurnedAway(t *testing.T) {
	budget := NewBudget(1)
	ln := served(t, Config{Certs: selfSigned(t), Budget: budget, HandshakeTimeout: 400 * time.Millisecond})
	if _, ok := budget.take(hung); !ok {
		t.Fatal("no slot of an idle budget")
	}
	if conn, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		conn.Close()
		t.Error("handshake without a slot succeeded")
	}
	awaitCount(t, ln, ResultBusy, 1)

	shaken := make(chan error, 1)
	go func() {
		conn, err := shake(ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
		shaken <- err
	}()
	await(t, func() bool { return ln.Stats().Queued == 1 }, func() string { return "nobody waits" })
	budget.release()
	if err := <-shaken; err != nil {
		t.Errorf("handshake that waited: %v", err)
	}
	expectIdle(t, ln)
}

// Who leaves while its handshake waits costs no computing.
func TestWhoLeavesTheQueueIsNotServed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can tell that a client has left")
	}
	budget := NewBudget(1)
	ln := served(t, Config{Certs: selfSigned(t), Budget: budget})
	budget.take(hung)
	conn := dial(t, ln.Addr().String())
	if _, err := conn.Write(hello{version: tls.VersionTLS12, suites: suites12, curves: []tls.CurveID{tls.X25519}}.bytes()); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return ln.Stats().Queued == 1 }, func() string { return "nobody waits" })
	conn.Close()
	budget.release()
	awaitCount(t, ln, ResultGone, 1)
	expectIdle(t, ln)
}

func TestTLSOnAPlainPortIsClosed(t *testing.T) {
	ln := served(t, Config{})
	conn := dial(t, ln.Addr().String())
	if _, err := conn.Write(hello{version: tls.VersionTLS12, suites: suites12}.bytes()); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("answer = %q, want none", b)
	}
	awaitCount(t, ln, ResultTLSOnPlain, 1)
	// The byte means nothing later on.
	later := dial(t, ln.Addr().String())
	for _, piece := range []string{"x", "\x16\x03\x01"} {
		if _, err := io.WriteString(later, piece); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(piece))
		if _, err := io.ReadFull(later, b); err != nil || string(b) != piece {
			t.Errorf("echo of %q = %q, %v", piece, b, err)
		}
	}
}

func TestAlertOfTheClientIsCounted(t *testing.T) {
	ln := served(t, Config{Certs: selfSigned(t)})
	if _, err := shake(ln.Addr().String(), &tls.Config{ServerName: "localhost"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("handshake: %v, want a certificate that is not trusted", err)
	}
	awaitCount(t, ln, ResultAlert, 1)
}
