package front_test

import (
	"net/netip"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// hostile are targets that end a line for whoever decodes them, or cuts code points down to bytes.
var hostile = []string{
	"/%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0aHTTP/1.1%20200%20OK",
	"/%0D%0ASet-Cookie:evil?%0d%0aSet-Cookie:%20evil",
	"/\xe5\x98\x8a\xe5\x98\x8dSet-Cookie:evil",    // U+560A, U+560D
	"/\xc4\x8a\xc4\x8d\xc2\x85Set-Cookie:evil",    // U+010A, U+010D, U+0085
	"/\xe2\x80\xa8Set-Cookie:evil?\xe2\x80\xa9:",  // U+2028, U+2029
	"/\\r\\nSet-Cookie:evil?\\u000d\\u000aa:evil", // spelled out
	"/\x8d\x8aSet-Cookie:evil?a=\xff\xfe\x8a",     // with the top bit set
	`/";Set-Cookie:evil,${path}$${host}?${query}`,
	"//evil.test/%2f.a?http://evil.test",
}

func template(t *testing.T, text string) routing.Template {
	t.Helper()
	v, err := routing.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Whatever a request has in its target and its host stays within the one line that a rule makes of it, on
// both sides and in a 101.
func TestVariablesSplitNothing(t *testing.T) {
	backend := fronttest.Listen(t)
	const all = "[${method} ${host} ${path} ${query}]"
	rules := routing.HeaderRules{
		Set: []routing.HeaderRule{{Name: "X-All", Value: template(t, all)}},
		Add: []routing.HeaderRule{{Name: "X-More", Value: template(t, all)}},
	}
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(rc *routing.RouteConfig) {
		rc.RequestHeaders, rc.ResponseHeaders = rules, rules
	}})
	for _, target := range hostile {
		for _, host := range []string{"a", "a%8d%8a%e5%98%8ax", "a,b;c='(d)'"} {
			path, query, _ := strings.Cut(target, "?")
			lines := func(method string) string {
				value := "[" + method + " " + host + " " + path + " " + query + "]\r\n"
				return "X-All: " + value + "X-More: " + value
			}

			c := fronttest.Dial(t, p.Addr)
			c.Send("PUT " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			b := backend.Accept()
			want := "PUT " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + origin(p.Addr, host) + lines("PUT") + "\r\n"
			if got := b.Head(); got != want {
				t.Errorf("the backend gets\n%q, want\n%q", got, want)
			}
			b.Send("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nok")
			c.Bytes("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n" + lines("PUT") + "\r\nok")
			c.Close()
			b.Close()

			c = fronttest.Dial(t, p.Addr)
			c.Send(strings.NewReplacer("/chat?room=1", target, "site.test", host).Replace(fronttest.Handshake))
			b = backend.Accept()
			if got := b.Head(); !strings.HasSuffix(got, origin(p.Addr, host)+lines("GET")+"\r\n") {
				t.Errorf("the backend gets\n%q, want at its end\n%q", got, lines("GET"))
			}
			b.Send(fronttest.Switching)
			c.Bytes(strings.TrimSuffix(fronttest.Switching, "\r\n") + lines("GET") + "\r\n")
			closeLink(c, b)
		}
		if t.Failed() {
			return
		}
	}
}

// A redirect's Location is one line, and leads to the host that was asked for.
func TestRedirectSplitsNothing(t *testing.T) {
	p := fronttest.Start(t, fronttest.Config{Backend: nobody(t), Plain: func(c *tlsterm.Config) { c.HTTPSPort = 443 }})
	for _, target := range hostile {
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET " + target + " HTTP/1.1\r\nHost: site.test\r\n\r\n")
		r, body := c.Answer()
		location := r.Header.Get("Location")
		if r.StatusCode != 301 || !strings.HasPrefix(location, "https://site.test/") || strings.ContainsFunc(location, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			t.Errorf("%q is sent to %q with %d", target, location, r.StatusCode)
		}
		if len(r.Header) != 4 { // Date, Content-Type, Content-Length
			t.Errorf("%q gets the fields %q", target, r.Header)
		}
		if body != "this is at "+location+"\n" {
			t.Errorf("body = %q", body)
		}
		c.Send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
		if r, _ := c.Answer(); r.Header.Get("Location") != "https://site.test/" {
			t.Errorf("the next answer behind %q leads to %q", target, r.Header.Get("Location"))
		}
		c.Close()
	}
}

// Nor does what a trusted proxy passes on of its client's.
func TestForwardedClaimsSplitNothing(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) {
		c.TrustedProxies = routing.Networks{netip.MustParsePrefix("127.0.0.0/8")}
		c.Forwarded = true
	}})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6%0d%0aX: y, \xe5\x98\x8a\r\nX-Forwarded-Host: a%0d%0aX:y, evil\r\n" +
		"X-Forwarded-Proto: https%0d%0a\r\nX-Forwarded-Port: 1%0a\r\nX-Forwarded-Prefix: /%0d%0a\xe5\x98\x8a\r\n" +
		"Forwarded: for=\"6.6.6.6\r\nX-Forwarded-Server: \x8a\r\n\r\n")
	b := backend.Accept()
	_, port, _ := strings.Cut(p.Addr, ":")
	want := "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Server: \x8a\r\n" +
		"X-Forwarded-For: 6.6.6.6%0d%0aX: y, \xe5\x98\x8a, 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a%0d%0aX:y\r\n" +
		"X-Forwarded-Port: " + port + "\r\nX-Forwarded-Prefix: /%0d%0a\xe5\x98\x8a\r\n" +
		"Forwarded: for=unknown, for=127.0.0.1;host=a;proto=http\r\n\r\n"
	if got := b.Head(); got != want {
		t.Errorf("the backend gets\n%q, want\n%q", got, want)
	}
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	c.Answer()
}
