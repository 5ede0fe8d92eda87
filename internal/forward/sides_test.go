package forward

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/routing"
)

// hung is how long anything may take before a test fails because of it; no test measures it.
const hung = 30 * time.Second

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func (p *proxy) tryDial() (net.Conn, error) {
	if p.way.tls {
		return tls.Dial("tcp", p.addr, clientTLS)
	}
	return net.Dial("tcp", p.addr)
}

// clientTLS takes any certificate: they are the tests' own.
var clientTLS = &tls.Config{InsecureSkipVerify: true}

// rawConn is one side of a connection, without a library.
type rawConn struct {
	net.Conn
	*bufio.Reader
	n int // counts the backend's connections from 1 on
}

func (c *rawConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// readHead reads up to and with the empty line.
func (c *rawConn) readHead() (string, error) {
	var b strings.Builder
	for {
		line, err := c.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

func (c *rawConn) send(s string) error {
	_, err := io.WriteString(c.Conn, s)
	return err
}

// rawBackend serves each connection with serve and closes it then. The test waits for all of them.
func rawBackend(t testing.TB, serve func(*rawConn)) (addr string) {
	t.Helper()
	ln := listen(t)
	serveRaw(t, ln, serve)
	return ln.Addr().String()
}

func serveRaw(t testing.TB, ln net.Listener, serve func(*rawConn)) {
	var conns sync.WaitGroup
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(hung))
				serve(&rawConn{Conn: c, Reader: bufio.NewReader(c), n: n})
			})
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-accepting
		conns.Wait()
	})
}

// secureBackend is a rawBackend behind TLS, and what the Transport needs to dial it.
func secureBackend(t testing.TB, serve func(*rawConn)) (*routing.Backend, Config) {
	t.Helper()
	certs, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	serveRaw(t, tls.NewListener(ln, &tls.Config{GetCertificate: certs.Get}), serve)
	b := &routing.Backend{Addr: ln.Addr().String(), TLS: &routing.BackendTLS{ServerName: "localhost", InsecureSkipVerify: true}}
	dialer := dial.New(dial.Config{TLS: map[routing.BackendTLS]*tls.Config{*b.TLS: clientTLS}})
	return b, Config{Dial: dialer.Dial}
}

// answerOnce answers the first request of every connection with the given bytes and closes.
func answerOnce(t testing.TB, answer string) (addr string) {
	return rawBackend(t, func(c *rawConn) {
		if _, err := c.readHead(); err == nil {
			_ = c.send(answer)
		}
	})
}

// httpBackend serves with net/http.
func httpBackend(t testing.TB, h http.HandlerFunc) (addr string) {
	t.Helper()
	ln := listen(t)
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return ln.Addr().String()
}

// httpClient keeps connections as browsers do, and leaves none behind.
func httpClient(t testing.TB) *http.Client {
	tr := &http.Transport{TLSClientConfig: clientTLS, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// ask sends a request on a connection that stays open and returns the answer's body.
func ask(t testing.TB, c *rawConn, request string) (status, body string) {
	t.Helper()
	if err := c.send(request); err != nil {
		t.Fatal(err)
	}
	h, err := c.readHead()
	if err != nil {
		t.Fatalf("answer's head: %v after %q", err, h)
	}
	length := 0
	for _, line := range strings.Split(h, "\r\n") {
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(v)
		}
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("answer's body: %v", err)
	}
	return strings.Fields(h)[1], string(b)
}

// answerNumber tells the client on which connection its request came.
func answerNumber(c *rawConn) error {
	n := strconv.Itoa(c.n)
	return c.send("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(n)) + "\r\n\r\n" + n)
}

// answerNumbers does so for request after request without a body.
func answerNumbers(c *rawConn) {
	for {
		if _, err := c.readHead(); err != nil || answerNumber(c) != nil {
			return
		}
	}
}

// endlessly reads what comes until the other side ends.
func endlessly(c *rawConn) { _, _ = io.Copy(io.Discard, c) }
