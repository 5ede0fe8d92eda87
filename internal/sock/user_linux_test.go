package sock

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestUserIsKnownOnBothSides(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, conn := range []net.Conn{client, server} {
		uid, pid, ok := User(conn)
		if !ok || uid != os.Geteuid() || pid != os.Getpid() {
			t.Errorf("User = %d, %d, %v, want %d, %d", uid, pid, ok, os.Geteuid(), os.Getpid())
		}
	}
	server.Close()
	if _, _, ok := User(server); ok {
		t.Error("a closed connection has a user")
	}
}

func TestLockIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	first, second := open(), open()
	if err := Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := Lock(second); !errors.Is(err, ErrLocked) {
		t.Errorf("Lock of a locked file = %v, want ErrLocked", err)
	}
	first.Close()
	if err := Lock(second); err != nil {
		t.Errorf("Lock once it is free: %v", err)
	}
	info, err := second.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if uid, ok := Owner(info); !ok || uid != os.Geteuid() {
		t.Errorf("Owner = %d, %v, want %d", uid, ok, os.Geteuid())
	}
	if !Writable(filepath.Dir(path)) || Writable(filepath.Join(path, "none")) {
		t.Error("Writable says the contrary")
	}
}

func TestRefusedIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	if _, err := net.Dial("unix", path); !Refused(err) {
		t.Errorf("Refused(%v) = false", err)
	}
	if _, err := net.Dial("unix", path+"x"); Refused(err) || Refused(nil) {
		t.Errorf("Refused(%v) = true", err)
	}
}
