package front_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/tlsterm"
)

func TestRedirectToHTTPS(t *testing.T) {
	backend := fronttest.Listen(t)
	for _, tt := range []struct {
		name, request string
		port, status  int
		location      string
	}{
		{"GET", "GET /a/b?c=d&e HTTP/1.1\r\nHost: site.test\r\n\r\n", 443, 301, "https://site.test/a/b?c=d&e"},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: site.test:8080\r\n\r\n", 443, 301, "https://site.test/"},
		{"POST keeps its method", "POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n\r\nabc", 443, 308, "https://site.test/x"},
		{"another port", "GET /x HTTP/1.1\r\nHost: site.test:8080\r\n\r\n", 8443, 301, "https://site.test:8443/x"},
		{"IPv6", "GET /x HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", 8443, 301, "https://[2001:db8::1]:8443/x"},
		{"IPv6 without a port", "GET /x HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", 443, 301, "https://[2001:db8::1]/x"},
		{"two slashes", "GET //evil.test/x HTTP/1.1\r\nHost: site.test\r\n\r\n", 443, 301, "https://site.test//evil.test/x"},
		{"absolute form", "GET http://site.test/x?y HTTP/1.1\r\nHost: site.test\r\n\r\n", 443, 301, "https://site.test/x?y"},
		{"bytes that no URL has", "GET /\xff HTTP/1.1\r\nHost: site.test\r\n\r\n", 443, 301, "https://site.test/%FF"},
		{"no host", "GET /x HTTP/1.0\r\n\r\n", 443, 400, ""},
		{"ambiguous", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 443, 400, ""},
		{"a handshake", fronttest.Handshake, 443, 403, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr,
				Plain: func(c *tlsterm.Config) { c.HTTPSPort = tt.port }})
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.request)
			method, _, _ := strings.Cut(tt.request, " ")
			r, body := c.AnswerTo(method)
			if r.StatusCode != tt.status || r.Header.Get("Location") != tt.location {
				t.Errorf("%d to %q, want %d to %q", r.StatusCode, r.Header.Get("Location"), tt.status, tt.location)
			}
			if tt.status == 403 && !strings.Contains(body, "wss://") {
				t.Errorf("body = %q, want what to use", body)
			}
			if refused := len(p.Log.Lines("msg=refused")); (refused == 1) != (tt.location == "") {
				t.Errorf("%d refusals logged:\n%s", refused, strings.Join(p.Log.Lines(), "\n"))
			}
		})
	}
	backend.Untouched()
}

func TestRedirectIsForPlainPortsOnly(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Plain: func(c *tlsterm.Config) { c.HTTPSPort = 443 }})
	c := fronttest.DialTLS(t, p.TLSAddr)
	c.Send("GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n")
	if r, body := c.Answer(); r.StatusCode != http.StatusOK || body != "/x" {
		t.Errorf("%d %q, want the backend's answer", r.StatusCode, body)
	}
}

func TestChallengeIsAnsweredOnPlainPorts(t *testing.T) {
	backend := fronttest.Listen(t)
	answerAll(t, backend)
	const path = "/.well-known/acme-challenge/token"
	for _, port := range []int{0, 443} {
		p := fronttest.Start(t, fronttest.Config{
			Backend: backend.Addr,
			Plain:   func(c *tlsterm.Config) { c.HTTPSPort = port },
			Front: func(c *front.Config) {
				c.Challenge = func(host, asked string) ([]byte, bool) {
					return []byte("answer"), host == "site.test" && asked == path
				}
			},
		})
		c := fronttest.Dial(t, p.Addr)
		for _, tt := range []struct {
			host, path, body string
		}{
			{"site.test", path, "answer"},
			{"site.test:80", path, "answer"},
			{"other.test", path, path},
			{"site.test", path + "2", path + "2"},
		} {
			c.Send("GET " + tt.path + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
			r, body := c.Answer()
			// What is not ours goes on as any request does.
			if port > 0 && tt.body != "answer" {
				if r.StatusCode != http.StatusMovedPermanently {
					t.Errorf("%s%s: %d, want a redirect", tt.host, tt.path, r.StatusCode)
				}
			} else if r.StatusCode != http.StatusOK || body != tt.body {
				t.Errorf("%s%s: %d %q, want %q", tt.host, tt.path, r.StatusCode, body, tt.body)
			}
		}
		secure := fronttest.DialTLS(t, p.TLSAddr)
		secure.Send("GET " + path + " HTTP/1.1\r\nHost: site.test\r\n\r\n")
		if _, body := secure.Answer(); body != path {
			t.Errorf("over TLS: %q, want the backend's answer", body)
		}
	}
}

func TestTLSOnThePlainPortIsNoRequest(t *testing.T) {
	p := fronttest.Start(t, fronttest.Config{Backend: fronttest.Listen(t).Addr})
	c := fronttest.Dial(t, p.Addr)
	if _, err := io.WriteString(c.Conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if rest := c.Rest(); rest != "" {
		t.Errorf("answer = %q, want none", rest)
	}
	if shown := p.Log.Shown(); len(shown) > 0 {
		t.Errorf("log = %q, want nothing above debug", shown)
	}
}
