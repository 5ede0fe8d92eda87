package forward

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever clients and backends do, nothing is left behind.
func TestChurnLeavesNothing(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("needs /proc/self/fd to count descriptors")
	}
	t.Run("what fasthttp starts with its first error, and keeps", func(t *testing.T) {
		startProxy(t, proxyOptions{}).exchange(t, "no request\r\n\r\n")
	})
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	t.Run("churn", func(t *testing.T) {
		backend := rawBackend(t, func(c *rawConn) {
			for {
				h, err := c.readHead()
				if err != nil {
					return
				}
				switch {
				case strings.HasPrefix(h, "GET /cut"):
					_ = c.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
					return
				case strings.HasPrefix(h, "GET /none"):
					return
				case strings.HasPrefix(h, "GET /endless"):
					if c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") != nil {
						return
					}
					for c.send("1\r\nx\r\n") == nil {
					}
					return
				case strings.HasPrefix(h, "GET /silent"):
					_ = c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
					endlessly(c)
					return
				case strings.HasPrefix(h, "GET /101"):
					_ = c.send("HTTP/1.1 101 Switching Protocols\r\n\r\n")
				case strings.HasPrefix(h, "POST /early"):
					_ = c.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
				default:
					_ = answerNumber(c)
				}
			}
		})
		upload := "Host: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100000)
		overWays(t, func(t *testing.T, w way) {
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: time.Minute}}})
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					for _, request := range []string{
						"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n",
						"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
						"GET /101 HTTP/1.1\r\nHost: a\r\n\r\n", "POST /early HTTP/1.1\r\n" + upload,
						"POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
						"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n", "no request\r\n\r\n", "GET / HT",
					} {
						c, err := p.tryDial()
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.WriteString(c, request)
						if request != "GET / HT" {
							_, _ = c.Read(make([]byte, 100))
						}
						c.Close()
					}
					// Clients that go away before there is an answer.
					for _, end := range []func(net.Conn){cut, func(c net.Conn) { c.Close() }} {
						c, err := p.tryDial()
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.WriteString(c, "POST / HTTP/1.1\r\n"+upload)
						end(c)
					}
				})
			}
			clients.Wait()
			p.stop()
		})
	})
	// The last goroutines are past what anybody can wait for: give way until they have returned.
	deadline := time.Now().Add(30 * time.Second)
	for runtime.NumGoroutine() > goroutines || countDescriptors() > descriptors {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("%d goroutines and %d descriptors, want %d and %d\n%s",
				runtime.NumGoroutine(), countDescriptors(), goroutines, descriptors, stacks)
		}
		runtime.Gosched()
	}
}

func countDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
