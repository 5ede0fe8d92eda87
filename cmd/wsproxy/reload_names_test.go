package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

// nodes are backends on one port of several addresses of loopback, each of which says its own.
func nodes(t *testing.T, addrs ...string) (port string) {
	t.Helper()
	port = "0"
	for _, addr := range addrs {
		ln, err := net.Listen("tcp", addr+":"+port)
		if err != nil {
			t.Skipf("no such address here: %v", err)
		}
		_, port, _ = net.SplitHostPort(ln.Addr().String())
		var upgrader websocket.Upgrader
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			if conn.WriteMessage(websocket.TextMessage, []byte(addr)) == nil {
				echoing(conn, r)
			}
		}))
		s.Listener.Close()
		s.Listener = ln
		s.Start()
		t.Cleanup(s.Close)
	}
	return port
}

// zone is what a name stands for, for a moment.
func zone(server *dnstest.Server, addrs ...string) {
	var records []dnsmessage.Resource
	for _, addr := range addrs {
		records = append(records, dnstest.Address("app.test.", addr, 0))
	}
	server.SetZone(records...)
}

// stand waits until the backends are these, by their addresses without the port.
func (p *inside) stand(addrs ...string) {
	p.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(hung)
	for {
		var now []string
		for _, b := range p.current.Load().table.Backends() {
			host, _, _ := net.SplitHostPort(b.Addr)
			now = append(now, host)
		}
		if strings.Join(now, " ") == strings.Join(addrs, " ") {
			return
		}
		select {
		case <-ticker.C:
		case <-timeout:
			p.t.Fatalf("backends are %v, want %v", now, addrs)
		}
	}
}

// The addresses of a name come and go with the answers of DNS. New links go to those that there are; links
// of one that is gone go on, also over reloads, until the file has no such backend any more. An answer that
// fails changes nothing.
func TestNamesGrowShrinkAndFail(t *testing.T) {
	port := nodes(t, "127.0.0.1", "127.0.0.2")
	server := dnstest.NewServer(t)
	zone(server, "127.0.0.1")
	text := routed("{path: /app, backends: [\"http://app.test:"+port+"\"]}", "{path: /echo, backends: [builtin:echo]}")
	p := starting(t, text, server.Addr)
	p.stand("127.0.0.1", "127.0.0.1") // the second is the echo's
	first := p.open("/app")
	named(t, first)

	zone(server, "127.0.0.1", "127.0.0.2")
	p.stand("127.0.0.1", "127.0.0.2", "127.0.0.1")
	got := make(map[string]bool)
	for range 4 {
		got[named(t, p.open("/app"))] = true
	}
	if len(got) != 2 {
		t.Errorf("links reach %v, want both", got)
	}

	zone(server, "127.0.0.2")
	p.stand("127.0.0.2", "127.0.0.1")
	for i := range 4 {
		if name := named(t, p.open("/app")); name != "127.0.0.2" {
			t.Errorf("a new link reaches %s", name)
		}
		p.becomes(text + fmt.Sprintf("  - {path: /more%d, backends: [builtin:echo]}\n", i))
		lives(t, "link of an address that DNS does not give any more", first)
	}

	server.Set(func(dnsmessage.Question, string) dnstest.Reply {
		return dnstest.Reply{Code: dnsmessage.RCodeServerFailure}
	})
	p.log.await(t, "app.test") // the failure is said
	p.becomes(text)
	if name := named(t, p.open("/app")); name != "127.0.0.2" {
		t.Errorf("while DNS fails a new link reaches %s", name)
	}
	lives(t, "link while DNS fails", first)

	zone(server, "127.0.0.1", "127.0.0.2")
	p.stand("127.0.0.1", "127.0.0.2", "127.0.0.1")
	lives(t, "link of an address that is back", first)
	p.becomes(routed("{path: /app, backends: [\"http://127.0.0.2:" + port + "\"]}"))
	restarted(t, "link of a name that is gone", first)
}

// An answer that comes while a table is made is not lost: the table has it when it is in use.
func TestAnswersMeetReloads(t *testing.T) {
	port := nodes(t, "127.0.0.1", "127.0.0.2")
	server := dnstest.NewServer(t)
	zone(server, "127.0.0.1")
	text := routed("{backends: [\"http://app.test:" + port + "\"]}")
	p := starting(t, text, server.Addr)
	p.stand("127.0.0.1")
	p.reloading.Lock()
	p.keeper.expect()
	table, err := p.table(p.current.Load().cfg, p.current.Load().table)
	if err != nil {
		t.Fatal(err)
	}
	zone(server, "127.0.0.2")
	p.stand("127.0.0.2") // the old table
	p.keeper.use(table)
	now := *p.current.Load()
	now.table = table
	p.current.Store(&now)
	p.reloading.Unlock()
	p.stand("127.0.0.2")
}
