package inbound

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/sock"
)

// soon is short enough for a test, and long enough that what is there is read before.
const soon = 5 * time.Millisecond

// eventually gives way until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hung); !is(); {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("never: %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// parked waits until n connections wait without a goroutine.
func (s *server) parked(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d connections parked", n), func() bool { return s.port.Waiting() == n })
}

func TestParkedConnectionIsServedAgain(t *testing.T) {
	over(t, homes, func(t *testing.T, w way) {
		s := start(t, options{way: w, parkAfter: soon})
		c := s.dial(t)
		s.parked(t, 1) // before its first request, too
		for i := range 5 {
			request := fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", i)
			if i%2 == 0 {
				c.send(request)
			} else {
				c.send(request[:1]) // which ends the parking
				s.parked(t, 0)
				c.send(request[1:])
			}
			c.want(fmt.Sprintf("POST /%d hello", i))
			s.parked(t, 1)
		}
	})
}

// Requests that come while a connection parks are answered, whoever wins.
func TestNothingIsLostWhileParking(t *testing.T) {
	over(t, homes, func(t *testing.T, w way) {
		s := start(t, options{way: w, parkAfter: 100 * time.Microsecond})
		var clients sync.WaitGroup
		for range 8 {
			c := s.dial(t)
			clients.Go(func() {
				for i := range 200 {
					want := fmt.Sprintf("GET /%d ", i)
					if _, err := fmt.Fprintf(c.Conn, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\nGET /%da HTTP/1.1\r\nHost: a\r\n\r\n", i, i); err != nil {
						t.Error(err)
						return
					}
					for _, want := range []string{want, strings.TrimSuffix(want, " ") + "a "} {
						c.want(want)
					}
					for range i % 7 * 100 {
						runtime.Gosched() // so that the next one comes sooner or later than it parks
					}
				}
			})
		}
		clients.Wait()
	})
}

func TestParkedConnectionsEnd(t *testing.T) {
	over(t, homes, func(t *testing.T, w way) {
		t.Run("by KeepAlive", func(t *testing.T) {
			s := start(t, options{way: w, parkAfter: soon, config: func(c *Config) { c.KeepAlive = 10 * soon }})
			c := s.dial(t)
			c.send(get)
			c.want("GET / ")
			if rest := c.rest(); rest != "" {
				t.Errorf("behind the answer %q, want the end", rest)
			}
			s.parked(t, 0)
		})
		t.Run("by HeaderTimeout", func(t *testing.T) {
			s := start(t, options{way: w, parkAfter: soon, config: func(c *Config) { c.HeaderTimeout = 10 * soon }})
			if rest := s.dial(t).rest(); rest != "" {
				t.Errorf("got %q, want the end", rest)
			}
			s.parked(t, 0)
		})
		t.Run("by Stop", func(t *testing.T) {
			s := start(t, options{way: w, parkAfter: soon, config: func(c *Config) { c.KeepAlive = -1 }})
			var conns []*client
			for range 5 {
				c := s.dial(t)
				c.send(get)
				c.want("GET / ")
				conns = append(conns, c)
			}
			s.parked(t, len(conns))
			s.port.Stop()
			s.port.Stop()
			for _, c := range conns {
				if rest := c.rest(); rest != "" {
					t.Errorf("behind the answer %q, want the end", rest)
				}
			}
			// One that would park from now on is closed.
			c := s.dial(t)
			c.send(get)
			c.want("GET / ")
			if rest := c.rest(); rest != "" {
				t.Errorf("behind the answer %q, want the end", rest)
			}
		})
		for _, l := range leaves[:2] {
			t.Run("by the client, "+l.name, func(t *testing.T) {
				s := start(t, options{way: w, parkAfter: soon})
				c := s.dial(t)
				s.parked(t, 1)
				l.end(c.Conn)
				s.parked(t, 0)
			})
		}
	})
}

// Where there is no loop a connection waits with its goroutine, and no longer.
func TestWaitWithoutAHome(t *testing.T) {
	over(t, ways[2:], func(t *testing.T, w way) {
		s := start(t, options{way: w, parkAfter: soon, config: func(c *Config) { c.KeepAlive = 10 * soon }})
		c := s.dial(t)
		c.send(get)
		c.want("GET / ")
		if rest := c.rest(); rest != "" {
			t.Errorf("behind the answer %q, want the end", rest)
		}
		if n := s.port.Waiting(); n != 0 {
			t.Errorf("%d connections parked, want none", n)
		}
	})
}

// A parked connection costs no goroutine, and little memory.
func TestParkedConnectionsAreCheap(t *testing.T) {
	const conns = 500
	over(t, homes, func(t *testing.T, w way) {
		s := start(t, options{way: w, parkAfter: soon, config: func(c *Config) { c.KeepAlive, c.HeaderTimeout = -1, -1 }})
		dial := func(n int) (open []net.Conn) {
			for range n {
				c, err := s.tryDial()
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(hung))
				(&client{Conn: c, br: bufio.NewReader(c), t: t}).exchange(get, "GET / ")
				if over, ok := c.(interface{ NetConn() net.Conn }); ok {
					c = over.NetConn() // so that the client's side of TLS is not counted
				}
				open = append(open, c)
				t.Cleanup(func() { c.Close() })
			}
			return open
		}
		warm := dial(10)
		s.parked(t, len(warm))
		goroutines, heap := runtime.NumGoroutine(), heapInUse()
		open := dial(conns)
		s.parked(t, len(warm)+conns)
		eventually(t, "no goroutine for what is parked", func() bool { return runtime.NumGoroutine() <= goroutines+10 })
		each := (heapInUse() - heap) / conns
		t.Logf("%d bytes of heap for each of %d parked connections, the client's socket included", each, conns)
		if each > 4<<10 {
			t.Errorf("%d bytes for a parked connection, want 4 KiB at most", each)
		}
		runtime.KeepAlive(open)
	})
}

func heapInUse() int64 {
	for range 3 { // pools are emptied by the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Whatever clients do, nothing is left behind.
func TestChurnLeavesNothing(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("needs /proc/self/fd to count descriptors")
	}
	t.Run("what fasthttp starts with its first error, and keeps", func(t *testing.T) {
		c := start(t, options{}).dial(t)
		c.send("no request\r\n\r\n")
		c.rest()
	})
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	t.Run("churn", func(t *testing.T) {
		over(t, ways, func(t *testing.T, w way) {
			s := start(t, options{way: w, parkAfter: time.Millisecond, handle: func(c *Conn, ctx *fasthttp.RequestCtx) {
				c.Attend(told(func() {}))
				defer c.Unattend()
				echo(c, ctx)
			}})
			var clients sync.WaitGroup
			for worker := range 4 {
				clients.Go(func() {
					for i := range 30 {
						c, err := s.tryDial()
						if err != nil {
							t.Error(err)
							return
						}
						_ = c.SetDeadline(time.Now().Add(hung))
						text := []string{"", "\r\n", "GET / HT", "x\r\n\r\n", get, get + get[:9], stream, stream[:100]}[(i+worker)%8]
						_, _ = io.WriteString(c, text)
						if i%3 == 0 && strings.Contains(text, get) {
							_, _ = c.Read(make([]byte, 10))
						}
						if i%2 == 0 {
							sock.Cut(c)
						} else {
							c.Close()
						}
					}
				})
			}
			clients.Wait()
			s.stop()
			if n := s.port.Waiting(); n != 0 {
				t.Errorf("%d connections wait at the end, want none", n)
			}
		})
	})
	eventually(t, fmt.Sprintf("%d goroutines and %d descriptors again", goroutines, descriptors), func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors() <= descriptors
	})
}

func countDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
