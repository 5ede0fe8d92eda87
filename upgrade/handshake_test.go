package upgrade_test

import (
	"net"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// with is the good handshake with a part replaced.
func with(t *testing.T, old, new string) string {
	t.Helper()
	if strings.Count(fronttest.Handshake, old) != 1 {
		t.Fatalf("the handshake has not one %q", old)
	}
	return strings.Replace(fronttest.Handshake, old, new, 1)
}

// RFC 6455 §4.2.1, and what a proxy must refuse besides.
func TestHandshakeIsChecked(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	const connection, upgrade = "Connection: Upgrade\r\n", "Upgrade: websocket\r\n"
	const key, version = "Sec-WebSocket-Key: " + fronttest.Key + "\r\n", "Sec-WebSocket-Version: 13\r\n"
	tests := []struct {
		name, old, new string
		status         int
	}{
		{"good", "", "", 101},
		{"lower case", connection, "connection: upgrade\r\n", 101},
		{"upper case", upgrade, "UPGRADE: WEBSOCKET\r\n", 101},
		{"Connection with several names", connection, "Connection: keep-alive , UpGrade,x\r\n", 101},
		{"Connection in several fields", connection, "Connection: keep-alive\r\nConnection: Upgrade\r\n", 101},
		{"Upgrade with several protocols", upgrade, "Upgrade: h2c, websocket\r\n", 101},
		{"Upgrade in several fields", upgrade, "Upgrade: h2c\r\nUpgrade: websocket\r\n", 101},
		{"a length of zero", connection, connection + "Content-Length: 0\r\n", 101},
		{"white space around the key", key, "Sec-WebSocket-Key: \t " + fronttest.Key + " \r\n", 101},
		{"a URL for a target", "/chat?room=1", "http://site.test/chat?room=1", 101},

		{"POST", "GET", "POST", 405},
		{"HEAD", "GET", "HEAD", 405},
		{"get", "GET", "get", 405},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 400},
		{"no Connection", connection, "", 400},
		{"Connection without upgrade", connection, "Connection: keep-alive\r\n", 400},
		{"Connection that only begins with upgrade", connection, "Connection: upgrades\r\n", 400},
		{"Connection with close", connection, "Connection: Upgrade, close\r\n", 400},
		{"Connection with close, in several fields", connection, "Connection: CLOSE\r\nConnection: Upgrade\r\n", 400},
		{"Connection that drops the key", connection, "Connection: Upgrade, Sec-WebSocket-Key\r\n", 400},
		{"no version", version, "", 426},
		{"version 12", version, "Sec-WebSocket-Version: 12\r\n", 426},
		{"version 130", version, "Sec-WebSocket-Version: 130\r\n", 426},
		{"two versions in a field", version, "Sec-WebSocket-Version: 13, 8\r\n", 426},
		{"two fields of versions", version, version + version, 426},
		{"no key", key, "", 400},
		{"two keys", key, key + key, 400},
		{"an empty key", key, "Sec-WebSocket-Key:\r\n", 400},
		{"a key of 15 bytes", key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n", 400},
		{"a key of 17 bytes", key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", 400},
		{"a key of 18 bytes", key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n", 400},
		{"a key that is not base64", key, "Sec-WebSocket-Key: ?GhlIHNhbXBsZSBub25jZQ==\r\n", 400},
		{"a key without padding", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n", 400},
		{"a body", connection, connection + "Content-Length: 1\r\n", 400},
		{"a chunked body", connection, connection + "Transfer-Encoding: chunked\r\n", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			request := fronttest.Handshake
			if tt.old != "" {
				request = with(t, tt.old, tt.new)
			}
			if strings.Contains(tt.new, "Content-Length: 1") {
				request += "x"
			}
			c := fronttest.Dial(t, p.Addr)
			c.Send(request)
			if tt.status == 101 {
				b := backend.Accept()
				head := b.Head()
				for _, field := range []string{"Upgrade: websocket", "Connection: Upgrade"} {
					if n := strings.Count(strings.ToLower(head), "\r\n"+strings.ToLower(field)+"\r\n"); n != 1 {
						t.Errorf("the backend gets %q %d times, want once: %q", field, n, head)
					}
				}
				b.Send(fronttest.Switching)
				c.Bytes(fronttest.Switching)
				end(c, b)
				return
			}
			r, body := c.AnswerTo(strings.Fields(request)[0])
			if r.StatusCode != tt.status {
				t.Errorf("status = %d %q, want %d", r.StatusCode, body, tt.status)
			}
			if v := r.Header.Get("Sec-WebSocket-Version"); tt.status == 426 && v != "13" {
				t.Errorf("Sec-WebSocket-Version = %q, want 13", v)
			}
			backend.Untouched()
		})
	}
	if got, want := p.Engine.Stats().Opened, uint64(10); got != want {
		t.Errorf("links opened = %d, want %d", got, want)
	}
}

// end ends a link from both sides.
func end(c, b *fronttest.Conn) {
	c.Send(fronttest.ClientClose)
	b.Bytes(fronttest.ClientClose)
	b.Send(fronttest.BackendClose)
	c.Bytes(fronttest.BackendClose)
	c.Close()
	b.Close()
}

// What is no handshake is forwarded as any request, without a promise to switch.
func TestOtherUpgradesAreForwarded(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for name, request := range map[string]string{
		"another protocol":   with(t, "Upgrade: websocket", "Upgrade: websockets"),
		"no Upgrade":         with(t, "Upgrade: websocket\r\n", ""),
		"a quoted websocket": with(t, "Upgrade: websocket", `Upgrade: x="a, websocket"`),
	} {
		t.Run(name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(request)
			b := backend.Accept()
			if head := b.Head(); strings.Contains(head, "\r\nUpgrade:") || strings.Contains(head, "\r\nConnection:") {
				t.Errorf("the backend gets %q", head)
			}
			b.Send(fronttest.Switching) // all the same: a lie
			if r, _ := c.Answer(); r.StatusCode != 502 {
				t.Errorf("status = %d, want 502", r.StatusCode)
			}
		})
	}
}

func TestWhatTheBackendGets(t *testing.T) {
	const sent = "GET /a%20b/d;/?q=%zz&x=/../ HTTP/1.1\r\nhost: Site.test:80\r\nx-ODD: 1\r\nconnection: keep-alive, UPGRADE, x-hop\r\n" +
		"X-Hop: gone\r\nUPGRADE: WebSocket\r\nCookie: a=b; c=d\r\nsec-websocket-KEY: " + fronttest.Key + "\r\n" +
		"Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-foo;a=\"b, c\"\r\n" +
		"X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nCookie: e=f\r\nOrigin: https://site.test\r\n" +
		"Sec-WebSocket-Protocol: chat.v0\r\nTE: trailers\r\nSEC-WebSocket-Version: 13\r\nx-odd: 2\r\nContent-Length: 0\r\n\r\n"
	want := func(host, proto, port string) string {
		return "GET /a%20b/d;/?q=%zz&x=/../ HTTP/1.1\r\nhost: " + host + "\r\nx-ODD: 1\r\nconnection: Upgrade\r\n" +
			"UPGRADE: websocket\r\nCookie: a=b; c=d\r\nsec-websocket-KEY: " + fronttest.Key + "\r\n" +
			"Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-foo;a=\"b, c\"\r\n" +
			"Cookie: e=f\r\nOrigin: https://site.test\r\n" +
			"Sec-WebSocket-Protocol: chat.v0\r\nSEC-WebSocket-Version: 13\r\nx-odd: 2\r\n" +
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: " + proto + "\r\nX-Forwarded-Host: Site.test:80\r\nX-Forwarded-Port: " + port + "\r\n\r\n"
	}
	backend := fronttest.Listen(t)
	for _, tt := range []struct {
		name   string
		header routing.HostHeader
		host   string
	}{
		{"Host kept", routing.HostHeader{}, "Site.test:80"},
		{"Host of the backend", routing.HostHeader{Backend: true}, backend.Addr},
		{"Host by the file", routing.HostHeader{Literal: "inner.test"}, "inner.test"},
	} {
		p := fronttest.Start(t, fronttest.Config{
			Backend: backend.Addr, Route: func(rc *routing.RouteConfig) { rc.HostHeader = tt.header },
			Front: func(c *front.Config) { c.Limits.Underscores = true },
		})
		for proto, c := range map[string]*fronttest.Conn{
			"http": fronttest.Dial(t, p.Addr), "https": fronttest.DialTLS(t, p.TLSAddr),
		} {
			_, port, _ := net.SplitHostPort(c.RemoteAddr().String())
			t.Run(tt.name+", "+proto, func(t *testing.T) {
				c.Send(sent)
				b := backend.Accept()
				if got, want := b.Head(), want(tt.host, proto, port); got != want {
					t.Errorf("the backend gets\n%q, want\n%q", got, want)
				}
				b.Send(fronttest.Switching)
				c.Bytes(fronttest.Switching)
				end(c, b)
			})
		}
	}
}
