package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialAt(t *testing.T) {
	h := newHomestead(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, first := range []string{"", "hello"} {
		conn, err := new(Dialer).Dial(ln.Addr().String(), Request{Home: h, Timeout: 30 * time.Second, First: []byte(first)})
		if err != nil {
			t.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got, err := io.ReadAll(far); string(got) != first {
			t.Errorf("the far end has %q, %v, want %q", got, err, first)
		}
		far.Close()
	}
}

func TestDialAtIsRefused(t *testing.T) {
	h := newHomestead(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	before := descriptors(t)
	for _, first := range []string{"", "hello"} {
		if conn, err := new(Dialer).Dial(addr, Request{Home: h, Timeout: 30 * time.Second, First: []byte(first)}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial(%s) = %v, %v, want a refusal", addr, conn, err)
		}
	}
	wantNoMoreThan(t, before)
}

// A socket with the port that it connects to talks to itself; the system would give it that one by chance.
func TestConnectToItselfIsNoticed(t *testing.T) {
	for _, tt := range []struct {
		name string
		to   netip.AddrPort // port 0 stands for the socket's own
		want bool
	}{
		{"itself", netip.MustParseAddrPort("127.0.0.1:0"), true},
		{"itself, mapped", netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"), true},
		{"itself by any address", netip.MustParseAddrPort("0.0.0.0:0"), true},
		{"its port elsewhere", netip.MustParseAddrPort("127.0.0.2:0"), false},
		{"another port", netip.MustParseAddrPort("127.0.0.1:1"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
			sa, err := syscall.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			to := tt.to
			if to.Port() == 0 {
				to = netip.AddrPortFrom(to.Addr(), addrPort(sa).Port())
			}
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().Unmap().As4(), Port: int(to.Port())})
			if tt.want != (err == nil) {
				t.Fatalf("connect to %s: %v", to, err)
			}
			if got := connectsToItself(fd, to); got != tt.want {
				t.Errorf("connectsToItself(%s) = %v, want %v", to, got, tt.want)
			}
		})
	}
}

// A listener whose queue is full answers nobody.
func TestDialAtTimesOut(t *testing.T) {
	h := newHomestead(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := addrPort(sa).String()
	for range 100 {
		conn, err := new(Dialer).Dial(addr, Request{Home: h, Timeout: 50 * time.Millisecond})
		if err != nil {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("Dial(%s): %v, want a timeout", addr, err)
			}
			return
		}
		defer conn.Close()
	}
	t.Error("a full queue has taken a hundred connections")
}

func TestHomeThatRefusesToWatch(t *testing.T) {
	h := newHomestead(t)
	ln, err := Listen("127.0.0.1:0", func() Home { return h })
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h.mu.Lock()
	h.refuses = true
	h.mu.Unlock()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errFull) {
		t.Errorf("Read = %d, %v, want none and %v", n, err, errFull)
	}
	conn.Close()
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	if n, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the far end has read %d bytes, %v, want an end", n, err)
	}
	if conn, err := new(Dialer).Dial(far.RemoteAddr().String(), Request{Home: h, Timeout: time.Second, First: []byte("x")}); conn != nil || !errors.Is(err, errFull) {
		t.Errorf("Dial = %v, %v, want nil and %v", conn, err, errFull)
	}
}
