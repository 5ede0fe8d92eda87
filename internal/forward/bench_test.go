package forward

import (
	"io"
	"net"
	"testing"
)

// BenchmarkForward is a small request and its answer over kept connections, one after the other. Client
// and backend, which take part in the time, allocate nothing.
func BenchmarkForward(b *testing.B) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
	for _, w := range ways[:2] {
		b.Run(w.name, func(b *testing.B) {
			backend := rawBackend(b, func(c *rawConn) {
				buf := make([]byte, 4096)
				for {
					if _, err := c.Conn.Read(buf); err != nil {
						return
					}
					if _, err := io.WriteString(c.Conn, answer); err != nil {
						return
					}
				}
			})
			p := startProxy(b, proxyOptions{way: w, to: To{Backend: at(backend)}})
			c := p.dial(b)
			request, buf := []byte("GET /index.html HTTP/1.1\r\nHost: site.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"), make([]byte, len(answer))
			b.ReportAllocs()
			for b.Loop() {
				if err := roundTrip(c.Conn, request, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func roundTrip(c net.Conn, request, answer []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	_, err := io.ReadFull(c, answer)
	return err
}
