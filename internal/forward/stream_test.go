package forward

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

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
	for _, client := range ways {
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
				p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, way: client})
				resp, err := httpClient(t).Get(p.url())
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

// bulk is more than anybody may hold at once.
const bulk = 256 << 20

// period is what bulk data repeats: of a size that no buffer has, so that a piece which is lost, doubled
// or moved shows.
var period = func() []byte {
	b := make([]byte, 65521)
	_, _ = mathrand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// pattern is bulk data without end that both sides can make.
func pattern() io.Reader { return new(patternReader) }

type patternReader struct{ at int }

func (r *patternReader) Read(p []byte) (int, error) {
	n := copy(p, period[r.at:])
	r.at = (r.at + n) % len(period)
	return n, nil
}

// wantBulk reads bulk bytes of the pattern and then the end.
func wantBulk(t *testing.T, r io.Reader) {
	t.Helper()
	at, total, buf := 0, 0, make([]byte, len(period))
	for {
		n, err := r.Read(buf[:len(period)-at])
		if !bytes.Equal(buf[:n], period[at:at+n]) {
			t.Errorf("other bytes than were sent, around byte %d", total)
			return
		}
		at, total = (at+n)%len(period), total+n
		if err != nil {
			if err != io.EOF || total != bulk {
				t.Errorf("read %d bytes, %v, want %d", total, err, bulk)
			}
			return
		}
	}
}

func TestBulkInConstantMemory(t *testing.T) {
	got := make(chan struct{}, 1)
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(bulk))
			}
			_, _ = io.Copy(w, io.LimitReader(pattern(), bulk))
			return
		}
		wantBulk(t, r.Body)
		got <- struct{}{}
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
	for _, w := range []way{plainWay, secureWay} {
		for i, tt := range tests {
			if w.tls && i%3 == 0 {
				continue // the framing is another thing than TLS
			}
			t.Run(w.name+"/"+tt.name, func(t *testing.T) {
				p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend), Answer: Answer{ResponseTimeout: time.Minute}}})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r, _ := http.NewRequest(tt.method, p.url()+tt.path, nil)
				if tt.length != 0 {
					r.Body = io.NopCloser(io.LimitReader(pattern(), bulk))
					r.ContentLength = tt.length
				}
				resp, err := httpClient(t).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if tt.method == "GET" {
					wantBulk(t, resp.Body)
				} else {
					<-got
				}
				// What the heap has taken from the system says how large it ever was.
				runtime.ReadMemStats(&after)
				grown := int64(after.HeapSys) - int64(before.HeapSys)
				t.Logf("the heap grew by %d KiB, all sides together", grown>>10)
				if grown > bulk/8 {
					t.Errorf("the heap grew by %d bytes for a body of %d", grown, int64(bulk))
				}
			})
		}
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
			c := p.dial(t)
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
	c := p.dial(t)
	_ = c.send(keepGet)
	if n := <-wrote; n >= bulk {
		t.Errorf("the backend could write %d bytes to a client that reads none", n)
	}
}
