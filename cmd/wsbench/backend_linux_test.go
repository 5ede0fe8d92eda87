package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
)

func dialBackend(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBackendAnswersControlFrames(t *testing.T) {
	c := dialBackend(t, newTestBackend(t)+"/anything?x=1")
	pong := ""
	c.SetPongHandler(func(s string) error { pong = s; return nil })
	if err := c.WriteMessage(websocket.PingMessage, []byte("marco")); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("0123456789"), 50_000)
	if err := c.WriteMessage(websocket.TextMessage, large); err != nil {
		t.Fatal(err)
	}
	kind, got, err := c.ReadMessage()
	if err != nil || kind != websocket.TextMessage || !bytes.Equal(got, large) {
		t.Errorf("echo of %d bytes: kind %d, %d bytes, %v", len(large), kind, len(got), err)
	}
	if pong != "marco" {
		t.Errorf("pong %q, want %q", pong, "marco")
	}
	_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "bye"))
	if _, _, err = c.ReadMessage(); !websocket.IsCloseError(err, 4001) {
		t.Errorf("after Close 4001: %v, want the same", err)
	}
}

func TestBackendSinkAndFlood(t *testing.T) {
	url := newTestBackend(t)
	sink := dialBackend(t, url+"/sink")
	_ = sink.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20))
	_ = sink.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
	if _, _, err := sink.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("sink sends %v, want nothing but the Close", err)
	}
	flood := dialBackend(t, url+"/flood")
	for range 50 {
		if _, p, err := flood.ReadMessage(); err != nil || len(p) != floodMessage {
			t.Fatalf("flood: %d bytes, %v, want %d", len(p), err, floodMessage)
		}
	}
}

func TestBackendAnswersPlainGet(t *testing.T) {
	url := "http" + strings.TrimPrefix(newTestBackend(t), "ws")
	for range 2 { // the second over the same connection
		resp, err := http.Get(url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(body) != "wsbench backend\n" {
			t.Errorf("GET: %d %q %v", resp.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBackendRefusesWhatIsNotWebSocket(t *testing.T) {
	c := dialBackend(t, newTestBackend(t))
	if _, err := c.NetConn().Write([]byte{0x82, 1, 'x'}); err != nil { // not masked
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1002) {
		t.Errorf("an unmasked frame is answered with %v, want Close 1002", err)
	}
}
