package frame

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// FuzzTracker holds the Tracker against fasthttp/websocket's reading of the same bytes, as a
// server's and as a client's stream, in a cut that the fuzzer chooses: the same messages pass, and
// both refuse the same streams.
func FuzzTracker(f *testing.F) {
	for _, fromClient := range []bool{true, false} {
		var all []byte
		for _, head := range []byte{0x81, 0x02, 0x89, 0x00, 0x8a, 0x80, 0xc1, 0x83, 0x88} {
			frame := wire(head, fromClient, []byte{0x03, 0xe8})
			f.Add(fromClient, uint8(1), frame)
			all = append(all, frame...)
		}
		f.Add(fromClient, uint8(3), all)
		f.Add(fromClient, uint8(7), wire(0x82, fromClient, make([]byte, 70000)))
		f.Add(fromClient, uint8(0), []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	}
	f.Fuzz(func(t *testing.T, fromClient bool, cut uint8, stream []byte) {
		whole := New(fromClient, NoExtensions)
		boundaries, wholeErr := follow(&whole, stream, func() int { return len(stream) })
		pieces := New(fromClient, NoExtensions)
		piecesAt, piecesErr := follow(&pieces, stream, func() int { return int(cut)%17 + 1 })
		if !errors.Is(piecesErr, wholeErr) || len(piecesAt) != len(boundaries) || !equal(piecesAt, boundaries) {
			t.Fatalf("in pieces: %v, %v; whole: %v, %v", piecesAt, piecesErr, boundaries, wholeErr)
		}

		messages, err := readMessages(t, fromClient, stream)
		if whole.Messages() < messages || whole.Messages() > messages && wholeErr == nil && err == nil {
			t.Errorf("Tracker saw %d messages, websocket %d", whole.Messages(), messages)
		}
		refused := refusal(err)
		// websocket takes a Close of one byte for an empty one.
		if wholeErr != nil && !refused && !errors.Is(wholeErr, ErrClosePayload) {
			t.Errorf("Tracker refuses with %v, websocket says %v", wholeErr, err)
		}
		// websocket adds up a message's fragments in 63 bits; a frame alone may say that much.
		if wholeErr == nil && refused && !errors.Is(err, websocket.ErrReadLimit) {
			t.Errorf("Tracker passes the stream, websocket refuses with %v", err)
		}
	})
}

// refusal tells a refused stream from one that ended, whole or not. websocket looks at more of a
// Close frame than framing: its code's range and its reason's UTF-8.
func refusal(err error) bool {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false
	}
	switch err.Error() {
	case "websocket: bad close code 0", "websocket: invalid utf8 payload in close frame":
		return false
	}
	const badCode = "websocket: bad close code "
	return len(err.Error()) < len(badCode) || err.Error()[:len(badCode)] != badCode
}

// readMessages counts the messages that websocket reads from stream whole, and how it ends.
func readMessages(t *testing.T, fromClient bool, stream []byte) (messages uint64, err error) {
	conn := &replay{}
	var ws *websocket.Conn
	if fromClient {
		ws = acceptReplay(t, conn)
	} else {
		ws = dialReplay(t, conn)
	}
	conn.in = bytes.NewReader(stream)
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return messages, err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return messages, err
		}
		messages++
	}
}

// acceptReplay makes conn a server's connection behind its opening handshake.
func acceptReplay(t *testing.T, conn *replay) *websocket.Conn {
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
	conn.in = bytes.NewReader(nil)
	ws, err := (&websocket.Upgrader{}).Upgrade(hijackable{conn: conn}, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// dialReplay makes conn a client's connection behind its opening handshake.
func dialReplay(t *testing.T, conn *replay) *websocket.Conn {
	conn.answer = true
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return conn, nil }}
	ws, _, err := d.Dial("ws://replay/", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.answer = false
	return ws
}

type hijackable struct {
	http.ResponseWriter
	conn *replay
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// replay is a connection that reads from in and forgets what is written; while answer is set it
// answers an opening handshake.
type replay struct {
	in     *bytes.Reader
	answer bool
}

func (c *replay) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *replay) Write(p []byte) (int, error) {
	if c.answer {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
		if err != nil {
			return 0, err
		}
		sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c.in = bytes.NewReader([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
	}
	return len(p), nil
}

func (c *replay) Close() error                     { return nil }
func (c *replay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *replay) SetDeadline(time.Time) error      { return nil }
func (c *replay) SetReadDeadline(time.Time) error  { return nil }
func (c *replay) SetWriteDeadline(time.Time) error { return nil }
