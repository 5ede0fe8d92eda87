package health

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// shake answers a handshake with a 101 that is as it must be, but for what change makes of its lines.
func shake(change func(lines map[string]string), then func(c net.Conn, br *bufio.Reader)) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		lines := map[string]string{"": "HTTP/1.1 101 Switching Protocols", "Upgrade": "websocket", "Connection": "Upgrade",
			"Sec-WebSocket-Accept": acceptOf(r.Header.Get("Sec-WebSocket-Key"))}
		if change != nil {
			change(lines)
		}
		text := lines[""] + "\r\n"
		delete(lines, "")
		for name, value := range lines {
			text += name + ": " + value + "\r\n"
		}
		_, _ = io.WriteString(c, text+"\r\n")
		if then != nil {
			then(c, br)
		}
	}
}

// with puts a field into a 101, or takes it out.
func with(name, value string) func(map[string]string) {
	return func(lines map[string]string) {
		if lines[name] = value; value == "" {
			delete(lines, name)
		}
	}
}

// readFrame reads one frame of a client's, which a probe only sends small and masked.
func readFrame(br *bufio.Reader) (first byte, payload []byte, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(br, head); err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 == 0 {
		return 0, nil, errors.New("not masked")
	}
	payload = make([]byte, head[1]&0x7f)
	_, err = io.ReadFull(br, payload)
	for i := range payload {
		payload[i] ^= head[2+i%4]
	}
	return head[0], payload, err
}

// pong reads the Ping, sends what before is and the Pong, cut into pieces of size bytes, and then
// answers the Close.
func pong(before string, size int) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		first, payload, err := readFrame(br)
		if err != nil || first != 0x89 {
			return
		}
		text := before + "\x8a" + string(rune(len(payload))) + string(payload)
		for len(text) > 0 {
			n := min(size, len(text))
			_, _ = io.WriteString(c, text[:n])
			text = text[n:]
		}
		if first, payload, err = readFrame(br); err == nil && first == 0x88 {
			_, _ = c.Write(append([]byte{0x88, byte(len(payload))}, payload...))
		}
	}
}

func TestWebSocketProbe(t *testing.T) {
	leavesNothing(t)
	good := pong("", 1<<20)
	wants := Check{Subprotocol: "chat.v2"}
	send := func(text string) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, br *bufio.Reader) {
			_, _ = io.WriteString(c, text)
			silence(c, br)
		}
	}
	for _, tt := range []struct {
		name   string
		behave func(net.Conn, *bufio.Reader)
		check  Check
		want   string
	}{
		{"good", shake(nil, good), Check{}, ""},
		{"in ones", shake(nil, pong("", 1)), Check{}, ""},
		{"behind other frames", shake(nil, pong("\x81\x03abc\x01\x02ab\x89\x00\x8a\x08otherone\x80\x00\x82\x7e\x01\x00"+strings.Repeat("x", 256), 7)), Check{}, ""},
		{"within a message", shake(nil, pong("\x01\x02ab", 1<<20)), Check{}, ""},
		{"a subprotocol", shake(with("Sec-WebSocket-Protocol", "chat.v2"), good), wants, ""},
		{"interim answers", func(c net.Conn, br *bufio.Reader) {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			shake(nil, good)(c, br)
		}, Check{}, ""},

		{"no handshake", answer("HTTP/1.1 200 OK\r\n\r\nhello"), Check{}, "status 200"},
		{"a refusal", answer("HTTP/1.1 403 No\r\n\r\n"), Check{}, "status 403"},
		{"wrong accept", shake(with("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), good), Check{}, "101: accept does not fit the key"},
		{"no accept", shake(with("Sec-WebSocket-Accept", ""), good), Check{}, "101: 0 accepts, want one"},
		{"HTTP/1.0", shake(with("", "HTTP/1.0 101 Go"), good), Check{}, "101: not HTTP/1.1"},
		{"no Upgrade", shake(with("Upgrade", ""), good), Check{}, "101: no Upgrade"},
		{"another Upgrade", shake(with("Upgrade", "h2c"), good), Check{}, "101: field Upgrade is not websocket"},
		{"no Connection", shake(with("Connection", "close"), good), Check{}, "101: field Connection has no upgrade"},
		{"a Connection that names too much", shake(with("Connection", "upgrade, sec-websocket-accept"), good), Check{}, "101: field Connection names a field of the handshake"},
		{"an extension", shake(with("Sec-WebSocket-Extensions", "permessage-deflate"), good), Check{}, "101: an extension that was not offered"},
		{"a body", shake(with("Content-Length", "4"), good), Check{}, "101: it has a body"},
		{"a subprotocol that nobody wants", shake(with("Sec-WebSocket-Protocol", "chat"), good), Check{}, "101: a subprotocol that was not offered"},
		{"another subprotocol", shake(with("Sec-WebSocket-Protocol", "chat.v1"), good), wants, "101: a subprotocol that was not offered"},
		{"no subprotocol", shake(nil, good), wants, "101: subprotocol not agreed to"},

		{"silence", silence, Check{Timeout: short}, "no answer within 100ms"},
		{"silence behind the 101", shake(nil, silence), Check{Timeout: short}, "no pong within 100ms"},
		{"half a pong", shake(nil, send("\x8a\x08ab")), Check{Timeout: short}, "no pong within 100ms"},
		{"a pong with another payload", shake(nil, send("\x8a\x08otherone")), Check{Timeout: short}, "no pong within 100ms"},
		{"death behind the 101", shake(nil, func(_ net.Conn, br *bufio.Reader) { _, _, _ = readFrame(br) }), Check{}, "pong: connection closed"},
		{"a close", shake(nil, send("\x88\x02\x03\xf0")), Check{}, "closed with 1008 before the pong"},
		{"a masked frame", shake(nil, send("\x81\x81abcdx")), Check{}, "frame: masked frame from a server"},
		{"a frame that is none", shake(nil, send("\x83\x00")), Check{}, "frame: unknown opcode"},
		{"frames without end", shake(nil, send(strings.Repeat("\x82\x7e\x10\x00"+strings.Repeat("x", 4096), 300))), Check{}, "no pong within 1024 KiB of other frames"},
		{"no answer to the Close", shake(nil, func(c net.Conn, br *bufio.Reader) {
			_, payload, _ := readFrame(br)
			_, _ = c.Write(append([]byte{0x8a, byte(len(payload))}, payload...))
			silence(c, br)
		}), Check{Timeout: 10 * short}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.check.Kind = WebSocket
			r := probeOnce(t, serve(t, tt.behave).target, tt.check)
			if r.Reason != tt.want || r.Up != (tt.want == "") {
				t.Errorf("the probe says %+v, want reason %q", r, tt.want)
			}
		})
	}
}

// TestWebSocketProbeOfARealServer: fasthttp/websocket agrees with what the probe sends, and sees a
// clean end.
func TestWebSocketProbeOfARealServer(t *testing.T) {
	ends := make(chan error, 1)
	upgrader := websocket.FastHTTPUpgrader{Subprotocols: []string{"chat.v2"}}
	server := &fasthttp.Server{Logger: quiet{}, Handler: func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) != "/ws" || string(ctx.Host()) != "backend.example" {
			ctx.SetStatusCode(404)
			return
		}
		_ = upgrader.Upgrade(ctx, func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("welcome"))
			_, _, err := c.ReadMessage()
			ends <- err
		})
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	b := backend{addr: l.Addr().String()}
	p := New(Config{Log: noLog})
	results := make(chan Result, 1)
	p.Add(b.target(func(r Result) { results <- r }), Check{Kind: WebSocket, Path: "/ws", Subprotocol: "chat.v2", Interval: time.Hour})
	if r := await(t, results); !r.OK() {
		t.Errorf("the probe says %q", r.Reason)
	}
	if err := await(t, ends); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("the server reads %v, want a Close 1000", err)
	}
	p.Close()
	_ = server.Shutdown()
	if err := await(t, served); err != nil {
		t.Error(err)
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
