package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// idle makes n connections over which 20 KB have passed each way, with all ends blocked in a read of
// few bytes, and returns the heap that one end takes.
func idle(t testing.TB, n int, pair func() (a, b net.Conn)) (perEnd uint64) {
	heap := func() uint64 {
		for range 3 {
			runtime.GC() // pools keep what they have for two of them
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	ends := make([]net.Conn, 0, 2*n)
	for range n {
		a, b := pair()
		for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
			if _, err := way[0].Write(make([]byte, 20<<10)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], make([]byte, 20<<10)); err != nil {
				t.Fatal(err)
			}
		}
		ends = append(ends, a, b)
	}
	var blocked, returned sync.WaitGroup
	for _, end := range ends {
		blocked.Add(1)
		returned.Go(func() {
			var room [64]byte
			blocked.Done()
			_, _ = end.Read(room[:])
		})
	}
	blocked.Wait()
	perEnd = (heap() - before) / uint64(len(ends))
	for _, end := range ends {
		end.Close()
	}
	returned.Wait()
	return perEnd
}

// idlePairs are connections as idle wants them.
func idlePairs(t testing.TB) map[string]func() (a, b net.Conn) {
	return map[string]func() (a, b net.Conn){
		"TCP":     func() (a, b net.Conn) { return tcpPair(t) },
		"records": func() (a, b net.Conn) { return ourPair(t) },
		"crypto/tls": func() (a, b net.Conn) {
			near, far := tcpPair(t)
			server, client := tls.Server(near, serverTLS()), tls.Client(far, clientTLS())
			shaken := make(chan error, 1)
			go func() { shaken <- server.Handshake() }()
			if err := errors.Join(client.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			return server, client
		},
	}
}

func TestIdleConnectionIsSmall(t *testing.T) {
	const most = 3 << 10 // with a TCPConn, and what this test keeps of one
	if got := idle(t, 50, idlePairs(t)["records"]); got > most {
		t.Errorf("an idle connection takes %d bytes of heap, want %d at most", got, most)
	}
}

// BenchmarkIdle measures memory; what it leaves out is goroutines' stacks. What the others have beyond
// TCP's is theirs.
func BenchmarkIdle(b *testing.B) {
	for name, pair := range idlePairs(b) {
		b.Run(name, func(b *testing.B) {
			idle(b, 200, pair) // goroutines are kept for the next ones
			for b.Loop() {
				b.ReportMetric(float64(idle(b, 200, pair)), "B/conn")
			}
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	for name, pair := range map[string]func() (halfCloser, halfCloser){
		"records": func() (halfCloser, halfCloser) { return ourPair(b) },
		"crypto/tls": func() (halfCloser, halfCloser) {
			near, far := tcpPair(b)
			return tls.Server(near, serverTLS()), tls.Client(far, clientTLS())
		},
	} {
		for size, label := range map[int]string{128: "128", 16384: "16384"} {
			b.Run(name+"/"+label, func(b *testing.B) {
				server, client := pair()
				_ = client.SetDeadline(time.Time{})
				_ = server.SetDeadline(time.Time{})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					room := make([]byte, 32<<10)
					for {
						n, err := server.Read(room)
						if err != nil {
							return
						}
						if _, err := server.Write(room[:n]); err != nil {
							return
						}
					}
				}()
				data, back := make([]byte, size), make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := client.Write(data); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(client, back); err != nil {
						b.Fatal(err)
					}
				}
				client.Close()
				<-ended
			})
		}
	}
}
