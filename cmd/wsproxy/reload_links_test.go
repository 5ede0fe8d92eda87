package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"
)

// Links of a route that nobody touches carry messages all the time and never notice any of 200 reloads, and
// new ones are opened meanwhile; other routes come, go and change.
func TestUntouchedRoutesNoticeNoReload(t *testing.T) {
	reloads := 200
	if testing.Short() {
		reloads = 20
	}
	url, other := server(t, echoing), server(t, echoing)
	stays := fmt.Sprintf("{path: /stays, backends: [%q, builtin:echo], sticky: {}}", url)
	p := starting(t, routed(stays, "{path: /other, backends: [builtin:echo]}"), "")
	var links []*websocket.Conn
	for range 8 {
		links = append(links, p.open("/stays"))
	}
	done := make(chan struct{})
	var traffic sync.WaitGroup
	for i, conn := range links {
		traffic.Go(func() {
			for n := 0; ; n++ {
				if err := echoed(conn, strings.Repeat(fmt.Sprint(i, n, " "), 1+n%500)); err != nil {
					t.Errorf("link %d, message %d: %v", i, n, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	opened := 0
	traffic.Go(func() {
		for ; ; opened++ {
			conn, answer, err := p.dial("/stays")
			if err != nil {
				t.Errorf("handshake %d: %v %v", opened, err, answer)
				return
			}
			err = echoed(conn, "new")
			conn.Close()
			if err != nil {
				t.Errorf("new link %d: %v", opened, err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range reloads {
		routes := []string{stays}
		for j := range i % 4 {
			backend := []string{"builtin:echo", url, other}[(i+j)%3]
			routes = append(routes, fmt.Sprintf("{path: /r%d, backends: [%q], dial_timeout: %ds}", j, backend, 1+i%9))
		}
		if i%2 == 0 {
			routes[0], routes[len(routes)-1] = routes[len(routes)-1], routes[0]
		}
		changed := p.becomes(routed(routes...))
		if strings.Contains(changed, "/stays") || strings.Contains(changed, "listener") {
			t.Errorf("reload %d: %s", i, changed)
		}
		if i%4 > 0 {
			lives(t, "link of another route", p.open("/r0"))
		}
	}
	close(done)
	traffic.Wait()
	if opened == 0 {
		t.Error("no link was opened meanwhile")
	}
}

// What is gone or drained, in the file or by command, loses its links with 1012; the rest stays.
func TestLinksOfWhatIsGoneAreClosed(t *testing.T) {
	a, b := naming(t, "a"), naming(t, "b")
	both := fmt.Sprintf("{path: /both, backends: [%q, %q]}", a, b)
	gone := fmt.Sprintf("{path: /gone, backends: [%q]}", a)
	tests := []struct {
		name string
		do   func(p *inside)
		gone func(path, backend string) bool
	}{
		{"route", func(p *inside) { p.becomes(routed(both)) },
			func(path, _ string) bool { return path == "/gone" }},
		{"backend", func(p *inside) { p.becomes(routed(fmt.Sprintf("{path: /both, backends: [%q]}", b), gone)) },
			func(path, backend string) bool { return path == "/both" && backend == "a" }},
		{"drained in the file", func(p *inside) {
			p.becomes(routed(fmt.Sprintf("{path: /both, backends: [{url: %q, drain: on}, %q]}", a, b), gone))
		}, func(path, backend string) bool { return path == "/both" && backend == "a" }},
		{"drained by command", func(p *inside) {
			said, err := p.drain(a, true)
			if err != nil || len(said) != 1 {
				t.Errorf("drain: %q, %v", said, err)
			}
		}, func(_, backend string) bool { return backend == "a" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := starting(t, routed(both, gone), "")
			type held struct {
				*websocket.Conn
				path, backend string
			}
			var links []held
			for _, path := range []string{"/both", "/gone", "/both", "/gone", "/both", "/both"} {
				conn := p.open(path)
				links = append(links, held{conn, path, named(t, conn)})
			}
			tt.do(p)
			for _, l := range links {
				if tt.gone(l.path, l.backend) {
					restarted(t, l.path+" on "+l.backend, l.Conn)
				} else {
					lives(t, l.path+" on "+l.backend, l.Conn)
				}
			}
			if conn := p.open("/both"); tt.name != "route" && named(t, conn) != "b" {
				t.Error("what is gone has got a new link")
			}
		})
	}
}

// Undrained, a backend is used again, also after a reload between.
func TestDrainingOutlivesReload(t *testing.T) {
	url := naming(t, "a")
	text := routed(fmt.Sprintf("{backends: [%q]}", url))
	p := starting(t, text, "")
	if _, err := p.drain(url, true); err != nil {
		t.Fatal(err)
	}
	p.becomes(text + "log: {level: warn}\n")
	if status := p.status("/"); status != http.StatusServiceUnavailable || p.backendStates()[0].State != "drained" {
		t.Errorf("drained: status %d, %+v", status, p.backendStates())
	}
	if _, err := p.drain(url, false); err != nil {
		t.Fatal(err)
	}
	named(t, p.open("/"))
	if _, err := p.drain("http://nobody", true); err == nil || !strings.Contains(err.Error(), "http://nobody") {
		t.Errorf("drain of a backend that is not there: %v", err)
	}
}

// late is a backend that answers handshakes when it is let.
func late(t *testing.T) (url string, asked chan string, answer chan struct{}) {
	t.Helper()
	asked, answer = make(chan string, 10), make(chan struct{})
	var upgrader websocket.Upgrader
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-answer
		if conn, err := upgrader.Upgrade(w, r, nil); err == nil {
			defer conn.Close()
			echoing(conn, r)
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http"), asked, answer
}

// A handshake that is under way goes on under a reload, or two. Its link is closed afterwards when its route
// or backend is gone by then.
func TestHandshakesUnderWayMeetReloads(t *testing.T) {
	url, asked, answer := late(t)
	stays := fmt.Sprintf("{path: /stays, backends: [%q]}", url)
	gone := fmt.Sprintf("{path: /gone, backends: [%q]}", url)
	p := starting(t, routed(stays, gone), "")
	links := make(map[string]*websocket.Conn)
	var mu sync.Mutex // guards links
	var opening sync.WaitGroup
	for _, path := range []string{"/stays", "/gone"} {
		opening.Go(func() {
			conn, _, err := p.dial(path)
			if err != nil {
				t.Errorf("open %s: %v", path, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			links[path] = conn
		})
		<-asked
	}
	p.becomes(routed(stays))
	p.becomes(routed(stays, "{path: /more, backends: [builtin:echo]}"))
	close(answer)
	opening.Wait()
	for path, conn := range links {
		defer conn.Close()
		if path == "/gone" {
			restarted(t, path, conn)
		}
	}
	if len(links) == 2 {
		lives(t, "/stays", links["/stays"])
	}
}

// A backend drained by command loses the link of a handshake as well that was under way.
func TestHandshakesUnderWayMeetDrain(t *testing.T) {
	url, asked, answer := late(t)
	p := starting(t, routed(fmt.Sprintf("{backends: [%q]}", url)), "")
	opened := make(chan *websocket.Conn, 1)
	go func() {
		conn, _, err := p.dial("/")
		if err != nil {
			t.Errorf("open: %v", err)
		}
		opened <- conn
	}()
	<-asked
	if _, err := p.drain(url, true); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if conn := <-opened; conn != nil {
		defer conn.Close()
		restarted(t, "the link", conn)
	}
}
