package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"wsproxy/internal/dial"
	"wsproxy/routing"
)

// A backend that refuses a body before it has seen all of it is heard by the client that still sends.
func TestEarlyAnswerReachesClient(t *testing.T) {
	const refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big"
	backends := []struct {
		name  string
		serve func(*rawConn)
	}{
		{"closes at once", func(c *rawConn) {
			c.readHead()
			_ = c.send(refusal)
		}},
		{"stays open", func(c *rawConn) {
			c.readHead()
			_ = c.send(refusal)
			_, _ = io.Copy(io.Discard, c)
		}},
		{"without a body", func(c *rawConn) {
			c.readHead()
			_ = c.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}},
	}
	for _, b := range backends {
		for _, client := range ways {
			t.Run(b.name+"/"+client.name+"/stalled client", func(t *testing.T) {
				p := startProxy(t, proxyOptions{to: To{Backend: at(rawBackend(t, b.serve))}, way: client})
				c := p.dial(t)
				if err := c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 20000)); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(c.Reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 413 || err != nil || !resp.Close || len(body) != int(resp.ContentLength) {
					t.Errorf("got %d %q, close %v, %v, want 413 and a close", resp.StatusCode, body, resp.Close, err)
				}
			})
			t.Run(b.name+"/"+client.name+"/client that never stops", func(t *testing.T) {
				p := startProxy(t, proxyOptions{to: To{Backend: at(rawBackend(t, b.serve))}, way: client})
				r, _ := http.NewRequest("POST", p.url(), io.LimitReader(pattern(), 1<<30))
				resp, err := httpClient(t).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if _, err := io.ReadAll(resp.Body); resp.StatusCode != 413 || err != nil {
					t.Errorf("got %d, %v, want 413", resp.StatusCode, err)
				}
			})
		}
	}
}

// A body that the client does not finish never looks finished to the backend.
func TestClientThatLeavesWhileItSends(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n7a120\r\n"} {
		t.Run(strings.Fields(framing)[0], func(t *testing.T) {
			got, failed := make(chan struct{}), make(chan error)
			backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 20000))
				close(got)
				_, err := io.Copy(io.Discard, r.Body)
				failed <- err
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			c := p.dial(t)
			_ = c.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing + strings.Repeat("x", 20000))
			<-got
			c.Close()
			if err := <-failed; err == nil {
				t.Error("the backend has read a whole body, want it cut off")
			}
			p.wantError(t, ErrClient)
		})
	}
}

// TestBothDirectionsAtOnce has a backend answer each piece of a body that has no end yet.
func TestBothDirectionsAtOnce(t *testing.T) {
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		buf := make([]byte, 1024)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	})
	for _, client := range ways {
		t.Run(client.name, func(t *testing.T) {
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, way: client})
			body, send := io.Pipe()
			type result struct {
				resp *http.Response
				err  error
			}
			got := make(chan result, 1)
			go func() {
				resp, err := httpClient(t).Post(p.url(), "", body)
				got <- result{resp, err}
			}()
			io.WriteString(send, "piece 0\n")
			r := <-got
			if r.err != nil {
				t.Fatal(r.err)
			}
			defer r.resp.Body.Close()
			answer := bufio.NewReader(r.resp.Body)
			for i := range 10 {
				if line, err := answer.ReadString('\n'); line != fmt.Sprintf("piece %d\n", i) {
					t.Fatalf("got %q, %v, want piece %d", line, err, i)
				}
				fmt.Fprintf(send, "piece %d\n", i+1)
			}
			if line, err := answer.ReadString('\n'); line != "piece 10\n" {
				t.Fatalf("got %q, %v, want piece 10", line, err)
			}
			send.Close()
			if rest, err := io.ReadAll(answer); len(rest) > 0 || err != nil {
				t.Errorf("behind the pieces %q, %v, want the end", rest, err)
			}
		})
	}
}

// The end of an upload is seen even while the answer is silent.
func TestClientThatLeavesBothDirectionsSilent(t *testing.T) {
	ended := make(chan struct{})
	backend := rawBackend(t, func(c *rawConn) {
		c.readHead()
		_ = c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		close(ended)
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := p.dial(t)
	_ = c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if _, err := c.readHead(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-ended
}

// A small body that does not come whole never looks whole to the backend.
func TestSmallBodyCutOff(t *testing.T) {
	got := make(chan error, 1)
	backend := rawBackend(t, func(c *rawConn) {
		_, _ = c.readHead()
		_, err := io.ReadFull(c, make([]byte, 100))
		got <- err
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := p.dial(t)
	_ = c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456789")
	c.Close()
	p.wantError(t, ErrClient)
	if err := <-got; err == nil {
		t.Error("the backend has read a whole body, want it cut off")
	}
}

// panicConn panics in a write of its own choice, or in every read from then on.
type panicConn struct {
	net.Conn
	writes, lastWrite int
	noReads           chan struct{}
}

func (c *panicConn) Write(p []byte) (int, error) {
	if c.writes++; c.writes == c.lastWrite {
		panic("in Write")
	}
	return c.Conn.Write(p)
}

func (c *panicConn) Read(p []byte) (int, error) {
	select {
	case <-c.noReads:
		panic("in Read")
	default:
		return c.Conn.Read(p)
	}
}

// No panic ends the process, whichever goroutine it strikes.
func TestPanics(t *testing.T) {
	const large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"
	t.Run("while the body is sent", func(t *testing.T) {
		backend := rawBackend(t, func(c *rawConn) { io.Copy(io.Discard, c) })
		p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, config: Config{Dial: dialPanic(2, nil)}})
		c := p.dial(t)
		if status, _ := ask(t, c, large+strings.Repeat("x", 10000)); status == "200" {
			t.Errorf("got %s, want an error", status)
		}
	})
	t.Run("while the answer is relayed", func(t *testing.T) {
		noReads := make(chan struct{})
		backend := rawBackend(t, func(c *rawConn) {
			c.readHead()
			_ = c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			<-noReads
			_ = c.send("01234")
			_, _ = io.Copy(io.Discard, c)
		})
		p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}, config: Config{Dial: dialPanic(0, noReads)}})
		c := p.dial(t)
		if err := c.send(large + strings.Repeat("x", 9000)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.readHead(); err != nil {
			t.Fatal(err)
		}
		close(noReads)
		if b, err := io.ReadAll(c); len(b) >= 10 {
			t.Errorf("got %q, %v, want a broken answer", b, err)
		}
	})
}

func dialPanic(lastWrite int, noReads chan struct{}) func(*routing.Backend, dial.Request) (net.Conn, error) {
	return func(b *routing.Backend, _ dial.Request) (net.Conn, error) {
		c, err := net.Dial("tcp", b.Addr)
		return &panicConn{Conn: c, lastWrite: lastWrite, noReads: noReads}, err
	}
}
