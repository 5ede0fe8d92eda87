package sock

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// under is what a *tls.Conn is to this package: a connection over another, that takes leave before
// it closes it.
type under struct{ net.Conn }

func (c under) NetConn() net.Conn { return c.Conn }

func (c under) Close() error {
	_, _ = c.Write([]byte("leave"))
	return c.Conn.Close()
}

func TestCutResetsWithoutTakingLeave(t *testing.T) {
	near, far := pair(t)
	Cut(under{near})
	if got, err := io.ReadAll(far); len(got) != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("received %q, %v; want a reset alone", got, err)
	}
}

func TestCloseNowTakesLeaveIfThereIsRoom(t *testing.T) {
	near, far := pair(t)
	CloseNow(under{near})
	if got, err := io.ReadAll(far); string(got) != "leave" || err != nil {
		t.Errorf("received %q, %v; want leave taken and an orderly end", got, err)
	}

	near, far = pair(t)
	sent := make([]byte, 32<<20)
	go func() { _, _ = near.Write(sent) }() // until CloseNow ends it
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for unsent(near) == 0 {
		// The far side reads no more, so bytes pile up.
	}
	CloseNow(under{near})
	got, err := io.ReadAll(far)
	if err != nil || 1+len(got) >= len(sent) {
		t.Errorf("received %d bytes, %v; want a part of %d and an orderly end", 1+len(got), err, len(sent))
	}
	for _, b := range got {
		if b != 0 {
			t.Fatal("leave was taken of a connection without room for it")
		}
	}
}

func TestAckedGrowsWithWhatTheOtherSideHas(t *testing.T) {
	near, far := pair(t)
	before := Acked(near)
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for Acked(near) < before+5 {
		// The acknowledgement is on its way.
	}
	near.Close()
	if got := Acked(near); got != 0 {
		t.Errorf("Acked of a closed connection = %d, want 0", got)
	}
}
