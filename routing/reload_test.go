package routing

import (
	"slices"
	"testing"
	"time"
)

// reloaded is a table of routes that takes the place of previous.
func reloaded(t *testing.T, previous *Table, routes ...RouteConfig) *Table {
	t.Helper()
	table, err := NewTable(&Config{Routes: routes}, echo, previous)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestReloadKeepsBackends(t *testing.T) {
	secure := BackendConfig{URL: "https://a:80", Addr: "a:80", TLS: &BackendTLS{ServerName: "a"}}
	first := reloaded(t, nil, RouteConfig{Backends: abc(1, 1)})
	a, b := first.Backends()[0], first.Backends()[1]
	a.Acquire()
	a.SetHealthy(false, time.Now())
	b.SetDraining(true)

	second := reloaded(t, first, RouteConfig{Path: "/other", Backends: append(abc(5, 1), secure)})
	if got := second.Backends(); len(got) != 3 || got[0] != a || got[1] != b || got[2].TLS == nil {
		t.Fatalf("Backends = %v, want the two there were, and another for a with TLS", got)
	}
	if a.Links() != 1 || a.Healthy() || !b.Draining() {
		t.Errorf("a has %d links, healthy %v, b draining %v; want 1, false, true", a.Links(), a.Healthy(), b.Draining())
	}

	// a is gone for two tables, and has links all the time; b has none.
	third := reloaded(t, second, RouteConfig{Backends: abc(1, 1, 1)[2:]})
	if got := third.Backends(); len(got) != 1 || got[0].URL != "c" {
		t.Errorf("Backends = %v, want c alone", got)
	}
	fourth := reloaded(t, third, RouteConfig{Backends: abc(1, 1, 1)[2:]})
	fifth := reloaded(t, fourth, RouteConfig{Backends: abc(1, 1)})
	if got := fifth.Backends(); got[0] != a || got[1] == b {
		t.Errorf("a is the same: %v, b is: %v; want true, and false, as there was nothing left to know of it", got[0] == a, got[1] == b)
	}
}

func TestReloadGoesOnInTurn(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after []int // weights
		picked        int
		want          string
	}{
		{"the same", []int{1, 1, 1}, []int{1, 1, 1}, 4, "bcab"},
		{"the same, weighted", []int{5, 1, 1}, []int{5, 1, 1}, 3, "acaa"},
		{"one more, weighted", []int{1, 2}, []int{1, 2, 3}, 1, "cabcbc"},
		{"one less", []int{1, 1, 1}, []int{1, 1}, 2, "abab"},
		// What the heavy ones were ahead would have the light ones wait for a thousand turns.
		{"much lighter", []int{1000, 1, 999}, []int{1, 2, 1}, 1001, "aabc"},
	} {
		first := reloaded(t, nil, RouteConfig{Backends: abc(tt.before...)})
		picks(tt.picked, first.Routes()[0], &Ask{})
		second := reloaded(t, first, RouteConfig{Backends: abc(tt.after...)})
		if got := picks(len(tt.want), second.Routes()[0], &Ask{}); got != tt.want {
			t.Errorf("%s: then %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestReloadOfAnotherRouteStartsAnew(t *testing.T) {
	first := reloaded(t, nil, RouteConfig{Path: "/a", Backends: abc(1, 1)})
	picks(1, first.Routes()[0], &Ask{})
	second := reloaded(t, first, RouteConfig{Path: "/b", Backends: abc(1, 1)})
	if got := picks(1, second.Routes()[0], &Ask{}); got != "a" {
		t.Errorf("the first of another route is %s, want a", got)
	}
}

// TestReloadThatFailsChangesNothing: the table before goes on as if there had been none.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	rc := RouteConfig{Backends: abc(1, 1), MaxLinks: 1}
	first := reloaded(t, nil, rc)
	rc.MaxLinks, rc.Backends = 5, abc(3, 1)
	rc.Backends[0].Drain = true
	if _, err := NewTable(&Config{Routes: []RouteConfig{rc, rc}}, nil, first); err == nil {
		t.Fatal("the same route twice is no fault")
	}
	reloaded(t, first, rc) // and then something else is wrong, and nobody uses it
	r := first.Routes()[0]
	if got := picks(4, r, &Ask{}); got != "abab" {
		t.Errorf("the table before gives %s, want abab", got)
	}
	for i, want := range []error{nil, nil, ErrFull} {
		if _, err := r.Acquire(t.Context(), &Ask{}); err != want {
			t.Errorf("Acquire %d = %v, want %v", i, err, want)
		}
	}
}

func TestSlowStartOfWhatIsNew(t *testing.T) {
	rc := RouteConfig{SlowStart: 10 * time.Second}
	for _, tt := range []struct {
		name string
		from []BackendConfig
		want bool
	}{
		{"new", abc(1, 1), true},
		{"there before", abc(1, 1, 1), false},
	} {
		rc.Backends = tt.from
		first := reloaded(t, nil, rc)
		rc.Backends = abc(1, 1, 1)
		second := reloaded(t, first, rc)
		c := second.Backends()[2]
		if got := c.warmth(sinceEpoch(time.Now()), rc.SlowStart) < fullWeight/2; got != tt.want {
			t.Errorf("%s: starts slowly: %v, want %v", tt.name, got, tt.want)
		}
		if second.Backends()[0].warmth(sinceEpoch(time.Now()), rc.SlowStart) != fullWeight {
			t.Errorf("%s: the others start slowly", tt.name)
		}
	}
}

// TestSetBackends is what DNS does: the set of a route in use is replaced.
func TestSetBackends(t *testing.T) {
	r := newTestRoute(t, RouteConfig{Backends: abc(1, 1), Sticky: &StickyConfig{}})
	a := r.Backends()[0]
	cookie := cookieFor(r.Sticky, r.Backends()[1])
	d := newBackend("d", "d:80", nil)
	r.setBackends([]member{{backend: d, weight: 1, backup: true}, {backend: a, weight: 3}})
	if got := r.Backends(); !slices.Equal(got, []*Backend{d, a}) {
		t.Errorf("Backends = %v, want d, a", got)
	}
	if got := picks(3, r, &Ask{}); got != "aaa" {
		t.Errorf("%s, want aaa, as d is the backup", got)
	}
	if got := r.Sticky.Backend([]byte(cookie)); got != nil {
		t.Errorf("the cookie of one that is gone gives %s", got.URL)
	}
	if got := r.Sticky.Backend([]byte(cookieFor(r.Sticky, d))); got != d {
		t.Errorf("the cookie of the new one gives %v", got)
	}
	r.setBackends(nil)
	if got := r.Pick(&Ask{}); got != nil || len(r.Backends()) != 0 {
		t.Errorf("without backends: %v", got)
	}
	if _, err := r.Acquire(t.Context(), &Ask{}); err != ErrNoBackend {
		t.Errorf("Acquire without backends = %v, want ErrNoBackend", err)
	}
}
