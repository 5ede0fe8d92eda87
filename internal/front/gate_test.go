package front_test

import (
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

// refused are requests that the proxy answers itself, on a connection it then closes.
var refused = []struct {
	name, request string
	status        int
}{
	{"two lengths, equal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"two lengths, different", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
	{"a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400},
	{"a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400},
	{"a length in hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400},
	{"an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
	{"a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400},
	{"a length that overflows", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 400},
	{"a length and chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked and a length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
	{"an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
	{"a coding with a vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
	{"identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	{"identity and a length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked in a folded field", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},

	{"a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400},
	{"a tab before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400},
	{"a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400},
	{"a space in a name that frames", "POST / HTTP/1.1\r\nHost: a\r\nTransfer Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400},
	{"a first field that is indented", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	{"a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
	{"a folded length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 3\r\n\r\nabc", 400},
	{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
	{"LF LF before CRLF CRLF", "GET / HTTP/1.1\r\nHost: a\n\nGET /other HTTP/1.1\r\nHost: a\r\n\r\n", 400},

	{"no Host", "GET / HTTP/1.1\r\nX: b\r\n\r\n", 400},
	{"no field at all", "GET / HTTP/1.1\r\n\r\n", 400},
	{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"a Host with a user", "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n", 400},
	{"a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"a Host with high bytes", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400},

	{"a URL with another host", "GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a URL with another port", "GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a URL with a user", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a URL in HTTP/1.0 without Host", "GET http://a/x HTTP/1.0\r\n\r\n", 400},
	{"a URL of another scheme", "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a fragment", "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a tab in the target", "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a control character in the target", "GET /\x01x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400},
	{"HTTP/0.9", "GET /\r\n\r\n", 400},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},

	{"Connection drops Host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n", 400},
	{"Connection drops where it came from", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n", 400},
	{"Connection drops who it is", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-client-cert-subject\r\n\r\n", 400},
	{"Connection drops cookies", "GET / HTTP/1.1\r\nHost: a\r\nConnection: cookie\r\nCookie: b\r\n\r\n", 400},
	{"Connection drops a length", "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"Connection names very many", "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("b,", 17) + "\r\n\r\n", 400},

	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
	{"CONNECT of a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
	{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
	{"TRACE with a body framed in two ways",
		"TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 405},

	{"a head that is too large", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", 431},
	{"very many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 4<<10) + "\r\n", 431},
	{"a target that is too large", "GET /" + strings.Repeat("x", 20<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431},
}

// behind stands behind every one of them: were the connection not closed, it would be a request.
const behind = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

func TestGateRefuses(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.request + behind)
			r, body := c.Answer()
			if r.StatusCode != tt.status {
				t.Errorf("status = %d %q, want %d", r.StatusCode, body, tt.status)
			}
			if !r.Close {
				t.Errorf("the answer does not announce the connection's end: %v", r.Header)
			}
			if rest := c.Rest(); rest != "" {
				t.Errorf("behind the answer: %q, want the end", rest)
			}
			backend.Untouched()
		})
	}
}

// A request's bytes must not come back, where a browser or a terminal could take them for ours.
func TestRefusalsDoNotEchoTheRequest(t *testing.T) {
	const mark = "MARK"
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range []struct{ name, request string }{
		{"target", "GET /MARK#x HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"invalid target", "GET /MARK\x01 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"method", "MARK( / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"version", "GET / MARK/1.1\r\nHost: a\r\n\r\n"},
		{"Host", "GET / HTTP/1.1\r\nHost: MARK/\r\n\r\n"},
		{"URL", "GET http://MARK/ HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"name", "GET / HTTP/1.1\r\nHost: a\r\nMARK MARK: b\r\n\r\n"},
		{"value", "GET / HTTP/1.1\r\nHost: a\r\nX: MARK\x00\r\n\r\n"},
		{"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: MARK\r\n\r\n"},
		{"coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: MARK\r\n\r\n"},
		{"Connection", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host, MARK\r\n\r\n"},
		{"key", strings.Replace(fronttest.Handshake, fronttest.Key, mark, 1)},
		{"websocket version", strings.Replace(fronttest.Handshake, "Version: 13", "Version: "+mark, 1)},
		{"too large", "GET /" + strings.Repeat(mark, 5<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.request)
			r, body := c.Answer()
			var head strings.Builder
			_ = r.Header.Write(&head)
			if answer := r.Status + head.String() + body; strings.Contains(answer, mark) {
				t.Errorf("answer %q has the request's %q", answer, mark)
			}
		})
	}
	for _, line := range p.Log.Lines(mark) {
		t.Errorf("log line has the request's %q: %s", mark, line)
	}
}

// odd are requests that a strict proxy may pass on.
var odd = []struct {
	name, request, line string
}{
	{"a length with leading zeros", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 03\r\n\r\nabc", "POST / HTTP/1.1"},
	{"high bytes in a target and a value", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n", "GET /\xc3\xa4 HTTP/1.1"},
	{"an underscore in a name", "GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n", "GET / HTTP/1.1"},
	{"an unknown method", "brew / HTTP/1.1\r\nHost: a\r\n\r\n", "brew / HTTP/1.1"},
	{"empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1"},
	{"a URL with the same host", "GET hTTp://A:80?x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /?x HTTP/1.1"},
	{"two slashes", "GET //evil/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET //evil/x HTTP/1.1"},
	{"HTTP/1.0 without Host", "GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1"},
	{"an unknown expectation", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n", "GET /x HTTP/1.1"},
	{"an upgrade to something else", "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
		"GET /x HTTP/1.1"},
}

func TestGatePasses(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, tt := range odd {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.request)
			b := backend.Accept()
			head := b.Head()
			if line, _, _ := strings.Cut(head, "\r\n"); line != tt.line {
				t.Errorf("the backend gets %q, want %q", line, tt.line)
			}
			for _, name := range []string{"\r\nUpgrade:", "\r\nConnection:", "\r\nHTTP2-Settings:", "\r\nExpect:"} {
				if strings.Contains(head, name) {
					t.Errorf("the backend gets %q in %q", name, head)
				}
			}
			if !strings.Contains(head, "\r\nHost: ") {
				t.Errorf("the backend gets no Host: %q", head)
			}
			b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			if r, _ := c.Answer(); r.StatusCode != 204 {
				t.Errorf("status = %d, want 204", r.StatusCode)
			}
		})
	}
}
