package front

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"wsproxy/routing"
)

func newClients(idleMost int) *clients {
	c := new(clients)
	c.bound(idleMost)
	return c
}

func testScope(id uint32, c routing.LinkLimits) *scope {
	s := newScope(&counts{id: id}, c)
	s.errClientLinks, s.errClientRate = errClientLinks, errClientRate
	return &s
}

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

func TestHandshakesOfAClientHaveARate(t *testing.T) {
	clients := newClients(100)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 2, HandshakeBurst: 3})
	for _, tt := range []struct {
		who  netip.Addr
		at   time.Duration
		wait time.Duration // zero: let through
	}{
		{alice, 0, 0}, {alice, 0, 0}, {alice, 0, 0},
		{alice, 0, 500 * time.Millisecond},
		{alice, 100 * time.Millisecond, 400 * time.Millisecond}, // who tries waits no longer for it
		{bob, 100 * time.Millisecond, 0},
		{alice, 500 * time.Millisecond, 0},
		{alice, 500 * time.Millisecond, 500 * time.Millisecond},
		{alice, time.Hour, 0}, {alice, time.Hour, 0}, {alice, time.Hour, 0},
		{alice, time.Hour, 500 * time.Millisecond}, // a pause saves no more than the burst
	} {
		held, err := clients.take(s, tt.who, noon.Add(tt.at))
		if held != nil {
			t.Errorf("%v after %v: something is held for a rate alone", tt.who, tt.at)
		}
		wait, refused := errors.AsType[*waitError](err)
		if refused != (tt.wait > 0) || refused && (!errors.Is(err, errClientRate) || (wait.wait-tt.wait).Abs() > time.Millisecond) {
			t.Errorf("%v after %v: %v, %+v, want a wait of %v", tt.who, tt.at, err, wait, tt.wait)
		}
	}
}

func TestBurstIsTheRateUnlessItIsGiven(t *testing.T) {
	clients := newClients(100)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 5})
	n := 0
	for ; n < 100; n++ {
		if _, err := clients.take(s, alice, noon); err != nil {
			break
		}
	}
	if n != 5 {
		t.Errorf("%d handshakes at once, want 5", n)
	}
}

// What a client may do can change while it is known.
func TestRateOfAClientChanges(t *testing.T) {
	clients := newClients(100)
	refused := func(c routing.LinkLimits) bool {
		held, err := clients.take(testScope(0, c), alice, noon)
		clients.give(held)
		return err != nil
	}
	for i, tt := range []struct {
		limits  routing.LinkLimits
		refused bool
	}{
		{routing.LinkLimits{HandshakeRate: 1, HandshakeBurst: 2}, false},
		{routing.LinkLimits{HandshakeRate: 1, HandshakeBurst: 1}, false},
		{routing.LinkLimits{HandshakeRate: 5, HandshakeBurst: 5}, true}, // more come later, not at once
		{routing.LinkLimits{LinksPerClient: 1}, false},
		{routing.LinkLimits{HandshakeRate: 1, LinksPerClient: 1}, false},
		{routing.LinkLimits{HandshakeRate: 1}, true},
		{routing.LinkLimits{}, false},
	} {
		if got := refused(tt.limits); got != tt.refused {
			t.Errorf("%d: refused %v with %+v, want %v", i, got, tt.limits, tt.refused)
		}
	}
	clients.bound(0)
	if n := len(clients.table) + clients.idle; n > 0 {
		t.Errorf("%d clients with room for none", n)
	}
}

func TestLinksOfAClientAreCounted(t *testing.T) {
	clients := newClients(100)
	s, route := testScope(0, routing.LinkLimits{LinksPerClient: 2}), testScope(1, routing.LinkLimits{LinksPerClient: 1})
	take := func(s *scope, who string) *client {
		t.Helper()
		c, err := clients.take(s, netip.MustParseAddr(who), noon)
		if err != nil {
			t.Errorf("%s: %v", who, err)
		}
		return c
	}
	refused := func(s *scope, who string) {
		t.Helper()
		if c, err := clients.take(s, netip.MustParseAddr(who), noon); c != nil || err != errClientLinks {
			t.Errorf("%s: %v, %v, want %v", who, c, err, errClientLinks)
		}
	}
	held := []*client{take(s, "192.0.2.1"), take(s, "::ffff:192.0.2.1")}
	refused(s, "192.0.2.1")
	refused(s, "::ffff:192.0.2.1")
	held = append(held, take(s, "192.0.2.2"), take(route, "192.0.2.1"))
	refused(route, "192.0.2.1")

	// One customer has all addresses that begin with the same 64 bits.
	held = append(held, take(s, "2001:db8::1"), take(s, "2001:db8::2:0:0:1"))
	refused(s, "2001:db8:0:0:ffff:ffff:ffff:ffff")
	held = append(held, take(s, "2001:db8:0:1::1"))
	// No IPv4 address passes for an IPv6 one with the same beginning.
	held = append(held, take(s, "c000:201::"))

	if n := clients.count(noon); n != 6 {
		t.Errorf("%d clients, want 6", n)
	}
	clients.give(held[0])
	held[0] = take(s, "192.0.2.1")
	refused(s, "192.0.2.1")
	for _, c := range held {
		clients.give(c)
	}
	if n := clients.count(noon); n != 0 {
		t.Errorf("%d clients at the end, want none", n)
	}
}

func TestClientsAreForgottenWhenTheirHandshakesAreBack(t *testing.T) {
	clients := newClients(100)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 1, HandshakeBurst: 10, LinksPerClient: 5})
	var held []*client
	for range 3 {
		c, err := clients.take(s, alice, noon)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		clients.give(c)
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {2900 * time.Millisecond, 1}, {3100 * time.Millisecond, 0}} {
		if n := clients.count(noon.Add(tt.after)); n != tt.want {
			t.Errorf("%d clients after %v, want %d", n, tt.after, tt.want)
		}
	}
}

// Without anybody who asks for the count, too.
func TestOtherClientsHaveTheOldOnesForgotten(t *testing.T) {
	clients := newClients(1000)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 1})
	for i := range 10_000 {
		if _, err := clients.take(s, address(i), noon.Add(time.Duration(i)*10*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(clients.table); n > 101 {
		t.Errorf("%d clients, want those of the last second, 100 and one more", n)
	}
}

func TestOldestIdleClientMakesRoom(t *testing.T) {
	clients := newClients(3)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 1, LinksPerClient: 10})
	var held []*client
	take := func(i int) {
		t.Helper()
		c, err := clients.take(s, address(i), noon)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		held = append(held, c)
	}
	for i := range 10 { // linked ones are as many as there are
		take(i)
	}
	for _, i := range []int{5, 0, 1, 2} { // 5 is idle the longest
		clients.give(held[i])
	}
	if n := len(clients.table); n != 9 {
		t.Errorf("%d clients, want 9", n)
	}
	for i, known := range []bool{true, true, true, true, true, false, true} {
		if _, ok := clients.table[keyOf(0, address(i))]; ok != known {
			t.Errorf("client %d is known: %v, want %v", i, ok, known)
		}
	}
	// Whoever tries in vain is not forgotten for it: that would be a way around the rate.
	if _, err := clients.take(s, address(0), noon); !errors.Is(err, errClientRate) {
		t.Errorf("client 0 again: %v, want %v", err, errClientRate)
	}
	clients.give(held[3])
	if _, ok := clients.table[keyOf(0, address(1))]; ok || clients.idle != 3 {
		t.Errorf("client 1 is known: %v; %d are idle, want 3", ok, clients.idle)
	}
}

// address is one of many.
func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i)|10<<24)
	return netip.AddrFrom4(b)
}

func TestMemoryOfAClient(t *testing.T) {
	const n, most = 100_000, 200
	var before, after runtime.MemStats
	clients := newClients(n)
	s := testScope(0, routing.LinkLimits{HandshakeRate: 1, LinksPerClient: 1})
	runtime.GC()
	runtime.GC() // what pools have is freed by the second
	runtime.ReadMemStats(&before)
	for i := range n {
		if _, err := clients.take(s, address(i), noon); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > most {
		t.Errorf("a client takes %d bytes, want %d at most", each, most)
	} else {
		t.Logf("a client takes %d bytes", each)
	}
	runtime.KeepAlive(clients)
}

func TestClientsFromEverywhere(t *testing.T) {
	const workers, rounds, people = 8, 2000, 50
	clients := newClients(10)
	scopes := []*scope{
		testScope(0, routing.LinkLimits{HandshakeRate: 1000, LinksPerClient: 3}), testScope(1, routing.LinkLimits{LinksPerClient: 2}),
		testScope(2, routing.LinkLimits{HandshakeRate: 1}),
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			var held []*client
			for i := range rounds {
				c, _ := clients.take(scopes[random.IntN(len(scopes))], address(random.IntN(people)), noon.Add(time.Duration(i)*time.Millisecond))
				held = append(held, c)
				if random.IntN(3) > 0 {
					at := random.IntN(len(held))
					clients.give(held[at])
					held[at] = nil
				}
			}
			for _, c := range held {
				clients.give(c)
			}
		})
	}
	wg.Wait()
	if len(clients.table) > 10 || clients.idle != len(clients.table) {
		t.Errorf("%d clients, %d idle, want all of at most 10", len(clients.table), clients.idle)
	}
	if n := clients.count(noon.Add(time.Hour)); n != 0 || clients.first != nil || clients.last != nil || clients.idle != 0 {
		t.Errorf("%d clients at the end, %d idle, want none", n, clients.idle)
	}
}

func TestLinksForDescriptors(t *testing.T) {
	for _, tt := range []struct{ descriptors, want int }{
		{1, 1}, {3, 1}, {16, 4}, {256, 96}, {1024, 461}, {20_000, 9000}, {1 << 20, 516_096},
	} {
		if got := LinksFor(tt.descriptors); got != tt.want {
			t.Errorf("LinksFor(%d) = %d, want %d", tt.descriptors, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		status int
		err    error
		want   string // empty for a spread
	}{
		{429, &waitError{errClientRate, time.Millisecond}, "1"},
		{429, &waitError{errClientRate, time.Second}, "1"},
		{429, &waitError{errClientRate, 1001 * time.Millisecond}, "2"},
		{429, errClientLinks, ""},
		{503, errLinks, ""},
	} {
		seen := make(map[string]bool)
		for range 1000 {
			seen[retryAfter(tt.status, tt.err)] = true
		}
		for s := range seen {
			if tt.want != "" && s != tt.want || tt.want == "" && (s < "1" || s > "5") {
				t.Errorf("%d, %v: Retry-After: %s, want %q", tt.status, tt.err, s, tt.want)
			}
		}
		if tt.want == "" && len(seen) != retrySpread {
			t.Errorf("%d, %v: %d different Retry-After, want %d", tt.status, tt.err, len(seen), retrySpread)
		}
	}
	if got := retryAfter(403, errAddress); got != "" {
		t.Errorf("403 with Retry-After: %s", got)
	}
}

func TestSeldom(t *testing.T) {
	var s seldom
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {59 * time.Second, false}, {time.Minute, true}, {time.Minute, false}, {2 * time.Minute, true}} {
		if got := s.due(noon.Add(tt.after)); got != tt.want {
			t.Errorf("due after %v = %v, want %v", tt.after, got, tt.want)
		}
	}
}
