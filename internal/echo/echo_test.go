package echo

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// hung fails a test that waits for something that does not come; no test measures it.
const hung = 20 * time.Second

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ln.Close() })
	return s
}

func dial(t *testing.T, s *Server, d websocket.Dialer) *websocket.Conn {
	t.Helper()
	d.HandshakeTimeout = hung
	conn, _, err := d.Dial("ws://"+s.Addr()+"/any/path", http.Header{"Origin": {"https://anywhere.test"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(hung))
	return conn
}

func TestEchoesMessages(t *testing.T) {
	s := start(t)
	for name, d := range map[string]websocket.Dialer{"plain": {}, "permessage-deflate": {EnableCompression: true}} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s, d)
			for _, m := range []struct {
				kind int
				body []byte
			}{
				{websocket.TextMessage, []byte("hello")},
				{websocket.TextMessage, nil},
				{websocket.BinaryMessage, []byte{0, 255}},
				{websocket.BinaryMessage, bytes.Repeat([]byte("large "), 200_000)},
			} {
				if err := conn.WriteMessage(m.kind, m.body); err != nil {
					t.Fatal(err)
				}
				kind, body, err := conn.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				if kind != m.kind || !bytes.Equal(body, m.body) {
					t.Errorf("echo of %d bytes of kind %d = %d bytes of kind %d", len(m.body), m.kind, len(body), kind)
				}
			}
		})
	}
}

func TestCloseIsAnsweredWithItsCode(t *testing.T) {
	conn := dial(t, start(t), websocket.Dialer{})
	if err := conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "bye")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, 4000) {
		t.Errorf("read = %v, want Close 4000", err)
	}
}

func TestSubprotocolIsTheFirstOffered(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		offered []string
		want    string
	}{{nil, ""}, {[]string{"chat.v2"}, "chat.v2"}, {[]string{"b", "a"}, "b"}} {
		if got := dial(t, s, websocket.Dialer{Subprotocols: tt.offered}).Subprotocol(); got != tt.want {
			t.Errorf("subprotocol of %q = %q, want %q", tt.offered, got, tt.want)
		}
	}
}

func TestPlainRequestIsToldWhatThisIs(t *testing.T) {
	r, err := http.Get("http://" + start(t).Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || !strings.Contains(string(body), "builtin:echo") {
		t.Errorf("answer = %d %q, %v", r.StatusCode, body, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestCloseStopsAcceptingAndLeavesSockets(t *testing.T) {
	s := start(t)
	conn := dial(t, s, websocket.Dialer{})
	s.Close()
	if late, err := net.Dial("tcp", s.Addr()); err == nil {
		late.Close()
		t.Error("a closed server is reached")
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, body, err := conn.ReadMessage(); err != nil || string(body) != "still" {
		t.Errorf("echo after Close = %q, %v", body, err)
	}
}
