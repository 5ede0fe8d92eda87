package front_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
)

// named is a backend that says its name in each answer.
func named(t *testing.T, name string) *fronttest.Backend {
	b := fronttest.Listen(t)
	b.Serve(func(c *fronttest.Conn) {
		head, err := c.TryHead()
		switch {
		case err != nil:
		case strings.Contains(head, "/no"):
			fmt.Fprintf(c, "HTTP/1.1 401 Unauthorized\r\nX-Name: %s\r\nContent-Length: 0\r\n\r\n", name)
		case strings.Contains(head, "Upgrade: websocket"):
			fmt.Fprint(c, strings.Replace(fronttest.Switching, "\r\n\r\n", "\r\nX-Name: "+name+"\r\n\r\n", 1))
			c.Rest()
		default:
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Name: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", name)
		}
	})
	return b
}

func TestStickyClients(t *testing.T) {
	const n = 4
	var backends []routing.BackendConfig
	for i := range n {
		backends = append(backends, backendAt(named(t, fmt.Sprint(i)).Addr)...)
	}
	p := fronttest.Start(t, fronttest.Config{Routes: []routing.RouteConfig{{Backends: backends, Sticky: new(routing.StickyConfig)}}})
	valves := make(map[string]routing.Judge)
	for _, b := range backends {
		valves[b.Addr] = newValve()
	}
	witnesses(t, p, valves)

	// send gives who has answered, and the cookie that was set, nil for none.
	send := func(c *fronttest.Conn, request, cookie string) (name string, set *http.Cookie) {
		t.Helper()
		if cookie != "" {
			request = strings.Replace(request, "\r\n\r\n", "\r\nCookie: a=b; wsproxy="+cookie+"\r\n\r\n", 1)
		}
		c.Send(request)
		head := c.Head()
		c.Close()
		_, fields, _ := strings.Cut(head, "\r\n")
		h := make(http.Header)
		for _, line := range strings.Split(fields, "\r\n") {
			if key, value, ok := strings.Cut(line, ": "); ok {
				h.Add(key, value)
			}
		}
		if cookies := (&http.Response{Header: h}).Cookies(); len(cookies) > 0 {
			set = cookies[0]
		}
		return h.Get("X-Name"), set
	}
	plain := func() *fronttest.Conn { return fronttest.Dial(t, p.Addr) }
	requests := map[string]string{
		"request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "handshake": fronttest.Handshake,
		"refused handshake": strings.Replace(fronttest.Handshake, "/chat", "/no", 1),
	}
	for kind, request := range requests {
		first, cookie := send(plain(), request, "")
		if cookie == nil || cookie.Name != "wsproxy" || cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" {
			t.Fatalf("the answer to a %s sets the cookie %v", kind, cookie)
		}
		for again, request := range requests {
			for range n + 1 { // more than everybody's turn
				if name, set := send(plain(), request, cookie.Value); name != first || set != nil {
					t.Errorf("a %s behind a %s goes to %q, want %q, and sets %v, want none", again, kind, name, first, set)
				}
			}
			for what, forged := range map[string]string{
				"changed": "A" + cookie.Value[1:], "cut": cookie.Value[1:], "longer": cookie.Value + "A", "of somebody else": "session",
			} {
				if strings.HasPrefix(cookie.Value, "A") && what == "changed" {
					continue
				}
				if _, set := send(plain(), request, forged); set == nil {
					t.Errorf("a %s with a cookie that is %s sets none", again, what)
				}
			}
		}
		if _, set := send(fronttest.DialTLS(t, p.TLSAddr), request, ""); set == nil || !set.Secure {
			t.Errorf("the answer to a %s over TLS sets %v, want Secure", kind, set)
		}

		// Where its backend is down, it gets another, and a cookie for that.
		b := p.Table.Routes()[0].Backends()[first[0]-'0']
		valves[b.Addr].(*valve).shut.Store(true)
		b.SetHealthy(false, time.Now())
		second, moved := send(plain(), request, cookie.Value)
		if second == first || moved == nil || moved.Value == cookie.Value {
			t.Errorf("a %s whose backend is down goes to %q, from %q, and sets %v", kind, second, first, moved)
		}
		valves[b.Addr].(*valve).shut.Store(false)
		b.SetHealthy(true, time.Now())
		if name, set := send(plain(), request, moved.Value); name != second || set != nil {
			t.Errorf("a %s goes to %q, want %q, and sets %v, want none", kind, name, second, set)
		}
	}
}
