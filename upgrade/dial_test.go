package upgrade_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// offer is a handshake that offers subprotocols and an extension.
const offer = "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// A 101 that a client would have to refuse (RFC 6455 §4.1) is refused before a byte passes.
func TestBackendsAnswerIsChecked(t *testing.T) {
	const line, upgrade, connection = "HTTP/1.1 101 Switching Protocols\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"
	const accept = "Sec-WebSocket-Accept: " + fronttest.Accept + "\r\n"
	const good = line + upgrade + connection + accept
	tests := []struct {
		name, answer string
		passes       bool
	}{
		{"good", good, true},
		{"any case and order", line + accept + "CONNECTION: x, upgrade\r\nupgrade: WebSocket\r\n", true},
		{"no reason", "HTTP/1.1 101\r\n" + upgrade + connection + accept, true},
		{"an offered subprotocol", good + "Sec-WebSocket-Protocol: chat.v1\r\n", true},
		{"an offered extension", good + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", true},
		{"a length of zero", good + "Content-Length: 0\r\n", true},
		{"behind 1xx", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + good, true},
		{"behind eight 1xx", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 8) + good, true},

		{"behind nine 1xx", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 9) + good, false},
		{"no accept", line + upgrade + connection, false},
		{"an empty accept", line + upgrade + connection + "Sec-WebSocket-Accept:\r\n", false},
		{"the accept of another key", line + upgrade + connection + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n", false},
		{"the accept in another case", line + upgrade + connection + "Sec-WebSocket-Accept: " + strings.ToLower(fronttest.Accept) + "\r\n", false},
		{"two accepts", good + accept, false},
		{"two accepts, one wrong", good + "Sec-WebSocket-Accept: x\r\n", false},
		{"no Upgrade", line + connection + accept, false},
		{"another Upgrade", line + "Upgrade: h2c\r\n" + connection + accept, false},
		{"two protocols in Upgrade", line + "Upgrade: websocket, h2c\r\n" + connection + accept, false},
		{"no Connection", line + upgrade + accept, false},
		{"another Connection", line + upgrade + "Connection: keep-alive\r\n" + accept, false},
		{"Connection drops the accept", line + upgrade + "Connection: Upgrade, Sec-WebSocket-Accept\r\n" + accept, false},
		{"an extension that was not offered", good + "Sec-WebSocket-Extensions: x-foo\r\n", false},
		{"an extension in another case", good + "Sec-WebSocket-Extensions: Permessage-Deflate\r\n", false},
		{"one extension offered, one not", good + "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-foo\r\n", false},
		{"a subprotocol that was not offered", good + "Sec-WebSocket-Protocol: chat.v3\r\n", false},
		{"a subprotocol in another case", good + "Sec-WebSocket-Protocol: CHAT.v1\r\n", false},
		{"an empty subprotocol", good + "Sec-WebSocket-Protocol:\r\n", false},
		{"two subprotocols in a field", good + "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", false},
		{"two fields of subprotocols", good + "Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v1\r\n", false},
		{"HTTP/1.0", strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), false},
		{"a length", good + "Content-Length: 5\r\n", false},
		{"chunked", good + "Transfer-Encoding: chunked\r\n", false},
		{"a head that is too large", good + "X: " + strings.Repeat("x", 20<<10) + "\r\n", false},
		{"a folded field", good + "X: a\r\n b\r\n", false},
		{"bare LF", strings.ReplaceAll(good, "\r\n", "\n") + "\r\n\r\n", false},
		{"nonsense", "SSH-2.0-OpenSSH\r\n", false},
		{"frames at once", fronttest.BackendHello + "\r\n", false},
		{"status 099", strings.Replace(good, "101", "099", 1), false},
	}
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			// The early frame must not reach a backend that has not agreed.
			c.Send(with(t, "Upgrade: websocket\r\n", "Upgrade: websocket\r\n"+offer) + fronttest.ClientHello)
			b := backend.Accept()
			b.Head()
			b.Send(tt.answer + "\r\n")
			if tt.passes {
				if head := c.Head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
					t.Errorf("the client gets %q, want the 101", head)
				}
				b.Bytes(fronttest.ClientHello)
				end(c, b)
				return
			}
			if r, body := c.Answer(); r.StatusCode != 502 || body != "Bad Gateway\n" {
				t.Errorf("answer = %d %q, want 502", r.StatusCode, body)
			}
			if got := b.Rest(); got != "" {
				t.Errorf("the backend gets %q, want the end", got)
			}
		})
	}
}

// Who offers nothing may be given nothing.
func TestNothingOfferedNothingAgreed(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, field := range []string{"Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"} {
		c := fronttest.Dial(t, p.Addr)
		c.Send(fronttest.Handshake)
		b := backend.Accept()
		b.Head()
		b.Send(strings.Replace(fronttest.Switching, "Upgrade:", field+"\r\nUpgrade:", 1))
		if r, _ := c.Answer(); r.StatusCode != 502 {
			t.Errorf("%s: status = %d, want 502", field, r.StatusCode)
		}
	}
}

func TestBackendThatDoesNotAnswer(t *testing.T) {
	backend := fronttest.Listen(t)
	patient := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	hasty := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(rc *routing.RouteConfig) {
		rc.HandshakeTimeout = 50 * time.Millisecond
	}})
	for _, tt := range []struct {
		name   string
		act    func(b *fronttest.Conn)
		status int
	}{
		{"closes", func(b *fronttest.Conn) { b.Close() }, 502},
		{"closes in its head", func(b *fronttest.Conn) { b.Send("HTTP/1.1 101 Switch"); b.Close() }, 502},
		{"resets", func(b *fronttest.Conn) { _ = b.Conn.(*net.TCPConn).SetLinger(0); b.Close() }, 502},
		{"says nothing", func(*fronttest.Conn) {}, 504},
		{"says half of it", func(b *fronttest.Conn) { b.Send("HTTP/1.1 101 Switch") }, 504},
		{"says only 100", func(b *fronttest.Conn) { b.Send("HTTP/1.1 100 Continue\r\n\r\n") }, 504},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := patient
			if tt.status == 504 {
				p = hasty
			}
			c := fronttest.Dial(t, p.Addr)
			c.Send(fronttest.Handshake)
			b := backend.Accept()
			b.Head()
			tt.act(b)
			if r, body := c.Answer(); r.StatusCode != tt.status {
				t.Errorf("status = %d %q, want %d", r.StatusCode, body, tt.status)
			}
			if tt.status == 504 {
				if got := b.Rest(); got != "" {
					t.Errorf("the backend gets %q, want the end", got)
				}
			}
			if n := p.Slots(); n != 0 {
				t.Errorf("slots taken = %d, want 0", n)
			}
		})
	}
}

// The timeout is the handshake's: a link may be silent for longer.
func TestTimeoutsEndWithTheHandshake(t *testing.T) {
	const short = 50 * time.Millisecond
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(rc *routing.RouteConfig) { rc.HandshakeTimeout = short }})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	// A later handshake runs into the timeout meanwhile.
	late := fronttest.Dial(t, p.Addr)
	late.Send(fronttest.Handshake)
	if r, _ := late.Answer(); r.StatusCode != 504 {
		t.Errorf("silent backend: status %d, want 504", r.StatusCode)
	}
	b.Send(fronttest.BackendHello)
	c.Bytes(fronttest.BackendHello)
	c.Send(fronttest.ClientHello)
	b.Bytes(fronttest.ClientHello)
	end(c, b)
}

// A backend's refusal is the client's to see, whole.
func TestRefusalIsRelayed(t *testing.T) {
	const long = 100_000
	body := strings.Repeat("no", long/2)
	chunked := "Transfer-Encoding: chunked\r\n\r\n"
	for range 10 {
		chunked += fmt.Sprintf("%x\r\n%s\r\n", long/10, body[:long/10])
	}
	chunked += "0\r\n\r\n"
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, status := range []int{200, 302, 401, 403, 404, 503} {
		for name, rest := range map[string]string{
			"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", long, body), "chunked": chunked, "to the end": "\r\n" + body,
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				c := fronttest.Dial(t, p.Addr)
				c.Send(fronttest.Handshake + fronttest.ClientHello + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				b := backend.Accept()
				b.Head()
				b.Send(fmt.Sprintf("HTTP/1.1 %d Because\r\nX-Odd: a\r\nSet-Cookie: a=1\r\nLocation: /login\r\nSet-Cookie: b=2\r\n"+
					"WWW-Authenticate: Basic\r\n%s", status, rest))
				b.Close()
				r, got := c.Answer()
				if want := fmt.Sprintf("%d Because", status); r.Status != want {
					t.Errorf("status = %q, want %q", r.Status, want)
				}
				if got != body {
					t.Errorf("body of %d bytes, want %d", len(got), len(body))
				}
				if h := r.Header; h.Get("X-Odd") != "a" || h.Get("Location") != "/login" || h.Get("WWW-Authenticate") != "Basic" ||
					strings.Join(h["Set-Cookie"], ",") != "a=1,b=2" {
					t.Errorf("header = %v", h)
				}
				// What the client may have sent early is no request.
				if rest := c.Rest(); !r.Close || rest != "" {
					t.Errorf("behind the body: %q, close %v, want the end", rest, r.Close)
				}
			})
		}
	}
	p.Stop()
	if n := len(p.Log.Lines("handshake refused by backend")); n != 18 || len(p.Log.Shown()) != n {
		t.Errorf("log has %d refusals in %d lines, want 18 in as many", n, len(p.Log.Shown()))
	}
}

// A refusal that cannot be relayed is one log line as well.
func TestRefusalWithAnAmbiguousBody(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 403 No\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
	if r, _ := c.Answer(); r.StatusCode != 502 {
		t.Errorf("status = %d, want 502", r.StatusCode)
	}
	b.Rest()
	if lines := p.Log.Shown(); len(lines) != 1 || !strings.Contains(lines[0], "status=502") {
		t.Errorf("log = %q, want one line", lines)
	}
}
