package sock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopback are addresses that a Linux machine has without being told.
var loopback = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}

func listenOn(t *testing.T, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestDialComesFromASource(t *testing.T) {
	ln := listenOn(t, "127.0.0.1:0")
	six, noSix := net.Listen("tcp", "[::1]:0")
	if noSix == nil {
		defer six.Close()
	}
	for _, tt := range []struct {
		name    string
		sources []netip.Addr
		six     bool
		want    string
	}{
		{"none", nil, false, "127.0.0.1"},
		{"the first", loopback, false, "127.0.0.2"},
		{"of its family", append([]netip.Addr{netip.IPv6Loopback()}, loopback[1]), false, "127.0.0.3"},
		{"none of its family", []netip.Addr{netip.IPv6Loopback()}, false, "127.0.0.1"},
		{"IPv6", []netip.Addr{loopback[0], netip.IPv6Loopback()}, true, "::1"},
		{"one that is not this machine's, then one that is", []netip.Addr{netip.MustParseAddr("203.0.113.1"), loopback[0]}, false, "127.0.0.2"},
	} {
		for home, where := range map[Home]string{nil: "nowhere", newHomestead(t): "at home"} {
			t.Run(tt.name+", "+where, func(t *testing.T) {
				to := ln
				if tt.six {
					if noSix != nil {
						t.Skip(noSix)
					}
					to = six
				}
				conn, err := new(Dialer).Dial(to.Addr().String(), Request{Home: home, Timeout: time.Minute, First: []byte("x"), Sources: tt.sources})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				far, err := to.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer far.Close()
				if got := far.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().String(); got != tt.want {
					t.Errorf("the connection comes from %s, want %s", got, tt.want)
				}
			})
		}
	}
}

func TestSourceThatIsNotThisMachines(t *testing.T) {
	ln := listenOn(t, "127.0.0.1:0")
	h := newHomestead(t)
	before := descriptors(t)
	for _, home := range []Home{nil, h} {
		_, err := new(Dialer).Dial(ln.Addr().String(), Request{
			Home: home, Timeout: time.Minute, Sources: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")},
		})
		if !errors.Is(err, ErrPorts) || !strings.HasPrefix(err.Error(), "203.0.113.1: bind: ") {
			t.Errorf("Dial: %v, want %v of 203.0.113.1 at bind", err, ErrPorts)
		}
	}
	wantNoMoreThan(t, before)
}

// Where a refusal has nothing to do with the source, no other is tried.
func TestRefusalIsNoShortage(t *testing.T) {
	ln := listenOn(t, "127.0.0.1:0")
	addr := ln.Addr().String()
	ln.Close()
	for _, home := range []Home{nil, newHomestead(t)} {
		_, err := new(Dialer).Dial(addr, Request{Home: home, Timeout: time.Minute, Sources: loopback})
		if errors.Is(err, ErrPorts) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: %v, want a refusal", err)
		}
	}
}

// TestPortsRunOut has a network of its own, in which there are few ports.
func TestPortsRunOut(t *testing.T) {
	const inside = "WSPROXY_TEST_FEW_PORTS"
	if os.Getenv(inside) == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestPortsRunOut$", "-test.v")
		c.Env = append(os.Environ(), inside+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := c.CombinedOutput()
		if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
			t.Skipf("no network of its own here: %v", err)
		}
		if err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	const ports = 4 // of an odd number one is left unused
	raiseLoopback(t)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40003"), 0); err != nil {
		t.Fatal(err)
	}
	for where, home := range map[string]Home{"nowhere": nil, "at home": newHomestead(t)} {
		t.Run(where, func(t *testing.T) {
			one, other := listenOn(t, "127.0.0.1:9001"), listenOn(t, "127.0.0.1:9002")
			dial := func(to net.Listener, sources ...netip.Addr) error {
				conn, err := new(Dialer).Dial(to.Addr().String(), Request{Home: home, Timeout: time.Minute, Sources: sources})
				if err != nil {
					return err
				}
				far, err := to.Accept()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					Reset(conn) // so that nothing is left of it
					conn.Close()
					far.Close()
				})
				return nil
			}
			for _, tt := range []struct {
				name    string
				to      net.Listener
				sources []netip.Addr
				n       int    // how many connections there can be
				short   string // what the next one says
			}{
				{"the system's choice", one, nil, ports, "connect: "},
				{"one source", one, loopback[:1], ports, "127.0.0.2: connect: "},
				{"one source, another backend", other, loopback[:1], ports, "127.0.0.2: connect: "},
				{"two sources, the first without a port", one, loopback, ports, "127.0.0.2: connect: "},
				{"two sources, the first without a port, another backend", other, loopback, ports, "127.0.0.2: connect: "},
			} {
				for i := range tt.n {
					if err := dial(tt.to, tt.sources...); err != nil {
						t.Fatalf("%s: connection %d: %v", tt.name, i, err)
					}
				}
				if err := dial(tt.to, tt.sources...); !errors.Is(err, ErrPorts) || !strings.HasPrefix(err.Error(), tt.short) {
					t.Errorf("%s: %v, want %v that begins with %q", tt.name, err, ErrPorts, tt.short)
				}
			}
		})
	}
}

// raiseLoopback sets the loopback interface up, which a new network has down.
func raiseLoopback(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptors(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go has raised it, to one less than the most so that it can tell whether somebody else changes it.
	if got := Descriptors(); uint64(got) != limit.Cur || limit.Cur+1 < limit.Max {
		t.Errorf("Descriptors() = %d, want %d, which is %d or one less", got, limit.Cur, limit.Max)
	}
	ln := listenOn(t, "127.0.0.1:0")
	for _, home := range []Home{nil, newHomestead(t)} {
		conn, err := new(Dialer).Dial(ln.Addr().String(), Request{Home: home, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		n := Descriptor(conn)
		if _, err := os.Stat("/proc/self/fd/" + strconv.Itoa(n)); n < 3 || err != nil {
			t.Errorf("Descriptor = %d, %v, want one that is open", n, err)
		}
		conn.Close()
		if home != nil && Descriptor(conn) >= 0 {
			t.Errorf("Descriptor of a closed connection = %d, want none", Descriptor(conn))
		}
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if n := Descriptor(near); n >= 0 {
		t.Errorf("Descriptor of a pipe = %d, want none", n)
	}
}
