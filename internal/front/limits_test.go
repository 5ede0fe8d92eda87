package front_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/internal/splice"
	"wsproxy/routing"
)

// behindProxy is a handshake that a trusted proxy passes on for a client.
func behindProxy(client string) string {
	return strings.Replace(fronttest.Handshake, "Host: ", "X-Forwarded-For: "+client+"\r\nHost: ", 1)
}

func trustLoopback(c *front.Config) {
	c.TrustedProxies = routing.Networks{netip.MustParsePrefix("127.0.0.0/8")}
}

// open opens a link, and gives its two ends.
func open(t *testing.T, p *fronttest.Proxy, backend *fronttest.Backend, handshake string) (c, b *fronttest.Conn) {
	t.Helper()
	c = fronttest.Dial(t, p.Addr)
	c.Send(handshake)
	b = backend.Accept()
	b.Head()
	b.Send(fronttest.Switching)
	c.Bytes(fronttest.Switching)
	return c, b
}

// end ends the n-th link of a proxy.
func end(t *testing.T, p *fronttest.Proxy, n int, c, b *fronttest.Conn) {
	t.Helper()
	c.Send(fronttest.ClientClose)
	b.Send(fronttest.BackendClose)
	c.Close()
	b.Close()
	p.Log.Await(t, n, "msg=link ")
}

// awaitLimits waits until something is so: an answer may be there before its handler has returned.
func awaitLimits(t *testing.T, p *fronttest.Proxy, want front.LimitStats) {
	t.Helper()
	var got front.LimitStats
	for deadline := time.Now().Add(fronttest.Hung); time.Now().Before(deadline); runtime.Gosched() {
		if got = p.Server.Limits(); got == want {
			return
		}
	}
	t.Fatalf("Limits() = %+v, want %+v", got, want)
}

// expectRefusal sends a handshake that is to be refused.
func expectRefusal(t *testing.T, p *fronttest.Proxy, handshake string, status int, reason string) {
	t.Helper()
	before := p.Server.Refused()[reason]
	c := fronttest.Dial(t, p.Addr)
	c.Send(handshake)
	r, body := c.Answer()
	if r.StatusCode != status || !r.Close {
		t.Errorf("status = %d %q, close %v, want %d and the end", r.StatusCode, body, r.Close, status)
	}
	after, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if wants := status == 429 || status == 503; wants != (err == nil) || wants && (after < 1 || after > 5) {
		t.Errorf("Retry-After = %q with status %d", r.Header.Get("Retry-After"), status)
	}
	if n := p.Server.Refused()[reason] - before; n != 1 {
		t.Errorf("%d more refused as %s, want 1; all: %v", n, reason, p.Server.Refused())
	}
	c.Close()
}

func TestLinksAreLimited(t *testing.T) {
	for _, tt := range []struct {
		name   string
		front  func(*front.Config)
		route  routing.LinkLimits
		status int
		reason string
	}{
		{"all together", func(c *front.Config) { c.Limits.Links = 2 }, routing.LinkLimits{}, 503, "links"},
		{"a route", nil, routing.LinkLimits{Links: 2}, 503, "route_links"},
		{"a client", func(c *front.Config) { c.Limits.LinksPerClient = 2 }, routing.LinkLimits{}, 429, "client_links"},
		{"a client of a route", nil, routing.LinkLimits{LinksPerClient: 2}, 429, "route_client_links"},
		{"descriptors for two links", func(c *front.Config) { c.Descriptors = 1 << 20; c.Limits.Links = 2 }, routing.LinkLimits{}, 503, "links"},
		{"a client goes first", func(c *front.Config) { c.Limits.Links = 2; c.Limits.LinksPerClient = 2 },
			routing.LinkLimits{Links: 2, LinksPerClient: 2}, 429, "client_links"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend, other := fronttest.Listen(t), fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{
				Routes: []routing.RouteConfig{
					{Path: "/chat", Backends: backendAt(backend.Addr), Limits: tt.route}, {Backends: backendAt(other.Addr)},
				},
				Front: tt.front,
			})
			c1, b1 := open(t, p, backend, fronttest.Handshake)
			c2, b2 := open(t, p, backend, fronttest.Handshake)
			for range 3 { // a refusal leaves nothing behind
				expectRefusal(t, p, fronttest.Handshake, tt.status, tt.reason)
			}
			backend.Untouched()
			now := p.Server.Limits()
			awaitLimits(t, p, front.LimitStats{Links: 2, MostLinks: now.MostLinks, Clients: now.Clients})
			if tt.route != (routing.LinkLimits{}) && tt.front == nil { // other routes have room
				c, b := open(t, p, other, strings.Replace(fronttest.Handshake, "/chat", "/other", 1))
				end(t, p, 1, c, b)
			}
			// So have plain requests.
			c := fronttest.Dial(t, p.Addr)
			c.Send("GET /chat HTTP/1.1\r\nHost: a\r\n\r\n")
			b := backend.Accept()
			b.Head()
			b.Send("HTTP/1.1 204 No Content\r\n\r\n")
			if r, _ := c.Answer(); r.StatusCode != 204 {
				t.Errorf("status of a plain request = %d, want 204", r.StatusCode)
			}
			n := len(p.Log.Lines("msg=link "))
			end(t, p, n+1, c1, b1)
			c1, b1 = open(t, p, backend, fronttest.Handshake)
			expectRefusal(t, p, fronttest.Handshake, tt.status, tt.reason)
			end(t, p, n+2, c1, b1)
			end(t, p, n+3, c2, b2)
			awaitLimits(t, p, front.LimitStats{MostLinks: now.MostLinks})
		})
	}
}

func TestHandshakesUnderWayAreLimited(t *testing.T) {
	for _, tt := range []struct {
		name   string
		front  func(*front.Config)
		route  routing.LinkLimits
		reason string
	}{
		{"all together", func(c *front.Config) { c.Limits.Handshakes = 1 }, routing.LinkLimits{}, "handshakes"},
		{"a route", nil, routing.LinkLimits{Handshakes: 1}, "route_handshakes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{
				Backend: backend.Addr, Front: tt.front, Route: func(r *routing.RouteConfig) { r.Limits = tt.route },
			})
			c := fronttest.Dial(t, p.Addr)
			c.Send(fronttest.Handshake)
			b := backend.Accept()
			b.Head()
			expectRefusal(t, p, fronttest.Handshake, 503, tt.reason)
			backend.Untouched()
			if got := p.Server.Limits(); got.Links != 1 || got.Handshakes != 1 {
				t.Errorf("Limits() during a handshake = %+v, want 1 and 1", got)
			}
			b.Send(fronttest.Switching)
			c.Bytes(fronttest.Switching)
			awaitLimits(t, p, front.LimitStats{Links: 1})
			c2, b2 := open(t, p, backend, fronttest.Handshake) // a link is none any more
			end(t, p, 1, c, b)
			end(t, p, 2, c2, b2)
			awaitLimits(t, p, front.LimitStats{})
		})
	}
}

// However a handshake ends, its lease is given back.
func TestHandshakesThatFailLeaveNothing(t *testing.T) {
	backend, full := fronttest.Listen(t), routing.LinkLimits{Links: 1, Handshakes: 1, LinksPerClient: 1}
	p := fronttest.Start(t, fronttest.Config{
		Backend: backend.Addr, Front: func(c *front.Config) { c.Limits.LinkLimits = full },
		Route: func(r *routing.RouteConfig) { r.Limits = full; r.HandshakeTimeout = 50 * time.Millisecond },
	})
	for _, tt := range []struct {
		name   string
		answer func(b *fronttest.Conn)
		status int
	}{
		{"refused by the backend", func(b *fronttest.Conn) { b.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") }, 403},
		{"a wrong 101", func(b *fronttest.Conn) { b.Send(strings.Replace(fronttest.Switching, fronttest.Accept, "x", 1)) }, 502},
		{"cut off", func(b *fronttest.Conn) { b.Close() }, 502},
		{"too slow", func(*fronttest.Conn) {}, 504},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fronttest.Dial(t, p.Addr)
			c.Send(fronttest.Handshake)
			b := backend.Accept()
			b.Head()
			tt.answer(b)
			if r, _ := c.Answer(); r.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", r.StatusCode, tt.status)
			}
			awaitLimits(t, p, front.LimitStats{MostLinks: 1})
		})
	}
	expectRefusal(t, p, strings.Replace(fronttest.Handshake, fronttest.Key, "short", 1), 400, "handshake")
	awaitLimits(t, p, front.LimitStats{MostLinks: 1})
}

func TestRateOfHandshakes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		front  func(*front.Config)
		route  routing.LinkLimits
		reason string
	}{
		{"for all", func(c *front.Config) { c.Limits.HandshakeRate = 1 }, routing.LinkLimits{}, "client_rate"},
		{"for a route", nil, routing.LinkLimits{HandshakeRate: 1}, "route_client_rate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			backend.Serve(func(b *fronttest.Conn) { // refuses at once
				if _, err := b.TryHead(); err == nil {
					_, _ = b.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
				}
			})
			p := fronttest.Start(t, fronttest.Config{
				Backend: backend.Addr, Front: tt.front, Route: func(r *routing.RouteConfig) { r.Limits = tt.route },
			})
			// As many as one a second may pass, however slow the machine is that this runs on.
			for range 100 {
				c := fronttest.Dial(t, p.Addr)
				c.Send(fronttest.Handshake)
				if r, _ := c.Answer(); r.StatusCode == 429 {
					if after := r.Header.Get("Retry-After"); after != "1" {
						t.Errorf("Retry-After = %q, want 1", after)
					}
					break
				}
				c.Close()
			}
			if n := p.Server.Refused()[tt.reason]; n != 1 {
				t.Errorf("%d refused as %s, want 1; all: %v", n, tt.reason, p.Server.Refused())
			}
		})
	}
}

func TestLinksAreCountedForTheTrustedClient(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) {
		trustLoopback(c)
		c.Limits.LinksPerClient = 1
	}})
	n := 0
	for _, tt := range []struct {
		first, second string
		one           bool // they are one client
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "192.0.2.2, 192.0.2.1, 127.0.0.5", true}, // the first that is not trusted, from the end
	} {
		c, b := open(t, p, backend, behindProxy(tt.first))
		if tt.one {
			expectRefusal(t, p, behindProxy(tt.second), 429, "client_links")
		} else {
			c, b := open(t, p, backend, behindProxy(tt.second))
			n++
			end(t, p, n, c, b)
		}
		n++
		end(t, p, n, c, b)
	}
}

// A process with few descriptors left makes no link, while it can still say so.
func TestShortageOfDescriptors(t *testing.T) {
	t.Run("for links", func(t *testing.T) {
		backend := fronttest.Listen(t)
		p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: func(c *front.Config) {
			c.Descriptors = 1 << 20
		}})
		if got := p.Server.Limits().MostLinks; got != 516_096 {
			t.Errorf("MostLinks = %d, want what 2^20 descriptors are good for", got)
		}
	})
	for name, driver := range map[string]splice.Driver{"auto": splice.Auto, "goroutines": splice.Goroutines} {
		t.Run("because of other things, engine "+name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Driver: driver, Front: func(c *front.Config) {
				c.Limits.Links, c.Descriptors = 1000, 8 // the test itself has more
			}})
			expectRefusal(t, p, fronttest.Handshake, 503, "descriptors")
			expectRefusal(t, p, fronttest.Handshake, 503, "descriptors")
			backend.Untouched()
			if lines := p.Log.Lines("level=ERROR", `msg="no descriptor left"`, "remedy=", "LimitNOFILE"); len(lines) != 1 {
				t.Errorf("log = %q, want one line with what to do", p.Log.Lines())
			}
		})
	}
}

// A source address that is none of this machine's has no port either.
func TestShortageOfPorts(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(r *routing.RouteConfig) {
		r.SourceAddresses = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	}})
	expectRefusal(t, p, fronttest.Handshake, 503, "ports")
	c := fronttest.Dial(t, p.Addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r, body := c.Answer(); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || strings.Contains(body, "203.") {
		t.Errorf("answer = %d %v %q, want 503, when to try again, and nothing of what is behind", r.StatusCode, r.Header, body)
	}
	if n := p.Server.Refused()["ports"]; n != 2 {
		t.Errorf("%d refused as ports, want 2", n)
	}
	if lines := p.Log.Lines("level=ERROR", `msg="no source port left"`, "203.0.113.1: bind", "remedy=", "source_addresses", "backend="+backend.Addr); len(lines) != 1 {
		t.Errorf("log = %q, want one line with what to do", p.Log.Lines())
	}
	backend.Untouched()
}

func TestConnectionsComeFromTheRoutesSources(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err) // only Linux has more loopback addresses than one by itself
	}
	ln.Close()
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Route: func(r *routing.RouteConfig) {
		r.SourceAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
		r.Pool.MaxIdle = -1
	}})
	want := func(b *fronttest.Conn, source string) {
		t.Helper()
		if got := b.RemoteAddr().(*net.TCPAddr).IP.String(); got != source {
			t.Errorf("the connection comes from %s, want %s", got, source)
		}
	}
	for i, source := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.2"} {
		c, b := open(t, p, backend, fronttest.Handshake)
		want(b, source)
		end(t, p, i+1, c, b)
	}
	for _, source := range []string{"127.0.0.3", "127.0.0.2"} {
		c := fronttest.Dial(t, p.Addr)
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		b := backend.Accept()
		b.Head()
		b.Send("HTTP/1.1 204 No Content\r\n\r\n")
		c.Answer()
		want(b, source)
	}
}

// TestChurnGivesEveryLeaseBack has clients and backends that behave in all ways at once.
func TestChurnGivesEveryLeaseBack(t *testing.T) {
	const workers, rounds = 16, 40
	backend := fronttest.Listen(t)
	var turn atomic.Int64
	backend.Serve(func(b *fronttest.Conn) {
		if _, err := b.TryHead(); err != nil {
			return
		}
		switch turn.Add(1) % 5 {
		case 0:
			_, _ = b.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
		case 1:
			_, _ = b.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
		case 2: // closes
		case 3:
			_, _ = b.Write([]byte(fronttest.Switching + fronttest.BackendClose))
			_, _ = io.Copy(io.Discard, b)
		default:
			_, _ = b.Write([]byte(fronttest.Switching))
			_, _ = io.Copy(io.Discard, b)
		}
	})
	limits := routing.LinkLimits{Links: 12, Handshakes: 8, LinksPerClient: 4}
	p := fronttest.Start(t, fronttest.Config{
		Backend: backend.Addr, Route: func(r *routing.RouteConfig) { r.Limits = limits },
		Front: func(c *front.Config) { trustLoopback(c); c.Limits.LinkLimits = limits; c.Limits.Links-- },
	})
	var wg sync.WaitGroup
	statuses := make([]atomic.Int64, 600)
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(w)))
			for range rounds {
				conn, err := fronttest.TryDial(p.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(fronttest.Hung))
				_, _ = conn.Write([]byte(behindProxy(fmt.Sprintf("192.0.2.%d", random.IntN(5)))))
				if random.IntN(6) > 0 { // else it leaves at once
					b := make([]byte, 12)
					if n, _ := conn.Read(b); n == len(b) {
						status, _ := strconv.Atoi(string(b[9:]))
						statuses[status%len(statuses)].Add(1)
						if status == 101 {
							_, _ = conn.Write([]byte(fronttest.ClientClose))
						}
					}
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
	p.Stop()
	if got := p.Server.Limits(); got.Links != 0 || got.Handshakes != 0 || got.Clients != 0 {
		t.Errorf("Limits() at the end = %+v, want zeros", got)
	}
	refused := p.Server.Refused()
	if shed := refused["links"] + refused["handshakes"] + refused["route_links"] + refused["route_handshakes"]; shed < statuses[503].Load() {
		t.Errorf("%d clients have seen 503, %d are counted: %v", statuses[503].Load(), shed, refused)
	}
	if n := refused["client_links"] + refused["route_client_links"]; n < statuses[429].Load() {
		t.Errorf("%d clients have seen 429, %d are counted: %v", statuses[429].Load(), n, refused)
	}
	if statuses[101].Load() == 0 || statuses[403].Load() == 0 || statuses[502].Load() == 0 || statuses[503].Load()+statuses[429].Load() == 0 {
		t.Errorf("not all has happened: %v", refused)
	}
}
