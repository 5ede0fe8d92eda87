package forward

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// clients are the kinds of connection a client may come on.
func clients(t *testing.T) []struct {
	name, scheme string
	wrap         func(net.Listener) net.Listener
} {
	return []struct {
		name, scheme string
		wrap         func(net.Listener) net.Listener
	}{
		{"tcp", "http://", nil},
		{"wrapped", "http://", plainListen},
		{"tls", "https://", func(ln net.Listener) net.Listener { return tls.NewListener(ln, tlsConfig(t)) }},
	}
}

func tlsConfig(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
}

// Each event reaches the client before the backend writes the next, and the head before the first.
func TestEventsArriveOneByOne(t *testing.T) {
	kinds := []struct {
		name string
		head string // fields that frame
		end  string
		part func(string) string
	}{
		{"chunked", "Transfer-Encoding: chunked", "0\r\n\r\n", func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }},
		{"length", "Content-Length: 24", "", func(s string) string { return s }},
		{"until close", "X: y", "", func(s string) string { return s }},
	}
	for _, client := range clients(t) {
		for _, kind := range kinds {
			t.Run(client.name+"/"+kind.name, func(t *testing.T) {
				next := make(chan struct{})
				backend := rawBackend(t, func(c *rawConn) {
					if _, err := c.readHead(); err != nil {
						return
					}
					_ = c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + kind.head + "\r\n\r\n")
					for i := range 3 {
						<-next
						_ = c.send(kind.part(fmt.Sprintf("data: %d\n", i)))
					}
					<-next
					_ = c.send(kind.end)
				})
				p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, listen: client.wrap})
				resp, err := httpClient(t).Get(client.scheme + p.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body := bufio.NewReader(resp.Body)
				for i := range 3 {
					next <- struct{}{}
					line, err := body.ReadString('\n')
					if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
						t.Errorf("event %d is %q, %v, want %q", i, line, err, want)
					}
				}
				next <- struct{}{}
				if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
					t.Errorf("behind the events %q, %v, want their end", rest, err)
				}
			})
		}
	}
}

// pattern is bulk data that both sides can make.
func pattern() io.Reader { return mathrand.NewChaCha8([32]byte{}) }

const bulk = 100 << 20

func sum(t *testing.T, r io.Reader) [sha256.Size]byte {
	t.Helper()
	h := sha256.New()
	if n, err := io.Copy(h, r); n != bulk || err != nil {
		t.Errorf("read %d bytes, %v, want %d", n, err, bulk)
	}
	return digest(h)
}

func digest(h hash.Hash) (d [sha256.Size]byte) {
	h.Sum(d[:0])
	return d
}

func TestBulkInConstantMemory(t *testing.T) {
	want := sum(t, io.LimitReader(pattern(), bulk))
	seen := make(chan [sha256.Size]byte, 1)
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(bulk))
			}
			io.Copy(w, io.LimitReader(pattern(), bulk))
			return
		}
		seen <- sum(t, r.Body)
	})
	tests := []struct {
		name, method string
		length       int64
		path         string
	}{
		{"download with a length", "GET", 0, "/length"},
		{"download in chunks", "GET", 0, "/chunks"},
		{"upload with a length", "POST", bulk, "/"},
		{"upload in chunks", "POST", -1, "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend), ResponseTimeout: time.Minute}})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, _ := http.NewRequest(tt.method, "http://"+p.addr+tt.path, nil)
			if tt.length != 0 {
				r.Body = io.NopCloser(io.LimitReader(pattern(), bulk))
				r.ContentLength = tt.length
			}
			resp, err := httpClient(t).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var got [sha256.Size]byte
			if tt.method == "GET" {
				got = sum(t, resp.Body)
			} else {
				got = <-seen
			}
			if got != want {
				t.Errorf("other bytes arrived than were sent")
			}
			// What the heap has taken from the system says how large it ever was.
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > bulk/2 {
				t.Errorf("heap grew by %d bytes for a body of %d", grown, bulk)
			}
		})
	}
}

// A client that leaves in the middle of the answer takes its request with it, whether or not it
// was still sending.
func TestClientThatLeavesWhileItReads(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(strings.Fields(request)[0], func(t *testing.T) {
			ended := make(chan error)
			backend := rawBackend(t, func(c *rawConn) {
				c.readHead()
				err := c.send("HTTP/1.1 200 OK\r\n\r\n")
				for err == nil {
					err = c.send("more")
				}
				ended <- err
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := dialRaw(t, p.addr)
			_ = c.send(request)
			if _, err := c.readHead(); err != nil {
				t.Fatal(err)
			}
			c.Close()
			<-ended
		})
	}
}

// A client that takes nothing holds a fixed amount back: what the backend can write ends.
func TestSlowClientStopsBackend(t *testing.T) {
	wrote := make(chan int64)
	backend := rawBackend(t, func(c *rawConn) {
		c.readHead()
		_ = c.send("HTTP/1.1 200 OK\r\n\r\n")
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, _ := io.Copy(c.Conn, io.LimitReader(pattern(), bulk))
		wrote <- n
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	_ = c.send(keepGet)
	if n := <-wrote; n >= bulk {
		t.Errorf("the backend could write %d bytes to a client that reads none", n)
	}
}
