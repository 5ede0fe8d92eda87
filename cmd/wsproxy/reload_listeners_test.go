package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const echoRoute = "\nroutes: [{backends: [builtin:echo]}]\ngrace_period: 5s\n"

// answered is the status of a plain request on a new connection.
func answered(addr string, secure *tls.Config) (status int, err error) {
	conn, err := net.DialTimeout("tcp", addr, hung)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hung))
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}

// Clients that connect all the time to a listener whose settings change meet the old or the new ones, and
// never a refusal or a reset. A listener beside it is not touched, nor are links of the one that changes.
func TestNoConnectionIsLostWhenAListenerChanges(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	writePair(t, dir)
	writePair(t, other)
	plain := func(first string) string {
		return "listeners:\n  - {address: \"127.0.0.1:0\"" + first + "}\n  - address: \"127.0.0.1:0\"\n    tls: {self_signed: [localhost]}\n"
	}
	secured := func(pair, more string) string {
		return fmt.Sprintf("listeners:\n  - address: \"127.0.0.1:0\"\n    tls: {certificates: [{cert: %s/chain.pem, key: %s/key.pem}]%s}\n"+
			"  - address: \"127.0.0.1:0\"\n    tls: {self_signed: [localhost]}\n", pair, pair, more)
	}
	tests := []struct {
		name   string
		secure *tls.Config
		texts  []string
		want   string // the statuses that come
	}{
		{"plain and redirect", nil, []string{plain(""), plain(", redirect: \"https:8443\"")}, "200 301"},
		{"access", nil, []string{plain(""), plain(", deny: [127.0.0.1]")}, "200 403"},
		{"certificates", &tls.Config{InsecureSkipVerify: true}, []string{secured(dir, ""), secured(other, ""), secured(dir, ", min_version: \"1.3\"")},
			"200"},
		{"client_auth", &tls.Config{InsecureSkipVerify: true}, []string{secured(dir, ""), secured(dir, ", client_auth: request, client_ca: "+dir+"/chain.pem")},
			"200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := starting(t, tt.texts[0]+echoRoute, "")
			addr, beside := p.addr(0), shownCert(t, "wss://"+p.addr(1))
			second := p.listeners[1]
			done := make(chan struct{})
			var clients sync.WaitGroup
			var met sync.Map // by status
			var n atomic.Int64
			for range 4 {
				clients.Go(func() {
					for {
						status, err := answered(addr, tt.secure)
						if err != nil {
							t.Errorf("a client meets %v", err)
							return
						}
						met.Store(status, true)
						n.Add(1)
						select {
						case <-done:
							return
						default:
						}
					}
				})
			}
			for i := range 40 {
				text := tt.texts[(i+1)%len(tt.texts)]
				changed := p.becomes(text + echoRoute)
				if !strings.HasPrefix(changed, "listener 127.0.0.1:0 has changed") {
					t.Errorf("reload %d: %q", i, changed)
				}
				for seen := n.Load(); n.Load() < seen+4 && !t.Failed(); {
					if _, err := answered(addr, tt.secure); err != nil {
						t.Errorf("a client meets %v", err)
					}
				}
			}
			close(done)
			clients.Wait()
			if p.addr(0) != addr || p.listeners[1] != second || shownCert(t, "wss://"+p.addr(1)) != beside {
				t.Error("the other listener was touched, or the address is another")
			}
			var statuses []string
			met.Range(func(status, _ any) bool { statuses = append(statuses, fmt.Sprint(status)); return true })
			slices.Sort(statuses)
			if got := strings.Join(statuses, " "); got != tt.want {
				t.Errorf("statuses %s, want %s", got, tt.want)
			}
		})
	}
}

// Listeners come and go beside one that stays with its links.
func TestListenersComeAndGo(t *testing.T) {
	one := closedPort(t)
	stays := "listeners:\n  - address: \"127.0.0.1:0\"\n"
	p := starting(t, stays+echoRoute, "")
	link := p.open("/")
	for range 3 {
		if changed := p.becomes(stays + "  - address: " + one + echoRoute); changed != "listener "+one+" is new" {
			t.Errorf("changed: %q", changed)
		}
		kept, err := net.Dial("tcp", one)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answered(one, nil); err != nil {
			t.Errorf("the new listener: %v", err)
		}
		if changed := p.becomes(stays + echoRoute); changed != "listener "+one+" is gone" {
			t.Errorf("changed: %q", changed)
		}
		if conn, err := net.Dial("tcp", one); err == nil {
			conn.Close()
			t.Error("the listener that is gone listens")
		}
		kept.Close()
		lives(t, "link beside", link)
	}
	// What two listeners of fixed addresses do can be swapped.
	two := closedPort(t)
	swap := func(a, b string) string {
		return fmt.Sprintf("%s  - {address: %q, deny: [127.0.0.1]}\n  - {address: %q}\n", stays, a, b) + echoRoute
	}
	for i := range 4 {
		a, b := one, two
		if i%2 == 1 {
			a, b = two, one
		}
		p.becomes(swap(a, b))
		if status, err := answered(a, nil); status != http.StatusForbidden {
			t.Errorf("swap %d: %d, %v, want 403", i, status, err)
		}
		if status, err := answered(b, nil); status == http.StatusForbidden || err != nil {
			t.Errorf("swap %d: %d, %v, want no 403", i, status, err)
		}
	}
	lives(t, "link beside", link)
}

// A port that another listener of the same proxy still has is explained.
func TestOwnPortIsExplained(t *testing.T) {
	addr := closedPort(t)
	_, port, _ := net.SplitHostPort(addr)
	p := starting(t, "listeners: [{address: \""+addr+"\"}]"+echoRoute, "")
	p.write("listeners: [{address: \"0.0.0.0:" + port + "\"}]" + echoRoute)
	if _, err := p.reload(); err == nil || !strings.Contains(err.Error(), "this wsproxy itself listens on "+addr) {
		t.Errorf("reload: %v", err)
	}
	lives(t, "link", p.open("/"))
}

// An ACME is made once for all that want it, asks for nothing while a file is not in use, and outlives
// changes of its listener.
func TestACMEIsMadeOnce(t *testing.T) {
	cache := t.TempDir()
	acme := func(host, more string) string {
		return fmt.Sprintf("  - address: \"127.0.0.1:0\"\n    tls: {acme: {hosts: [%s], cache: %q, directory: \"https://%s/\"}%s}\n",
			host, cache, "127.0.0.1:1", more)
	}
	plain := "listeners:\n  - address: \"127.0.0.1:0\"\n"
	p := starting(t, plain+acme("a.example", "")+acme("a.example", ", session_tickets: off")+echoRoute, "")
	if len(p.acme.inUse) != 1 {
		t.Fatalf("%d ACMEs, want one", len(p.acme.inUse))
	}
	first := p.acme.inUse[0].ACME
	p.log.await(t, "host=a.example") // nobody is at the directory
	p.write(plain + acme("b.example", "") + "  - address: 192.0.2.1:1\n" + echoRoute)
	if _, err := p.reload(); err == nil {
		t.Fatal("192.0.2.1 can be listened on")
	}
	if len(p.acme.inUse) != 1 || len(p.acme.made) != 0 {
		t.Errorf("%d ACMEs in use, %d made, want 1 and 0", len(p.acme.inUse), len(p.acme.made))
	}
	p.becomes(plain + acme("a.example", ", min_version: \"1.3\"") + echoRoute)
	if len(p.acme.inUse) != 1 || p.acme.inUse[0].ACME != first {
		t.Error("a listener that changed has another ACME")
	}
	p.becomes(plain + acme("b.example", "") + echoRoute)
	if len(p.acme.inUse) != 1 || p.acme.inUse[0].ACME == first {
		t.Error("other hosts have the ACME of the old ones")
	}
	p.log.await(t, "host=b.example")
	p.becomes(plain + echoRoute)
	if len(p.acme.inUse) != 0 {
		t.Error("an ACME is in use for nobody")
	}
}
