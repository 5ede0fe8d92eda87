package fronttest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Handshake is a good opening handshake, and Switching the answer that makes a link of it.
const (
	Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

	Handshake = "GET /chat?room=1 HTTP/1.1\r\nHost: site.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + Key + "\r\nSec-WebSocket-Version: 13\r\n\r\n"
	Switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + Accept + "\r\n\r\n"
)

// Frames of a client, masked with zeros, and of a backend.
const (
	ClientHello  = "\x81\x85\x00\x00\x00\x00hello"
	ClientClose  = "\x88\x82\x00\x00\x00\x00\x03\xe8"
	BackendHello = "\x81\x05HELLO"
	BackendClose = "\x88\x02\x03\xe8"
)

// Conn is one end of a connection in a test's hands. Every wait on it is bounded by Hung.
type Conn struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

func newConn(t testing.TB, c net.Conn) *Conn {
	_ = c.SetDeadline(time.Now().Add(Hung))
	t.Cleanup(func() { c.Close() })
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, 64<<10), t: t}
}

// Dial connects as a client.
func Dial(t testing.TB, addr string) *Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newConn(t, c)
}

// TryDial connects without a test's help.
func TryDial(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, Hung) }

// DialTLS connects as a client that trusts everybody, and shows a certificate if it has one.
func DialTLS(t testing.TB, addr string, show ...tls.Certificate) *Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: show})
	if err != nil {
		t.Fatal(err)
	}
	return newConn(t, c)
}

// Secure goes on with TLS on a connection, as a client that trusts everybody.
func (c *Conn) Secure() *Conn {
	return newConn(c.t, tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}))
}

// Send writes text as it stands, in one write.
func (c *Conn) Send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// Head reads up to the empty line, and returns it all.
func (c *Conn) Head() string {
	c.t.Helper()
	head, err := c.TryHead()
	if err != nil {
		c.t.Fatalf("read head: %v; so far %q", err, head)
	}
	return head
}

// TryHead is Head for goroutines that are not the test's.
func (c *Conn) TryHead() (head string, err error) {
	for err == nil && !strings.HasSuffix(head, "\r\n\r\n") {
		var line string
		line, err = c.r.ReadString('\n')
		head += line
	}
	return head, err
}

// Answer reads a response with its body.
func (c *Conn) Answer() (r *http.Response, body string) {
	c.t.Helper()
	return c.AnswerTo(http.MethodGet)
}

// AnswerTo reads a response to a request of a method with its body.
func (c *Conn) AnswerTo(method string) (r *http.Response, body string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("read body: %v; so far %q", err, b)
	}
	return r, string(b)
}

// Request reads a request with its body, and returns the body.
func (c *Conn) Request() (body string) {
	c.t.Helper()
	r, err := http.ReadRequest(c.r)
	if err != nil {
		c.t.Fatalf("read request: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("read request body: %v; so far %q", err, b)
	}
	return string(b)
}

// Bytes reads as many bytes as want has and compares.
func (c *Conn) Bytes(want string) {
	c.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c.r, b)
	if err != nil {
		c.t.Fatalf("read: %v; got %q, want %q", err, b[:n], want)
	}
	if string(b) != want {
		c.t.Errorf("got %q, want %q", b, want)
	}
}

// Frame reads a frame of less than 126 bytes and returns its payload, without its mask.
func (c *Conn) Frame() (payload string) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		c.t.Fatalf("read frame: %v", err)
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(c.r, mask[:]); err != nil {
			c.t.Fatalf("read mask: %v", err)
		}
	}
	b := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatalf("read payload: %v", err)
	}
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return string(b)
}

// Ready is how many bytes there are to read without waiting; it may be that more are on their way.
func (c *Conn) Ready() int {
	if c.r.Buffered() == 0 {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_, _ = c.r.Peek(1)
		_ = c.SetReadDeadline(time.Now().Add(Hung))
	}
	return c.r.Buffered()
}

// Rest reads to the end, which a reset is as well, and returns what came.
func (c *Conn) Rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("still open; so far %q", b)
	}
	return string(b)
}
