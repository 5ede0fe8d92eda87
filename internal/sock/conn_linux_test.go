package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConnReadsInPiecesUpToTheEnd(t *testing.T) {
	c, far := newHomestead(t).accepted()
	for _, size := range []int{1, 3, 100} { // a byte at a time, a part, and more than there is
		if _, err := far.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got, buf := []byte(nil), make([]byte, size)
		for len(got) < 5 {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if string(got) != "hello" {
			t.Errorf("read %q, want hello", got)
		}
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v, want nothing", n, err)
	}
	if _, err := far.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "last" || err != nil {
		t.Errorf("read %q, %v behind the end, want last", got, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("another Read: %v, want EOF", err)
	}
	if !Gone(c) {
		t.Error("a client that has half-closed has not gone")
	}
}

func TestConnIsTheSameAsWhatWasWritten(t *testing.T) {
	c, far := newHomestead(t).accepted()
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	sent := make(chan error, 1)
	go func() {
		n, err := c.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		_ = c.CloseWrite()
		sent <- err
	}()
	waits(t, &c.out)
	got, err := io.ReadAll(far)
	if err := errors.Join(err, soon(t, sent)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came, %v, and not as they were written", len(got), len(want), err)
	}
}

func TestConnDeadlines(t *testing.T) {
	for name, way := range map[string]struct {
		call func(*Conn) <-chan error
		gate func(*Conn) *gate
		set  func(*Conn, time.Time) error
	}{
		"read":  {(*Conn).reading, func(c *Conn) *gate { return &c.in }, (*Conn).SetReadDeadline},
		"write": {(*Conn).writing, func(c *Conn) *gate { return &c.out }, (*Conn).SetWriteDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newHomestead(t).accepted()
			for _, set := range [][]time.Time{
				{time.Now().Add(-time.Second)},               // has passed
				{time.Now().Add(10 * time.Millisecond)},      // passes meanwhile
				{{}, time.Now().Add(-time.Second)},           // set while it waits for ever
				{time.Now().Add(time.Hour), time.Unix(1, 0)}, // brought forward
				{time.Now().Add(time.Hour), {}, time.Now()},  // taken away in between
			} {
				_ = way.set(c, set[0])
				got := way.call(c)
				for _, next := range set[1:] {
					waits(t, way.gate(c))
					_ = way.set(c, next)
				}
				err := soon(t, got)
				var timeout net.Error
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("deadlines %v: %v, want a timeout", set, err)
				}
			}
			// The other direction has none.
			_ = c.SetDeadline(time.Time{})
		})
	}
}

func TestConnGoesOnBehindADeadline(t *testing.T) {
	c, far := newHomestead(t).accepted()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want a timeout", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	got := c.reading()
	waits(t, &c.in)
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, got); err != nil {
		t.Errorf("Read: %v, want a byte", err)
	}
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	h := newHomestead(t)
	before := descriptors(t)
	c, far := h.accepted()
	reading, writing := c.reading(), c.writing()
	waits(t, &c.in)
	waits(t, &c.out)
	var first atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := c.Close(); err == nil {
				first.Add(1)
			} else if err != net.ErrClosed {
				t.Errorf("another Close: %v, want ErrClosed", err)
			}
		})
	}
	all.Wait()
	if n := first.Load(); n != 1 {
		t.Errorf("%d calls of Close were the first", n)
	}
	for _, call := range []<-chan error{reading, writing} {
		if err := soon(t, call); err != net.ErrClosed {
			t.Errorf("a call that waited: %v, want ErrClosed", err)
		}
	}
	if _, err := c.Give(); err != net.ErrClosed {
		t.Errorf("Give: %v, want ErrClosed", err)
	}
	if _, err := c.Write([]byte("x")); err != net.ErrClosed {
		t.Errorf("Write: %v, want ErrClosed", err)
	}
	if err := c.SetDeadline(time.Now()); err != net.ErrClosed {
		t.Errorf("SetDeadline: %v, want ErrClosed", err)
	}
	if c.LocalAddr() != nil {
		t.Error("a closed Conn has a local address")
	}
	far.Close()
	if n := h.left.Load(); n != 1 {
		t.Errorf("its home was told %d times, want once", n)
	}
	wantNoMoreThan(t, before)
}

// The socket is closed once nobody uses it: its number may be another's then.
func TestCloseLeavesTheSocketToThoseWhoUseIt(t *testing.T) {
	h := newHomestead(t)
	c, _ := h.accepted()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		c.Close()
		if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || h.left.Load() != 0 {
			t.Errorf("the socket was closed while it was used: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if h.left.Load() != 1 {
		t.Error("the socket was not closed by the last who used it")
	}
	if err := raw.Control(func(uintptr) {}); err != net.ErrClosed {
		t.Errorf("Control: %v, want ErrClosed", err)
	}
}

func TestGivenSocketLivesOn(t *testing.T) {
	h := newHomestead(t)
	c, far := h.accepted()
	if _, err := far.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(); err != nil {
		t.Fatal(err)
	}
	for !c.Pending().Readable {
		runtime.Gosched() // the home has still to tell
	}
	s, err := c.Give()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e := c.Pending(); !e.Readable || e.Ended {
		t.Errorf("pending is %+v, want readable alone", e)
	}
	if c.Close() != net.ErrClosed || h.left.Load() != 0 {
		t.Error("what was given away is closed")
	}
	buf := make([]byte, 10)
	if n, err := s.Read(buf); string(buf[:n]) != "unread" {
		t.Errorf("read %q, %v, want unread", buf[:n], err)
	}
	if _, err := s.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(buf); string(buf[:n]) != "answer" {
		t.Errorf("the far end has %q, %v, want answer", buf[:n], err)
	}
}

func TestConnIsReset(t *testing.T) {
	c, far := newHomestead(t).accepted()
	reading, writing := c.reading(), c.writing()
	waits(t, &c.in)
	waits(t, &c.out)
	Cut(far)
	for _, call := range []<-chan error{reading, writing} {
		if err := soon(t, call); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && err != io.EOF {
			t.Errorf("a call that waited: %v, want a reset", err)
		}
	}
	if !Gone(c) {
		t.Error("who has reset the connection has not gone")
	}
	_ = c.SetLinger(0)
}
