package routing

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

const testKey = "hunter2 hunter2 hunter2"

// stickyRoute is a route of backends a, b and c with that key, empty for a random one.
func stickyRoute(t *testing.T, key Secret) *Route {
	return newTestRoute(t, RouteConfig{Backends: abc(1, 1, 1), Sticky: &StickyConfig{Key: key}})
}

// cookieFor is the value of the cookie that names a backend.
func cookieFor(s *Sticky, b *Backend) string {
	value, _, _ := strings.Cut(strings.TrimPrefix(s.SetCookie(b, false), s.Cookie()+"="), ";")
	return value
}

func askWith(cookie string) *Ask {
	return &Ask{Cookie: func(name string) []byte {
		if name == "wsproxy" {
			return []byte(cookie)
		}
		return nil
	}}
}

func TestStickyBringsBack(t *testing.T) {
	for _, key := range []Secret{"", testKey} {
		r := stickyRoute(t, key)
		for _, b := range r.Backends() {
			cookie := cookieFor(r.Sticky, b)
			if got := r.Sticky.Backend([]byte(cookie)); got != b {
				t.Errorf("Backend(%s) = %v, want %s", cookie, got, b.URL)
			}
			if got, want := picks(3, r, askWith(cookie)), strings.Repeat(b.URL, 3); got != want {
				t.Errorf("with its cookie: %s, want %s", got, want)
			}
		}
	}
}

func TestStickyIgnoresWhatIsNotItsOwn(t *testing.T) {
	r := stickyRoute(t, testKey)
	good := cookieFor(r.Sticky, r.Backends()[1])
	flipped := []byte(good)
	flipped[len(flipped)-1] ^= 'A' ^ 'B'
	id, _ := base64.RawURLEncoding.DecodeString(good)
	a, _ := base64.RawURLEncoding.DecodeString(cookieFor(r.Sticky, r.Backends()[0]))
	mixed := base64.RawURLEncoding.EncodeToString(append(a[:8:8], id[8:]...))
	other := stickyRoute(t, "another key of the same length")
	for _, tt := range []struct{ name, cookie string }{
		{"empty", ""},
		{"a name", "b"},
		{"a URL", "http://b:80"},
		{"truncated", good[:len(good)-1]},
		{"longer", good + "A"},
		{"a line end in it", good[:len(good)-2] + "\r\n"},
		{"a bit of the proof flipped", string(flipped)},
		{"a bit of the name flipped", string(good[0]^1) + good[1:]},
		{"the name of one with the proof of another", mixed},
		{"no proof", good[:11]},
		{"zeros", strings.Repeat("A", len(good))},
		{"not base64", strings.Repeat("!", len(good))},
		{"quoted", `"` + good[:len(good)-2] + `"`},
		{"another key", cookieFor(other.Sticky, other.Backends()[1])},
		{"a random key", cookieFor(stickyRoute(t, "").Sticky, r.Backends()[1])},
		{"a backend that is not there", cookieFor(r.Sticky, newBackend("d", "d:80", nil))},
		{"huge", strings.Repeat("A", 1<<16)},
	} {
		if got := r.Sticky.Backend([]byte(tt.cookie)); got != nil {
			t.Errorf("%s: Backend(%.40q) = %s, want none", tt.name, tt.cookie, got.URL)
		}
		if got := picks(6, r, askWith(tt.cookie)); strings.Count(got, "a") != 2 || strings.Count(got, "b") != 2 {
			t.Errorf("%s: %s, want them in turn", tt.name, got)
		}
	}
}

func TestStickyLeavesOneThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(rc *RouteConfig)
		before func(ask *Ask, b []*Backend)
	}{
		{name: "unhealthy", before: func(_ *Ask, b []*Backend) { b[1].SetHealthy(false, time.Now()) }},
		{name: "draining", before: func(_ *Ask, b []*Backend) { b[1].SetDraining(true) }},
		{name: "drain in the file", change: func(rc *RouteConfig) { rc.Backends[1].Drain = true }},
		{name: "tried", before: func(ask *Ask, b []*Backend) { ask.Tried = b[1:2] }},
		{name: "a backup that is not needed", change: func(rc *RouteConfig) { rc.Backends[1].Backup = true }},
	} {
		rc := RouteConfig{Backends: abc(1, 1, 1), Sticky: &StickyConfig{}}
		if tt.change != nil {
			tt.change(&rc)
		}
		r := newTestRoute(t, rc)
		ask := askWith(cookieFor(r.Sticky, r.Backends()[1]))
		if tt.before != nil {
			tt.before(ask, r.Backends())
		}
		if got := picks(4, r, ask); got != "acac" {
			t.Errorf("%s: %s, want acac", tt.name, got)
		}
	}
}

func TestStickyBackup(t *testing.T) {
	rc := RouteConfig{Backends: abc(1, 1, 1), Sticky: &StickyConfig{}}
	rc.Backends[1].Backup, rc.Backends[2].Backup = true, true
	r := newTestRoute(t, rc)
	r.Backends()[0].SetHealthy(false, time.Now())
	if got := picks(3, r, askWith(cookieFor(r.Sticky, r.Backends()[2]))); got != "ccc" {
		t.Errorf("with the cookie of a backup that is needed: %s, want ccc", got)
	}
}

func TestSetCookie(t *testing.T) {
	value := cookieFor(stickyRoute(t, testKey).Sticky, newBackend("b", "b:80", nil))
	for _, tt := range []struct {
		name  string
		cfg   StickyConfig
		https bool
		want  string
	}{
		{"defaults", StickyConfig{}, false, "wsproxy=*; Path=/; HttpOnly; SameSite=Lax"},
		{"defaults, https", StickyConfig{}, true, "wsproxy=*; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"everything", StickyConfig{Cookie: "node", Path: "/ws", Domain: "example.com", Secure: "on", SameSite: "none", MaxAge: time.Hour},
			false, "node=*; Path=/ws; Domain=example.com; Max-Age=3600; Secure; HttpOnly; SameSite=None"},
		{"as little as can be", StickyConfig{Secure: "off", SameSite: "strict", ScriptAccess: true}, true, "wsproxy=*; Path=/; SameSite=Strict"},
	} {
		tt.cfg.Key = testKey
		r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), Sticky: &tt.cfg})
		if got, want := r.Sticky.SetCookie(r.Backends()[1], tt.https), strings.Replace(tt.want, "*", value, 1); got != want {
			t.Errorf("%s: SetCookie = %s, want %s", tt.name, got, want)
		}
	}
}

// TestStickyIsTheSameEverywhere has a value that another program has come to: proxies with the same key
// must agree.
func TestStickyIsTheSameEverywhere(t *testing.T) {
	r := stickyRoute(t, testKey)
	const want = "P-JOi8NiEVtgrQlMZKvi6y813sYw9Tyu"
	if got := cookieFor(r.Sticky, r.Backends()[0]); got != want {
		t.Errorf("the cookie for http://a:80 is %s, want %s", got, want)
	}
}

func TestStickyKeyOutlivesAReload(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after *StickyConfig
		want          bool
	}{
		{"random", &StickyConfig{}, &StickyConfig{MaxAge: time.Hour}, true},
		{"the same key", &StickyConfig{Key: testKey}, &StickyConfig{Key: testKey}, true},
		{"another key", &StickyConfig{Key: testKey}, &StickyConfig{Key: testKey + "!"}, false},
		{"random, then a key", &StickyConfig{}, &StickyConfig{Key: testKey}, false},
		{"a key, then random", &StickyConfig{Key: testKey}, &StickyConfig{}, false},
	} {
		rc := RouteConfig{Backends: abc(1, 1, 1), Sticky: tt.before}
		first, err := NewTable(&Config{Routes: []RouteConfig{rc}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		rc.Sticky = tt.after
		second, err := NewTable(&Config{Routes: []RouteConfig{rc}}, nil, first)
		if err != nil {
			t.Fatal(err)
		}
		b := first.Backends()[1]
		cookie := cookieFor(first.Routes()[0].Sticky, b)
		if got := second.Routes()[0].Sticky.Backend([]byte(cookie)) == b; got != tt.want {
			t.Errorf("%s: the cookie counts after the reload: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNothingPrintsTheKey(t *testing.T) {
	cfg := &Config{Routes: []RouteConfig{{Backends: abc(1), Sticky: &StickyConfig{Key: testKey}}}}
	table, err := NewTable(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	sticky, route := table.Routes()[0].Sticky, table.Routes()[0]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{cfg.Routes[0].Sticky, *cfg.Routes[0].Sticky, cfg.Routes[0].Sticky.Key, sticky, route.Sticky} {
			fmt.Fprintf(&said, verb+"\n", v)
		}
		fmt.Fprintf(&said, verb+"\n", cfg)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&said, nil), slog.NewJSONHandler(&said, nil)} {
		slog.New(h).Info("x", "config", cfg.Routes[0].Sticky, "key", cfg.Routes[0].Sticky.Key, "sticky", sticky)
	}
	text, err := json.Marshal(cfg.Routes[0].Sticky)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(text)
	hex := fmt.Sprintf("%x", testKey[:7])
	list := strings.Trim(fmt.Sprint([]byte(testKey[:7])), "[]")
	for _, secret := range []string{"hunter2", hex, strings.ToUpper(hex), list} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q is printed:\n%s", secret, said.String())
		}
	}
	if !strings.Contains(said.String(), "***") {
		t.Error("nothing says that there is a key")
	}
}
