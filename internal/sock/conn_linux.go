package sock

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Home is where Conns live: a loop with a Poller, which waits for them.
type Home interface {
	// Settle makes a Conn and its socket known. The Conn is told what happens to the socket from Watch
	// on, until it leaves.
	Settle(c *Conn, s Socket)

	// Watch watches a socket that has settled. writes says whether room for writing is to be told, too.
	Watch(s Socket, writes bool) error

	// WatchWrites has room for writing told as well, at once if there is some.
	WatchWrites(s Socket)

	// Leave forgets a socket that is about to be closed, Depart one that is not and may be watched.
	Leave(s Socket)
	Depart(s Socket, watched bool) error
}

// Conn is a connection whose socket a Home waits for: a net.Conn for code that blocks, until its
// socket is given away to be read without blocking by the loop that has waited for it all along.
// Neither costs a system call more than reading and writing do.
//
// One goroutine may read while another writes; the other methods may be called from any. Errors are
// bare: os.ErrDeadlineExceeded, net.ErrClosed, io.EOF or what the system said.
type Conn struct {
	// Fixed at creation.
	home   Home
	remote netip.AddrPort

	socket Socket // valid while acquire says so

	// Changed from anywhere.
	users  atomic.Int32  // twice the calls that use the socket, and 1 once it is closed or given away
	events atomic.Uint32 // what has happened and has not been made use of

	watching sync.Mutex  // held to change what follows
	watched  atomic.Bool // home tells what happens
	writes   atomic.Bool // and of room for writing, too

	in, out gate

	alarm atomic.Pointer[func()] // of OnReadable
}

// Bits of Conn.events.
const (
	readable = 1 << iota
	writable
	ended // with readable: behind what there is to read there is an end or an error
	shut  // the Conn is closed, or its home is
)

// newConn makes a Conn that is not watched yet.
func newConn(home Home, s Socket, remote netip.AddrPort) *Conn {
	c := &Conn{home: home, remote: remote, socket: s}
	home.Settle(c, s)
	return c
}

// Watch has the home tell what happens from now on, and what has happened already: that the other side
// has gone, for one. Waiting does so by itself, when there is something to wait for: what a client
// sends at once is often there when its connection is accepted, and costs no wake-up then.
func (c *Conn) Watch() error {
	if c.watched.Load() {
		return nil
	}
	if !c.acquire() {
		return net.ErrClosed
	}
	defer c.release()
	c.watching.Lock()
	defer c.watching.Unlock()
	if c.watched.Load() {
		return nil
	}
	if err := c.home.Watch(c.socket, c.writes.Load()); err != nil {
		return err
	}
	c.watched.Store(true)
	return nil
}

// watchWrites is Watch for room as well; the socket is acquired.
func (c *Conn) watchWrites() error {
	if c.writes.Load() {
		return nil
	}
	c.watching.Lock()
	defer c.watching.Unlock()
	if c.writes.Swap(true) {
		return nil
	}
	if c.watched.Load() {
		c.home.WatchWrites(c.socket)
		return nil
	}
	if err := c.home.Watch(c.socket, true); err != nil {
		return err
	}
	c.watched.Store(true)
	return nil
}

// Happened is the home's word of an event.
func (c *Conn) Happened(e Event) {
	var bits uint32
	if e.Readable {
		bits |= readable
	}
	if e.Writable {
		bits |= writable
	}
	if e.Ended {
		bits |= ended
	}
	c.tell(bits)
}

// Orphan is the home's word that it can wait for the Conn no more.
func (c *Conn) Orphan() { c.tell(shut) }

func (c *Conn) tell(bits uint32) {
	c.events.Or(bits)
	if bits&(readable|shut) != 0 {
		c.in.wake()
		c.ring()
	}
	if bits&(writable|shut) != 0 {
		c.out.wake()
	}
}

// acquire keeps the socket open until release, if it is.
func (c *Conn) acquire() bool {
	for {
		n := c.users.Load()
		if n&1 != 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+2) {
			return true
		}
	}
}

func (c *Conn) release() {
	if c.users.Add(-2) == 1 {
		c.close()
	}
}

// retire lets nobody acquire the socket any more, and reports whether that is new. unused says that
// nobody has it: what is to become of it is the caller's to do, else of the last who has.
func (c *Conn) retire() (first, unused bool) {
	for {
		n := c.users.Load()
		if n&1 != 0 {
			return false, false
		}
		if c.users.CompareAndSwap(n, n|1) {
			return true, n == 0
		}
	}
}

func (c *Conn) close() {
	c.home.Leave(c.socket) // first: the next socket may have the same number
	c.socket.Close()
}

// Read waits for the first byte, an end or the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // the system would answer as at an end
	}
	for {
		if passed, _ := expired(c.in.deadline.Load()); passed {
			return 0, os.ErrDeadlineExceeded
		}
		if c.watched.Load() && c.events.Load()&readable == 0 {
			if err := c.await(&c.in, readable); err != nil {
				return 0, err
			}
		}
		n, err := c.TryRead(p)
		if err == ErrAgain {
			if err := c.Watch(); err != nil {
				return 0, err
			}
			continue
		}
		return n, err
	}
}

// TryRead reads what is there, whatever deadline there is, and gives ErrAgain where Read would wait.
func (c *Conn) TryRead(p []byte) (int, error) {
	if !c.acquire() {
		return 0, net.ErrClosed
	}
	defer c.release()
	// Before the read, so that what comes behind it is not missed.
	seen := c.events.And(^uint32(readable))
	n, err := c.socket.Read(p)
	switch {
	case err == ErrAgain && seen&shut != 0:
		return 0, net.ErrClosed // nobody would say when there is more
	case err != ErrAgain && (err != nil || n == len(p) || seen&ended != 0):
		c.events.Or(readable)
	}
	return n, err
}

// Write waits until all of p has been taken.
func (c *Conn) Write(p []byte) (written int, err error) {
	for {
		if passed, _ := expired(c.out.deadline.Load()); passed {
			return written, os.ErrDeadlineExceeded
		}
		if !c.acquire() {
			return written, net.ErrClosed
		}
		c.events.And(^uint32(writable))
		n, err := c.socket.Write(p[written:])
		written += n
		if err == ErrAgain {
			if watchErr := c.watchWrites(); watchErr != nil {
				err = watchErr
			}
		}
		c.release()
		if err != ErrAgain {
			return written, err
		}
		if err := c.await(&c.out, writable); err != nil {
			return written, err
		}
	}
}

// TryWrite writes what there is room for, whatever deadline there is, and gives ErrAgain where Write would
// wait for more.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if !c.acquire() {
		return 0, net.ErrClosed
	}
	defer c.release()
	return c.socket.Write(p)
}

// CloseWrite ends what goes to the other side.
func (c *Conn) CloseWrite() error {
	if !c.acquire() {
		return net.ErrClosed
	}
	defer c.release()
	c.socket.CloseWrite()
	return nil
}

// Close closes the connection; calls that wait return. What has been written still arrives.
func (c *Conn) Close() error {
	first, unused := c.retire()
	if !first {
		return net.ErrClosed
	}
	if unused {
		c.close()
	}
	c.tell(shut)
	return nil
}

// Give gives the socket to the caller, who owns it and what its home still says of it: the Conn is
// closed. It must not be in use.
func (c *Conn) Give() (Socket, error) {
	first, unused := c.retire()
	if !first {
		return Socket{}, net.ErrClosed
	}
	if !unused {
		panic("sock: connection given away while it is used")
	}
	return c.socket, nil
}

// Home is where the Conn lives.
func (c *Conn) Home() Home { return c.home }

// Watched reports whether the home tells what happens, and whether of room for writing, too.
func (c *Conn) Watched() (events, writes bool) { return c.watched.Load(), c.writes.Load() }

// Pending is what has happened and has not been made use of.
func (c *Conn) Pending() Event {
	seen := c.events.Load()
	return Event{Readable: seen&readable != 0, Writable: seen&writable != 0, Ended: seen&ended != 0}
}

// LocalAddr is the address of this side, nil when the system does not say.
func (c *Conn) LocalAddr() net.Addr {
	if !c.acquire() {
		return nil
	}
	defer c.release()
	sa, err := syscall.Getsockname(int(c.socket.fd - 1))
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(addrPort(sa))
}

// RemoteAddr is the address of the other side.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline bounds reads and writes, those that wait already included; the zero time takes the
// bound away.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.bound(&c.in, t) }

// SetWriteDeadline bounds writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.bound(&c.out, t) }

func (c *Conn) bound(g *gate, t time.Time) error {
	deadline := int64(0)
	if !t.IsZero() {
		deadline = clock(t)
	}
	g.deadline.Store(deadline)
	g.wake()
	if c.users.Load()&1 != 0 {
		return net.ErrClosed
	}
	return nil
}

// SetLinger is that of *net.TCPConn: with 0 Close sends a reset.
func (c *Conn) SetLinger(sec int) error {
	if !c.acquire() {
		return net.ErrClosed
	}
	defer c.release()
	l := unix.Linger{Onoff: 1, Linger: int32(sec)}
	if sec < 0 {
		l = unix.Linger{}
	}
	return unix.SetsockoptLinger(int(c.socket.fd-1), unix.SOL_SOCKET, unix.SO_LINGER, &l)
}

// SyscallConn gives the descriptor for system calls of other kinds than reading and writing.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

type rawConn struct{ c *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	if !r.c.acquire() {
		return net.ErrClosed
	}
	defer r.c.release()
	f(uintptr(r.c.socket.fd - 1))
	return nil
}

func (rawConn) Read(func(fd uintptr) bool) error { return syscall.ENOTSUP }

func (rawConn) Write(func(fd uintptr) bool) error { return syscall.ENOTSUP }

// addrPort is a socket's address; the zero value for one that is neither IPv4 nor IPv6.
func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && addr.Is6() {
			if ifi, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				addr = addr.WithZone(ifi.Name)
			}
		}
		return netip.AddrPortFrom(addr, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
