package front_test

import (
	"net"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
)

// origin is what a backend is told of a client that came to addr and asked for host.
func origin(addr, host string) string {
	_, port, _ := net.SplitHostPort(addr)
	told := "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
	if host != "" {
		told += "X-Forwarded-Host: " + host + "\r\n"
	}
	return told + "X-Forwarded-Port: " + port + "\r\n"
}

// odd are requests that a strict proxy may pass on, and what the backend gets before it is told who asks.
var odd = []struct {
	name, request, host, want string
}{
	{"no fields but Host", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "GET / HTTP/1.1\r\nHost: a\r\n"},
	{"names and values as they are spelled", "GET / HTTP/1.1\r\nx-ODD:1\r\nhOsT:  a \r\nX-Odd:\t2\t \r\n!#$%&'*+-.^`|~09: \r\n\r\n", "a",
		"GET / HTTP/1.1\r\nx-ODD: 1\r\nhOsT: a\r\nX-Odd: 2\r\n!#$%&'*+-.^`|~09: \r\n"},
	{"bytes from 0x80 on in a target and a value", "GET /\xc3\xa4\xff HTTP/1.1\r\nHost: a\r\nX: \x80\xff\xc3\xa4\r\n\r\n", "a",
		"GET /\xc3\xa4\xff HTTP/1.1\r\nHost: a\r\nX: \x80\xff\xc3\xa4\r\n"},
	{"a tab and all else in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb \"(),/:;<=>?@[\\]{}\r\n\r\n", "a",
		"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb \"(),/:;<=>?@[\\]{}\r\n"},
	{"an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "GET / HTTP/1.1\r\nHost: a\r\n"},
	{"a length with leading zeros", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", "a",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n"},
	{"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "a", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"},
	{"HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "a", "GET /x HTTP/1.1\r\nHost: a\r\n"},
	{"HTTP/1.0 without Host", "GET /x HTTP/1.0\r\n\r\n", "", "GET /x HTTP/1.1\r\nHost: BACKEND\r\n"},

	{"a method that nobody knows", "brew / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "brew / HTTP/1.1\r\nHost: a\r\n"},
	{"a method of every sign", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n"},
	{"a method in small letters", "connect / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "connect / HTTP/1.1\r\nHost: a\r\n"},
	{"the longest method", "UPDATEREDIRECTREF / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "UPDATEREDIRECTREF / HTTP/1.1\r\nHost: a\r\n"},

	{"a URL with the same host", "GET hTTp://A:80?x HTTP/1.1\r\nHost: a:80\r\n\r\n", "a:80", "GET /?x HTTP/1.1\r\nHost: a:80\r\n"},
	{"a URL of https on a plain port", "GET https://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "a", "GET /b HTTP/1.1\r\nHost: a\r\n"},
	{"a URL without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "a", "GET / HTTP/1.1\r\nHost: a\r\n"},
	{"a URL in HTTP/1.0", "GET http://a/b HTTP/1.0\r\nHost: a\r\n\r\n", "a", "GET /b HTTP/1.1\r\nHost: a\r\n"},
	{"two slashes", "GET //evil/x HTTP/1.1\r\nHost: a\r\n\r\n", "a", "GET //evil/x HTTP/1.1\r\nHost: a\r\n"},
	{"every sign in a target", "GET /!$&'()*+,;=:@-._~%2F\"<>[]\\^`{|}?q=%zz&/?{} HTTP/1.1\r\nHost: a\r\n\r\n", "a",
		"GET /!$&'()*+,;=:@-._~%2F\"<>[]\\^`{|}?q=%zz&/?{} HTTP/1.1\r\nHost: a\r\n"},
	{"a host in IPv6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "[2001:db8::1]:80", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"},
	{"a host in capitals with a dot", "GET / HTTP/1.1\r\nHost: A.Example.\r\n\r\n", "A.Example.", "GET / HTTP/1.1\r\nHost: A.Example.\r\n"},
	{"a host with an underscore", "GET / HTTP/1.1\r\nHost: a_b\r\n\r\n", "a_b", "GET / HTTP/1.1\r\nHost: a_b\r\n"},

	{"an unknown expectation", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n", "a", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n"},
	{"an upgrade to something else",
		"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", "a",
		"GET /x HTTP/1.1\r\nHost: a\r\n"},
	{"fields of one hop", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop, hostile\r\nConnection: te\r\nKeep-Alive: 5\r\n" +
		"X-Hop: 1\r\nHostile: 1\r\nx-hop: 2\r\nTE: trailers\r\nTrailer: x\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: b\r\nX: y\r\n\r\n", "a",
		"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"},
	{"claims of where it is from", "GET / HTTP/1.1\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n" +
		"x-forwarded-host: evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: evil\r\nHost: a\r\n\r\n", "a",
		"GET / HTTP/1.1\r\nHost: a\r\n"},
}

func TestGatePasses(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range odd {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{0, 1} {
				c := fronttest.Dial(t, p.Addr)
				sendIn(c, tt.request, piece)
				b := backend.Accept()
				want := strings.Replace(tt.want, "BACKEND", backend.Addr, 1) + origin(p.Addr, tt.host) + "\r\n"
				if got := b.Head(); got != want {
					t.Errorf("the backend gets\n%q, want\n%q", got, want)
				}
				b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
				if r, _ := c.Answer(); r.StatusCode != 204 {
					t.Errorf("status = %d, want 204", r.StatusCode)
				}
				c.Close()
			}
		})
	}
	if lines := p.Log.Shown(); len(lines) != 0 {
		t.Errorf("log = %q, want nothing", lines)
	}
}

// Names with an underscore pass where that is wanted, but for those that CGI takes for one of the proxy's own.
func TestUnderscoresPassWhereTheyAreWanted(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) { c.Limits.Underscores = true }})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n_: 2\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nClient_Cert: x\r\n" +
		"FORWARDED: for=6.6.6.6\r\nContent_Length: 5\r\n\r\n")
	b := backend.Accept()
	want := "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n_: 2\r\nContent_Length: 5\r\n" + origin(p.Addr, "a") + "\r\n"
	if got := b.Head(); got != want {
		t.Errorf("the backend gets\n%q, want\n%q", got, want)
	}
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	c.Answer()
}
