package routing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestHashStaysTheSame has values that another program has come to: proxies of different releases, and
// on different machines, share their backends. They must not be changed.
func TestHashStaysTheSame(t *testing.T) {
	for _, tt := range []struct {
		text string
		want uint64
	}{
		{"", 0x12a9b34b15d2474b}, {"a", 0x878f33650b92956b}, {"user-4711", 0xf98e34f602c58365}, {"http://10.0.0.7:9000", 0xce2f2ac4cd11840e},
	} {
		if got := hashText(tt.text); got != tt.want {
			t.Errorf("hashText(%q) = %#x, want %#x", tt.text, got, tt.want)
		}
	}
	for _, tt := range []struct {
		u    float64
		want uint64 // bits
	}{
		{fraction(0), 0x40425e4f7b2737fa}, {fraction(1 << 62), 0x3ff62e42fefa39ed}, {0.7, 0x3fd6d3c324e13f4f}, {fraction(math.MaxUint64), 0x3ca0000000000000},
	} {
		if got := math.Float64bits(minusLog(tt.u)); got != tt.want {
			t.Errorf("minusLog(%v) = %#x, want %#x", tt.u, got, tt.want)
		}
	}
	const want, wantWeighted = "cacececaeddebccdeaecdddeabaabbdeebeeeeed", "caeeceddeddebcedeaecddeeabceeedeeceeeeed"
	for _, tt := range []struct {
		weights []int
		want    string
	}{{[]int{1, 1, 1, 1, 1}, want}, {[]int{1, 2, 3, 4, 5}, wantWeighted}} {
		r := newTestRoute(t, RouteConfig{Balance: Hash, HashKey: HashKey{ClientIP: true}, Backends: abc(tt.weights...)})
		i := 0
		got := urls(40, func() *Backend {
			i++
			return r.Pick(&Ask{Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
		})
		if got != tt.want {
			t.Errorf("weights %v: %s, want %s", tt.weights, got, tt.want)
		}
	}
}

func TestMinusLogIsALogarithm(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 100_000 {
		h := random.Uint64() >> (i % 60)
		if i%2 == 1 {
			h = ^h
		}
		u := fraction(h)
		got, want := minusLog(u), -math.Log(u)
		if u > 0.999 {
			want = -math.Log1p(u - 1) // which loses nothing
		}
		if math.Abs(got-want) > 1e-14*want {
			t.Fatalf("minusLog(%v) = %v, want %v", u, got, want)
		}
	}
}

// TestHashMovesNoMoreThanItMust: what a backend has when it comes or goes, or another weight, is what
// moves, to it or from it, and nothing among the others.
func TestHashMovesNoMoreThanItMust(t *testing.T) {
	const keys = 20_000
	owners := func(backends []BackendConfig) []string {
		r := newTestRoute(t, RouteConfig{Balance: Hash, HashKey: HashKey{Header: "X-User"}, Backends: backends})
		var owners []string
		for i := range keys {
			user := fmt.Appendf(nil, "user-%d", i)
			owners = append(owners, r.Pick(&Ask{Header: func(string) []byte { return user }}).URL)
		}
		return owners
	}
	shuffled := abc(1, 1, 1, 1, 1)
	shuffled[0], shuffled[3] = shuffled[3], shuffled[0]
	for _, tt := range []struct {
		name     string
		from, to []BackendConfig
		only     string  // the one that keys move to or from
		share    float64 // of the keys that move
	}{
		{"one more", abc(1, 1, 1, 1), abc(1, 1, 1, 1, 1), "e", 1. / 5},
		{"one less", abc(1, 1, 1, 1, 1), abc(1, 1, 1, 1), "e", 1. / 5},
		{"one more, weighted", abc(1, 2, 3), abc(1, 2, 3, 4), "d", 4. / 10},
		{"one less, weighted", abc(1, 2, 3, 4), abc(1, 2, 3), "d", 4. / 10},
		{"a larger weight", abc(2, 2, 2), abc(2, 2, 4), "c", 4./8 - 2./6},
		{"a smaller weight", abc(2, 2, 2), abc(1, 2, 2), "a", 2./6 - 1./5},
		{"all weights twice as large", abc(1, 2, 3), abc(2, 4, 6), "", 0},
		{"another order", abc(1, 1, 1, 1, 1), shuffled, "", 0},
	} {
		from, to := owners(tt.from), owners(tt.to)
		moved := 0
		for i := range keys {
			if from[i] == to[i] {
				continue
			}
			moved++
			if from[i] != tt.only && to[i] != tt.only {
				t.Fatalf("%s: key %d moves from %s to %s", tt.name, i, from[i], to[i])
			}
		}
		if got := float64(moved) / keys; math.Abs(got-tt.share) > 0.015 {
			t.Errorf("%s: %.3f of the keys move, want %.3f", tt.name, got, tt.share)
		}
	}
}

func TestHashLeavesAloneWhoseBackendIsWell(t *testing.T) {
	r := newTestRoute(t, RouteConfig{Balance: Hash, HashKey: HashKey{Path: true}, Backends: abc(1, 2, 3, 4)})
	path := func(i int) *Ask { return &Ask{Path: fmt.Appendf(nil, "/%d", i)} }
	var before []*Backend
	for i := range 1000 {
		before = append(before, r.Pick(path(i)))
	}
	sick := r.Backends()[3]
	sick.SetHealthy(false, time.Now())
	took := make(map[*Backend]int)
	for i, was := range before {
		switch now := r.Pick(path(i)); {
		case was == sick:
			took[now]++
		case now != was:
			t.Fatalf("%d moves from %s to %s, which were well", i, was.URL, now.URL)
		}
	}
	checkShares(t, took, r.Backends()[:3], []int{1, 2, 3})
	sick.SetHealthy(true, time.Now())
	for i, was := range before {
		if now := r.Pick(path(i)); now != was {
			t.Fatalf("%d is at %s, was at %s before that was sick", i, now.URL, was.URL)
		}
	}
}

func TestWhatIsHashed(t *testing.T) {
	client, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	field := func(name, value string) func(string) []byte {
		return func(asked string) []byte {
			if asked == name {
				return []byte(value)
			}
			return nil
		}
	}
	byClient := (&HashKey{ClientIP: true}).of(&Ask{Client: client})
	for _, tt := range []struct {
		name string
		key  HashKey
		ask  Ask
		want uint64
	}{
		{"client", HashKey{ClientIP: true}, Ask{Client: client, Path: []byte("/x")}, byClient},
		{"client with a zone", HashKey{ClientIP: true}, Ask{Client: client.WithZone("eth0")}, byClient},
		{"header", HashKey{Header: "X-User"}, Ask{Client: client, Header: field("X-User", "me")}, hashText("me")},
		{"no such header", HashKey{Header: "X-User"}, Ask{Client: client, Header: field("X", "me")}, byClient},
		{"an empty header", HashKey{Header: "X-User"}, Ask{Client: client, Header: field("X-User", "")}, byClient},
		{"no headers", HashKey{Header: "X-User"}, Ask{Client: client}, byClient},
		{"cookie", HashKey{Cookie: "session"}, Ask{Client: client, Cookie: field("session", "me")}, hashText("me")},
		{"no such cookie", HashKey{Cookie: "session"}, Ask{Client: client, Cookie: field("x", "me")}, byClient},
		{"no cookies", HashKey{Cookie: "session"}, Ask{Client: client}, byClient},
		{"query", HashKey{Query: "room"}, Ask{Client: client, Query: []byte("a=b&room=1&room=2")}, hashText("1")},
		{"query, as it is written", HashKey{Query: "room"}, Ask{Client: client, Query: []byte("room=%31")}, hashText("%31")},
		{"part of a name", HashKey{Query: "room"}, Ask{Client: client, Query: []byte("aroom=1&room&rooms=2")}, byClient},
		{"no query", HashKey{Query: "room"}, Ask{Client: client}, byClient},
		{"path", HashKey{Path: true}, Ask{Client: client, Path: []byte("/a"), Query: []byte("room=1")}, hashText("/a")},
	} {
		if got := tt.key.of(&tt.ask); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
	key := &HashKey{ClientIP: true}
	if key.of(&Ask{Client: other}) == byClient {
		t.Errorf("%v and %v have one hash: of IPv6 all counts", client, other)
	}
	four := key.of(&Ask{Client: netip.MustParseAddr("10.0.0.1")})
	if mapped := key.of(&Ask{Client: netip.MustParseAddr("::ffff:10.0.0.1")}); mapped != four {
		t.Errorf("10.0.0.1 has %#x, mapped to IPv6 %#x", four, mapped)
	}
	key.of(&Ask{}) // nobody knows who asks, and nothing breaks
}

// TestBackendsHaveOneIdentity: it must not depend on what differs between machines.
func TestBackendsHaveOneIdentity(t *testing.T) {
	for _, tt := range []struct{ url, addr, want string }{
		{"ws://a", "a:80", "http://a:80"},
		{"builtin:echo", "127.0.0.1:40123", "builtin:echo"},
	} {
		if got := newBackend(tt.url, tt.addr, nil).identity; got != tt.want {
			t.Errorf("the identity of %s is %s, want %s", tt.url, got, tt.want)
		}
	}
	if got := newBackend("wss://a", "a:80", &BackendTLS{CA: "/etc/ca.pem"}).identity; got != "https://a:80" {
		t.Errorf("the identity of wss://a:80 is %s, want https://a:80", got)
	}
}
