package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// taken is a socket and the connection at its other side.
func taken(t *testing.T) (s *Socket, far *net.TCPConn) {
	t.Helper()
	near, far := pair(t)
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	socket, err := Take(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &socket, far
}

// await reads from a socket until something is there.
func await(t *testing.T, s *Socket, p []byte) (int, error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if n, err := s.Read(p); err != ErrAgain {
			return n, err
		}
	}
	t.Fatal("nothing has come")
	return 0, nil
}

// descriptors is how many the process has of each file. A resolver gives its own back when it likes, in a
// later test even: the number of all says nothing.
func descriptors(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]int)
	for _, entry := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil { // but for the folder's own
			have[file]++
		}
	}
	return have
}

// wantNoMoreThan fails the test if there are descriptors that were not there before.
func wantNoMoreThan(t *testing.T, before map[string]int) {
	t.Helper()
	for file, n := range descriptors(t) {
		if n > before[file] {
			t.Errorf("%d descriptors of %s, want %d as before", n, file, before[file])
		}
	}
}

func TestTakenSocketLivesOnUnseen(t *testing.T) {
	near, far := pair(t)
	if _, err := far.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	s, err := Take(near)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantNoMoreThan(t, before)
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to the connection: %v, want it closed", err)
	}
	if flags, err := unix.FcntlInt(uintptr(s.fd-1), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v; want close-on-exec", flags, err)
	}
	if Gone(far) {
		t.Error("the other side has seen an end")
	}
	got := make([]byte, 64)
	if n, err := await(t, &s, got); string(got[:n]) != "before" || err != nil {
		t.Errorf("Read = %q, %v; want what was sent before", got[:n], err)
	}
	if n, err := s.Write([]byte("after")); n != 5 || err != nil {
		t.Errorf("Write = %d, %v; want 5, nil", n, err)
	}
	if _, err := io.ReadFull(far, got[:5]); string(got[:5]) != "after" || err != nil {
		t.Errorf("the other side received %q, %v; want after", got[:5], err)
	}
}

func TestTakeOfAClosedConnection(t *testing.T) {
	near, _ := pair(t)
	near.Close()
	before := descriptors(t)
	if s, err := Take(near); !errors.Is(err, net.ErrClosed) || s.Open() {
		t.Errorf("Take = open %v, %v; want %v", s.Open(), err, net.ErrClosed)
	}
	pipe, _ := net.Pipe()
	if s, err := Take(pipe); err == nil || s.Open() {
		t.Errorf("Take of a pipe = open %v, %v; want an error", s.Open(), err)
	}
	wantNoMoreThan(t, before)
}

func TestSocketReads(t *testing.T) {
	s, far := taken(t)
	p := make([]byte, 64)
	if n, err := s.Read(p); n != 0 || err != ErrAgain {
		t.Errorf("Read with nothing there = %d, %v; want 0, ErrAgain", n, err)
	}
	if _, err := far.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()
	if n, err := await(t, s, p); string(p[:n]) != "last" || err != nil {
		t.Errorf("Read = %q, %v; want last, nil", p[:n], err)
	}
	for range 2 {
		if n, err := await(t, s, p); n != 0 || err != io.EOF {
			t.Errorf("Read at the end = %d, %v; want 0, EOF", n, err)
		}
	}

	s, far = taken(t)
	Cut(far)
	if n, err := await(t, s, p); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read after a reset = %d, %v; want 0, ECONNRESET", n, err)
	}
	if n, err := s.Write(p); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after a reset = %d, %v; want 0, EPIPE and no signal", n, err)
	}
}

func TestSocketWritesWhatThereIsRoomFor(t *testing.T) {
	s, far := taken(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	n, err := s.Write(sent)
	if n == 0 || n >= len(sent) || err != ErrAgain {
		t.Fatalf("Write = %d of %d, %v; want a part and ErrAgain", n, len(sent), err)
	}
	if more, err := s.Write(sent[n:]); err != ErrAgain {
		t.Errorf("Write again = %d, %v; want ErrAgain", more, err)
	} else {
		n += more
	}
	s.CloseWrite()
	if got, err := io.ReadAll(far); !bytes.Equal(got, sent[:n]) || err != nil {
		t.Errorf("the other side received %d bytes, %v; want the %d written, then an orderly end", len(got), err, n)
	}
}

func TestSocketEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(s *Socket)
		want error // of the other side's reads, behind what was written
		open bool
	}{
		{"CloseWrite", func(s *Socket) { s.CloseWrite() }, nil, true},
		{"Close", (*Socket).Close, nil, false},
		{"Reset", (*Socket).Reset, syscall.ECONNRESET, false},
	}
	for _, tt := range tests {
		s, far := taken(t)
		if _, err := s.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(far, got); err != nil {
			t.Fatal(err)
		}
		tt.end(s)
		if rest, err := io.ReadAll(far); len(rest) != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: the other side received %q, %v; want %v", tt.name, rest, err, tt.want)
		}
		if got := s.Open(); got != tt.open {
			t.Errorf("%s: Open = %v, want %v", tt.name, got, tt.open)
		}
	}
}

// A second Close must not close the descriptor of somebody else.
func TestSocketClosesOnce(t *testing.T) {
	for name, end := range map[string]func(*Socket){"Close": (*Socket).Close, "Reset": (*Socket).Reset} {
		s, _ := taken(t)
		number := int(s.fd - 1)
		end(s)
		other, _ := taken(t)
		if got := int(other.fd - 1); got > number {
			t.Logf("%s: descriptor %d is not used again, but %d", name, number, got)
		}
		s.Close()
		s.Reset()
		if _, err := unix.FcntlInt(uintptr(other.fd-1), unix.F_GETFD, 0); err != nil {
			t.Errorf("%s: a second one closed another socket: %v", name, err)
		}
	}
	var none Socket
	none.Close()
	none.Reset()
	if none.Open() {
		t.Error("the zero Socket is open")
	}
}

func TestSocketsAckedGrows(t *testing.T) {
	s, far := taken(t)
	before := s.Acked()
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for s.Acked() < before+5 {
		// The acknowledgement is on its way.
	}
	s.Close()
	if got := s.Acked(); got != 0 {
		t.Errorf("Acked of a closed socket = %d, want 0", got)
	}
}
