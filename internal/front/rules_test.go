package front_test

import (
	"fmt"
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

// What a route's rules say is done to requests, answers and 101s, and to nothing else: order and spelling
// stay.
func TestHeaderRules(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
routes:
  - path: /*
    backends: ["http://%s"]
    request_headers:
      set: {x-who: "${client_ip}", X-What: "${method} ${path}?${query}"}
      add: {X-Via: "${route}", Cookie: "more=$${x}"}
      remove: [x-secret, X-Forwarded-Port]
    response_headers:
      set: {Server: "ours for ${host}", X-Frame: DENY}
      add: {Set-Cookie: "c=3"}
      remove: [x-powered-by]
`, backend.Addr)))
	const sent = "X-SECRET: 1\r\nx-WHO: evil\r\nCookie: a=1\r\nX-Who: evil\r\nx-ODD:  y\r\nX-Secret: 2\r\n"
	asked := func(method, target string) string {
		path, query, _ := strings.Cut(target, "?")
		return "x-who: 127.0.0.1\r\nCookie: a=1\r\nx-ODD: y\r\n" +
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: site.test\r\n" +
			"X-What: " + method + " " + path + "?" + query + "\r\nX-Via: */*\r\nCookie: more=${x}\r\n\r\n"
	}
	c := fronttest.Dial(t, p.Addr)
	c.Send("OPTIONS /a%20b?c=d HTTP/1.1\r\nhOST: site.test\r\n" + sent + "\r\n")
	b := backend.Accept()
	if got, want := b.Head(), "OPTIONS /a%20b?c=d HTTP/1.1\r\nhOST: site.test\r\n"+asked("OPTIONS", "/a%20b?c=d"); got != want {
		t.Errorf("the backend gets\n%q, want\n%q", got, want)
	}
	b.Send("HTTP/1.1 299 Odd One\r\nset-cookie: a=1\r\nSERVER: theirs\r\nX-Powered-By: x\r\nx-ODD: y\r\nSet-Cookie: b=2\r\nserver: more\r\nContent-Length: 2\r\n\r\nok")
	c.Bytes("HTTP/1.1 299 Odd One\r\nset-cookie: a=1\r\nServer: ours for site.test\r\nx-ODD: y\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n" +
		"X-Frame: DENY\r\nSet-Cookie: c=3\r\n\r\nok")
	b.Close()

	for name, answer := range map[string]string{
		"101": fronttest.Switching, "403": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(strings.TrimSuffix(fronttest.Handshake, "\r\n") + sent + "\r\n")
			b := backend.Accept()
			if got, want := b.Head(), asked("GET", "/chat?room=1"); !strings.HasSuffix(got, "\r\n"+want) {
				t.Errorf("the backend gets\n%q, want at its end\n%q", got, want)
			}
			line, fields, _ := strings.Cut(answer, "\r\n")
			b.Send(line + "\r\nX-Powered-By: x\r\nServer: theirs\r\n" + fields)
			want := line + "\r\nServer: ours for site.test\r\n" + strings.TrimSuffix(fields, "\r\n")
			if name == "403" {
				b.Send("no")
				want += "Connection: close\r\n"
			}
			if got := c.Head(); got != want+"X-Frame: DENY\r\nSet-Cookie: c=3\r\n\r\n" {
				t.Errorf("the client gets\n%q, want\n%q", got, want)
			}
			if name == "101" {
				closeLink(c, b)
			}
		})
	}
}

// What we answer ourselves is no backend's answer, and has no rules.
func TestOwnAnswersHaveNoRules(t *testing.T) {
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
routes: [{backends: ["http://%s"], response_headers: {set: {X-Frame: DENY}}}]
`, nobody(t))))
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r, _ := c.Answer(); r.StatusCode != 502 || r.Header.Get("X-Frame") != "" {
		t.Errorf("answer = %d with %q, want 502 without a rule", r.StatusCode, r.Header)
	}
}

// The path, the host and the prefix that a backend is sent are those of its route.
func TestPathPrefixAndHostHeader(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
trusted_proxies: [127.0.0.1]
routes:
  - {path: /keep/*, backends: ["http://%[1]s"]}
  - {path: /strip/*, backends: ["http://%[1]s"], path_prefix: strip, host_header: backend}
  - {path: /swap/*, backends: ["http://%[1]s"], path_prefix: /v2, host_header: inner.test}
  - {path: /one, backends: ["http://%[1]s"], path_prefix: /other}
`, backend.Addr)))
	for _, tt := range []struct{ target, prefix, want, host, told string }{
		{"/keep/a?b", "", "/keep/a?b", "a", ""},
		{"/strip/a?b=/strip/", "", "/a?b=/strip/", backend.Addr, "/strip"},
		{"/strip", "", "/", backend.Addr, "/strip"},
		{"/strip?x", "", "/?x", backend.Addr, "/strip"},
		{"/strip//evil.test/", "", "/evil.test/", backend.Addr, "/strip"},
		{"/strip/\\evil.test/", "", "/evil.test/", backend.Addr, "/strip"},
		{"/strip/%2fa", "/pub", "/%2fa", backend.Addr, "/pub/strip"},
		{"/swap/a/", "", "/v2/a/", "inner.test", "/swap"},
		{"/swap", "/pub/", "/v2", "inner.test", "/pub/swap"},
		{"/one?x", "", "/other?x", "a", ""},
		{"/one", "/pub", "/other", "a", "/pub"},
	} {
		for _, websocket := range []bool{false, true} {
			request := "GET " + tt.target + " HTTP/1.1\r\nHost: a\r\n\r\n"
			if websocket {
				request = strings.NewReplacer("/chat?room=1", tt.target, "site.test", "a").Replace(fronttest.Handshake)
			}
			if tt.prefix != "" {
				request = strings.TrimSuffix(request, "\r\n") + "X-Forwarded-Prefix: " + tt.prefix + "\r\n\r\n"
			}
			c := fronttest.Dial(t, p.Addr)
			c.Send(request)
			b := backend.Accept()
			head := b.Head()
			if start := "GET " + tt.want + " HTTP/1.1\r\nHost: " + tt.host + "\r\n"; !strings.HasPrefix(head, start) {
				t.Errorf("for %s the backend gets %q, want %q", tt.target, head, start)
			}
			_, told, _ := strings.Cut(head, "\r\nX-Forwarded-Prefix: ")
			if told, _, _ = strings.Cut(told, "\r\n"); told != tt.told {
				t.Errorf("for %s the backend is told of the prefix %q, want %q", tt.target, told, tt.told)
			}
			if !strings.Contains(head, "\r\nX-Forwarded-Host: a\r\n") {
				t.Errorf("for %s the backend is not told of the client's host: %q", tt.target, head)
			}
			b.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			c.Answer()
			c.Close()
			b.Close()
		}
	}
}

// A route for WebSockets alone says so to everybody else, and stays open for a second try.
func TestRouteWithoutHTTP(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
routes: [{backends: ["http://%s"], http: off}]
`, backend.Addr)))
	c := fronttest.Dial(t, p.Addr)
	for _, method := range []string{"GET", "HEAD", "BREW"} {
		c.Send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
		r, _ := c.AnswerTo(method)
		if r.StatusCode != 426 || r.Close || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("%s gets %d %q, close %v, want 426 and how to go on", method, r.StatusCode, r.Header, r.Close)
		}
	}
	if n := p.Server.Refused()["no_http"]; n != 3 {
		t.Errorf("refused for no_http: %d, want 3", n)
	}
	backend.Untouched()
	c.Send(fronttest.Handshake)
	b := backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	closeLink(c, b)

	c = fronttest.Dial(t, p.Addr) // a body is not waited for
	c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + smuggled)
	if r, _ := c.Answer(); r.StatusCode != 426 {
		t.Errorf("status = %d, want 426", r.StatusCode)
	}
	if rest := c.Rest(); rest != "" {
		t.Errorf("behind the answer: %q, want the end", rest)
	}
	backend.Untouched()
}
