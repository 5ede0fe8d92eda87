package front_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
)

// recorder is a backend that reads requests as net/http does and answers each with 200 when it has read it
// whole. What it has heard is what a smuggler has achieved.
type recorder struct {
	addr  string
	ln    net.Listener
	serve sync.WaitGroup

	mu    sync.Mutex // guards what follows
	heard []string   // "GET /path body", with " …" for a body that is cut off
}

func record(t *testing.T) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: ln.Addr().String(), ln: ln}
	r.serve.Go(r.accept)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *recorder) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.serve.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(fronttest.Hung))
			for br := bufio.NewReader(c); r.one(c, br); {
			}
		})
	}
}

// one reads a request and answers it, and reports whether there may be another.
func (r *recorder) one(c net.Conn, br *bufio.Reader) bool {
	request, err := http.ReadRequest(br)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			r.hear("no request: " + err.Error())
		}
		return false
	}
	body, err := io.ReadAll(request.Body)
	what := fmt.Sprintf("%s %s %s", request.Method, request.RequestURI, body)
	if err != nil {
		r.hear(what + " …")
		return false
	}
	r.hear(what)
	_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	return err == nil
}

func (r *recorder) hear(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, what)
}

// stop waits until those who ask have left, and returns what has been heard, sorted.
func (r *recorder) stop() []string {
	r.ln.Close()
	r.serve.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.heard))
}
