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

func networks(texts ...string) (n routing.Networks) {
	for _, text := range texts {
		n = append(n, netip.MustParsePrefix(text))
	}
	return n
}

func TestAddressesAreAllowedAndDenied(t *testing.T) {
	own, test := networks("127.0.0.0/8"), networks("192.0.2.0/24")
	for _, tt := range []struct {
		name            string
		listener, route routing.Access
		forwarded       string // by a trusted proxy; empty for a client of its own
		reason          string // empty: it is served
	}{
		{"no lists", routing.Access{}, routing.Access{}, "", ""},
		{"the listener allows", routing.Access{Allow: own}, routing.Access{}, "", ""},
		{"the listener does not", routing.Access{Allow: test}, routing.Access{}, "", "address"},
		{"the listener denies", routing.Access{Deny: own}, routing.Access{}, "", "address"},
		{"deny wins", routing.Access{Allow: own, Deny: own}, routing.Access{}, "", "address"},
		{"the route allows", routing.Access{}, routing.Access{Allow: own}, "", ""},
		{"the route does not", routing.Access{}, routing.Access{Allow: test}, "", "route_address"},
		{"the route denies", routing.Access{}, routing.Access{Deny: own}, "", "route_address"},
		{"both allow", routing.Access{Allow: own}, routing.Access{Allow: own}, "", ""},
		{"the route cannot allow what the listener does not", routing.Access{Allow: test}, routing.Access{Allow: own}, "", "address"},
		{"the listener allows a client behind a proxy", routing.Access{Allow: test}, routing.Access{}, "192.0.2.9", ""},
		{"the listener denies a client behind a proxy", routing.Access{Deny: test}, routing.Access{}, "192.0.2.9", "address"},
		{"the listener allows the proxy alone", routing.Access{Allow: own}, routing.Access{}, "192.0.2.9", "address"},
		{"the route denies a client behind a proxy", routing.Access{}, routing.Access{Deny: test}, "192.0.2.9", "route_address"},
		{"the route allows a client behind a proxy", routing.Access{}, routing.Access{Allow: test}, "192.0.2.9", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			admits := func(c *tlsterm.Config) {
				if !tt.listener.Everybody() {
					c.Admits = tt.listener.Admits
				}
			}
			p := fronttest.Start(t, fronttest.Config{
				Backend: backend.Addr, Plain: admits, TLS: admits,
				Route: func(r *routing.RouteConfig) { r.Access = tt.route },
				Front: func(c *front.Config) {
					if tt.forwarded != "" {
						trustLoopback(c)
					}
				},
			})
			more := ""
			if tt.forwarded != "" {
				more = "X-Forwarded-For: " + tt.forwarded + "\r\n"
			}
			requests := map[string]string{
				"plain":     "GET / HTTP/1.1\r\nHost: a\r\n" + more + "\r\n",
				"handshake": strings.Replace(fronttest.Handshake, "Host: ", more+"Host: ", 1),
			}
			for kind, request := range requests {
				for _, c := range []*fronttest.Conn{fronttest.Dial(t, p.Addr), fronttest.DialTLS(t, p.TLSAddr)} {
					before := p.Server.Refused()[tt.reason]
					c.Send(request)
					want := 403
					if tt.reason == "" {
						want = 418
						b := backend.Accept()
						b.Head()
						b.Send("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")
						b.Close()
					}
					if r, body := c.Answer(); r.StatusCode != want || r.Header.Get("Retry-After") != "" {
						t.Errorf("%s: answer = %d %v %q, want %d", kind, r.StatusCode, r.Header, body, want)
					}
					if tt.reason != "" {
						if n := p.Server.Refused()[tt.reason] - before; n != 1 {
							t.Errorf("%s: %d more refused as %s, want 1", kind, n, tt.reason)
						}
					}
					c.Close()
				}
			}
			backend.Untouched()
		})
	}
}

// An ACME server asks from anywhere, and who is not served is not redirected either.
func TestAddressesAndPlainPorts(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{
		Backend: backend.Addr,
		Plain: func(c *tlsterm.Config) {
			c.HTTPSPort = 443
			c.Admits = func(netip.Addr) bool { return false }
		},
		Front: func(c *front.Config) {
			c.Challenge = func(_, path string) ([]byte, bool) { return []byte("proof"), path == "/.well-known/acme-challenge/x" }
		},
	})
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a\r\n\r\n")
	if r, body := c.Answer(); r.StatusCode != 200 || body != "proof" {
		t.Errorf("a challenge gets %d %q, want 200 and the proof", r.StatusCode, body)
	}
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r, _ := c.Answer(); r.StatusCode != 403 || !r.Close {
		t.Errorf("status = %d, want 403 and the end", r.StatusCode)
	}
}

func TestOriginsOfHandshakes(t *testing.T) {
	list := routing.Origins{List: []routing.Origin{{Scheme: "https", Host: "site.test", Port: 443}, {Scheme: "https", Host: "b.test", Port: 443}}}
	strict := func(o routing.Origins) routing.Origins { o.RefuseMissing = true; return o }
	same := routing.Origins{Same: true}
	for _, tt := range []struct {
		name    string
		origins routing.Origins
		fields  string // of the handshake
		proxied bool   // by one that is trusted
		wss     bool
		reason  string // empty: the backend is asked
	}{
		{"any", routing.Origins{}, "Origin: https://evil.test\r\n", false, false, ""},
		{"any, none", routing.Origins{}, "", false, false, ""},
		{"any, two", strict(routing.Origins{}), "Origin: a\r\nOrigin: b\r\n", false, false, ""},
		{"any but none", strict(routing.Origins{}), "", false, false, "no_origin"},
		{"any but none, one", strict(routing.Origins{}), "Origin: null\r\n", false, false, ""},
		{"listed", list, "Origin: https://b.test\r\n", false, false, ""},
		{"listed, strict", strict(list), "origin:  https://B.test:443 \r\n", false, false, ""},
		{"not listed", list, "Origin: https://evil.test\r\n", false, false, "origin"},
		{"null", list, "Origin: null\r\n", false, false, "origin"},
		{"empty", list, "Origin:\r\n", false, false, "origin"},
		{"listed, twice", list, "Origin: https://b.test\r\nOrigin: https://b.test\r\n", false, false, "origin"},
		{"none", list, "", false, false, ""},
		{"none, strict", strict(list), "", false, false, "no_origin"},
		{"same, ws", same, "Origin: http://site.test\r\n", false, false, ""},
		{"same, wss", same, "Origin: https://site.test\r\n", false, true, ""},
		{"same, another scheme", same, "Origin: https://site.test\r\n", false, false, "origin"},
		{"same, another host", same, "Origin: http://evil.test\r\n", false, false, "origin"},
		{"same, TLS ends before us", same, "Origin: https://site.test\r\nX-Forwarded-Proto: https\r\n", true, false, ""},
		{"same, a lie about TLS", same, "Origin: https://site.test\r\nX-Forwarded-Proto: https\r\n", false, false, "origin"},
		{"same, Host replaced before us", same, "Origin: http://www.test\r\nX-Forwarded-Host: www.test\r\n", true, false, ""},
		{"same, a lie about Host", same, "Origin: http://www.test\r\nX-Forwarded-Host: www.test\r\n", false, false, "origin"},
		{"same, nonsense for Host", same, "Origin: http://site.test\r\nX-Forwarded-Host: a b\r\n", true, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{
				Backend: backend.Addr, Route: func(r *routing.RouteConfig) { r.Origins = tt.origins },
				Front: func(c *front.Config) {
					if tt.proxied {
						trustLoopback(c)
					}
				},
			})
			c := fronttest.Dial(t, p.Addr)
			if tt.wss {
				c = fronttest.DialTLS(t, p.TLSAddr)
			}
			c.Send(strings.Replace(fronttest.Handshake, "Upgrade: ", tt.fields+"Upgrade: ", 1))
			if tt.reason == "" {
				b := backend.Accept()
				b.Head()
				b.Send(fronttest.Switching)
				c.Bytes(fronttest.Switching)
				end(t, p, 1, c, b)
				return
			}
			if r, body := c.Answer(); r.StatusCode != 403 || !r.Close || strings.Contains(body, "evil") {
				t.Errorf("answer = %d %q, close %v, want 403, nothing of the origin, and the end", r.StatusCode, body, r.Close)
			}
			if n := p.Server.Refused()[tt.reason]; n != 1 {
				t.Errorf("refused = %v, want one as %s", p.Server.Refused(), tt.reason)
			}
			backend.Untouched()
		})
	}
}

// The log says which origin it was, since somebody may have to list it.
func TestRefusedOriginIsLogged(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(r *routing.RouteConfig) { r.Origins.Same = true }})
	c := fronttest.Dial(t, p.Addr)
	c.Send(strings.Replace(fronttest.Handshake, "Upgrade: ", "Origin: https://new.test/"+strings.Repeat("x", 1000)+"\r\nUpgrade: ", 1))
	c.Answer()
	p.Log.Await(t, 1, "msg=refused", "reason=origin", "https://new.test/xxx")
	if line := p.Log.Lines("reason=origin")[0]; len(line) > 400 {
		t.Errorf("the line has %d bytes: %s", len(line), line)
	}
	// Plain requests have origins that are the backend's to judge (CORS).
	c = fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.test\r\n\r\n")
	b := backend.Accept()
	b.Head()
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	if r, _ := c.Answer(); r.StatusCode != 204 {
		t.Errorf("status of a plain request = %d, want 204", r.StatusCode)
	}
}
