package front_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

// What a proxy in front of us says of its client is taken from those who are trusted, and nobody else: for
// what the backend is told, for rules and for the log.
func TestTrustedProxies(t *testing.T) {
	const told = "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: pub.test\r\n" +
		"X-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /pub/\r\nX-Forwarded-Server: edge\r\nForwarded: for=192.0.2.7;proto=https\r\n"
	for _, tt := range []struct {
		name, file, sent, want, client string
	}{
		{"nobody is trusted", "", told,
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\nX-Client: 127.0.0.1 http\r\n", "127.0.0.1:"},
		{"others are", "trusted_proxies: [10.0.0.0/8]", told,
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\nX-Client: 127.0.0.1 http\r\n", "127.0.0.1:"},
		{"nobody is, with Forwarded", "forwarded: on", told,
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\n" +
				"Forwarded: for=127.0.0.1;host=a;proto=http\r\nX-Client: 127.0.0.1 http\r\n", "127.0.0.1:"},
		{"the proxy before us is", "trusted_proxies: [127.0.0.0/8]", told,
			"X-Forwarded-Server: edge\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n" +
				"X-Forwarded-Host: pub.test\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /pub\r\nX-Client: 10.0.0.1 https\r\n", "10.0.0.1 "},
		{"the two before us are", "trusted_proxies: [127.0.0.1, 10.0.0.0/8]", told,
			"X-Forwarded-Server: edge\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n" +
				"X-Forwarded-Host: pub.test\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /pub\r\nX-Client: 192.0.2.7 https\r\n", "192.0.2.7 "},
		{"trusted, with Forwarded alone", "trusted_proxies: [127.0.0.0/8]\nforwarded: on", "Forwarded: for=\"[2001:db8::7]:1234\"\r\n",
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\n" +
				"Forwarded: for=\"[2001:db8::7]:1234\", for=127.0.0.1;host=a;proto=http\r\nX-Client: 2001:db8::7 http\r\n", "2001:db8::7 "},
		{"trusted, and saying nothing", "trusted_proxies: [127.0.0.0/8]", "",
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\nX-Client: 127.0.0.1 http\r\n", "127.0.0.1:"},
		{"trusted, and talking nonsense", "trusted_proxies: [127.0.0.0/8]",
			"X-Forwarded-For: somebody\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 99999\r\nX-Forwarded-Prefix: //evil\r\n",
			"X-Forwarded-For: somebody, 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: PORT\r\nX-Client: 127.0.0.1 http\r\n",
			"127.0.0.1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
%s
routes:
  - path: /app/*
    backends: ["http://%s"]
    request_headers: {set: {X-Client: "${client_ip} ${scheme}"}}
`, tt.file, backend.Addr)))
			_, port, _ := strings.Cut(p.Addr, ":")
			want := "GET /app/ HTTP/1.1\r\nHost: a\r\n" + strings.Replace(tt.want, "PORT", port, 1) + "\r\n"
			c := fronttest.Dial(t, p.Addr)
			c.Send("GET /app/ HTTP/1.1\r\nHost: a\r\n" + tt.sent + "\r\n")
			b := backend.Accept()
			if got := b.Head(); got != want {
				t.Errorf("the backend gets\n%q, want\n%q", got, want)
			}
			b.Send("HTTP/1.1 204 No Content\r\n\r\n")
			c.Answer()
			c.Send("GET /none HTTP/1.1\r\nHost: a\r\n" + tt.sent + "\r\n")
			c.Answer()
			if lines := p.Log.Lines("msg=refused client=" + tt.client); len(lines) != 1 {
				t.Errorf("log = %q, want a line with client=%s", p.Log.Shown(), tt.client)
			}
		})
	}
}

// header2 is a PROXY protocol header of version 2 for TCP over IPv4.
func header2(client, destination netip.AddrPort) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	b = append(b, client.Addr().AsSlice()...)
	b = append(b, destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, client.Port())
	return string(binary.BigEndian.AppendUint16(b, destination.Port()))
}

// Who connects to a load balancer before us is the client, by its PROXY protocol header, for requests and
// links, with TLS and without.
func TestProxyProtocolFromClients(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0", proxy_protocol: on}]
trusted_proxies: [127.0.0.1]
routes:
  - path: /chat
    backends: ["http://%s"]
    request_headers: {set: {X-Client: "${client_ip} ${client_port} ${server_port} ${scheme}"}}
`, backend.Addr)))
	client, destination := netip.MustParseAddrPort("192.0.2.7:1234"), netip.MustParseAddrPort("203.0.113.1:443")
	for name, header := range map[string]string{
		"version 1": "PROXY TCP4 192.0.2.7 203.0.113.1 1234 443\r\n", "version 2": header2(client, destination),
	} {
		for scheme, dial := range map[string]func() *fronttest.Conn{
			"http": func() *fronttest.Conn {
				c := fronttest.Dial(t, p.Addr)
				c.Send(header)
				return c
			},
			"https": func() *fronttest.Conn {
				c := fronttest.Dial(t, p.TLSAddr)
				c.Send(header)
				return c.Secure()
			},
		} {
			t.Run(name+", "+scheme, func(t *testing.T) {
				want := "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: " + scheme + "\r\nX-Forwarded-Host: site.test\r\nX-Forwarded-Port: 443\r\n" +
					"X-Client: 192.0.2.7 1234 443 " + scheme + "\r\n\r\n"
				links := len(p.Log.Lines("msg=link ", "client=192.0.2.7:1234"))
				c := dial()
				c.Send("GET /chat HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
				b := backend.Accept()
				if got := b.Head(); !strings.HasSuffix(got, "Host: site.test\r\n"+want) {
					t.Errorf("the backend gets\n%q, want at its end\n%q", got, want)
				}
				b.Send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
				c.Answer()
				c.Send(fronttest.Handshake + fronttest.ClientHello)
				b = backend.Accept()
				if got := b.Head(); !strings.HasSuffix(got, "\r\n"+want) {
					t.Errorf("the backend gets\n%q, want at its end\n%q", got, want)
				}
				b.Send(fronttest.Switching)
				c.Bytes(fronttest.Switching)
				b.Bytes(fronttest.ClientHello)
				closeLink(c, b)
				p.Log.Await(t, links+1, "msg=link ", "client=192.0.2.7:1234")
			})
		}
	}
	for name, sent := range map[string]string{
		"none": "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n", "a broken one": "PROXY TCP4 192.0.2.7 nonsense 1 2\r\nGET /chat HTTP/1.1\r\nHost: a\r\n\r\n",
		"another version": "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0cxxxxxxxxxxxxGET /chat HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run("from trusted, "+name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(sent)
			if got := c.Rest(); got != "" {
				t.Errorf("answer = %q, want none", got)
			}
			backend.Untouched()
		})
	}
}

// A header of a client that nobody trusts is no request.
func TestProxyProtocolFromAnybodyElse(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0", proxy_protocol: on}]
trusted_proxies: [192.0.2.1]
routes: [{backends: ["http://%s"]}]
`, backend.Addr)))
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, header := range map[string]string{
		"version 1": "PROXY TCP4 192.0.2.7 203.0.113.1 1234 443\r\n",
		"version 2": header2(netip.MustParseAddrPort("192.0.2.7:1234"), netip.MustParseAddrPort("203.0.113.1:443")),
	} {
		c := fronttest.Dial(t, p.Addr)
		c.Send(header + request)
		if r, _ := c.Answer(); r.StatusCode != 400 || !r.Close {
			t.Errorf("%s gets %d, want 400 and the end", name, r.StatusCode)
		}
		backend.Untouched()
	}
	c := fronttest.Dial(t, p.Addr) // without one it is served
	c.Send(request)
	b := backend.Accept()
	if head := b.Head(); !strings.Contains(head, "X-Forwarded-For: 127.0.0.1\r\n") {
		t.Errorf("the backend is asked %q", head)
	}
	b.Send("HTTP/1.1 204 No Content\r\n\r\n")
	c.Answer()
}

// A backend that wants to know is told first who asks, on a connection that is for that one request.
func TestProxyProtocolToBackends(t *testing.T) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.File(t, fmt.Sprintf(`
listeners: [{address: ":0"}]
routes: [{backends: ["http://%s"], proxy_protocol: v%d}]
`, backend.Addr, version)))
			for scheme, dial := range map[string]func() *fronttest.Conn{
				"http":  func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) },
				"https": func() *fronttest.Conn { return fronttest.DialTLS(t, p.TLSAddr) },
			} {
				c := dial()
				client := netip.MustParseAddrPort(c.LocalAddr().String())
				destination := netip.MustParseAddrPort(c.RemoteAddr().String())
				header := header2(client, destination)
				if version == 1 {
					header = fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", client.Port(), destination.Port())
				}
				for range 2 { // each on a connection of its own
					c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
					b := backend.Accept()
					b.Bytes(header)
					if body := b.Request(); body != "abc" {
						t.Errorf("%s: the backend gets the body %q", scheme, body)
					}
					b.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					if r, body := c.Answer(); body != "ok" || r.Close {
						t.Errorf("%s: answer = %q, close %v, want ok and no end", scheme, body, r.Close)
					}
					if got := b.Rest(); got != "" {
						t.Errorf("%s: the connection goes on with %q, want the end", scheme, got)
					}
				}
				c.Send(fronttest.Handshake + fronttest.ClientHello)
				b := backend.Accept()
				b.Bytes(header)
				if head := b.Head(); !strings.HasPrefix(head, "GET /chat") {
					t.Errorf("%s: the backend is asked %q", scheme, head)
				}
				b.Send(fronttest.Switching)
				c.Bytes(fronttest.Switching)
				b.Bytes(fronttest.ClientHello)
				closeLink(c, b)
			}
		})
	}
}
