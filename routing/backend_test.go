package routing

import (
	"sync"
	"testing"
)

func TestPickTakesTurns(t *testing.T) {
	a, b, c := newBackend("a", "a:1"), newBackend("b", "b:1"), newBackend("c", "c:1")
	r := &Route{Backends: []*Backend{a, b, c}}
	for i, want := range []*Backend{a, b, c, a, b, c, a} {
		if got := r.Pick(); got != want {
			t.Errorf("Pick %d = %s, want %s", i, got.URL, want.URL)
		}
	}
}

func TestPickIsEvenAcrossGoroutines(t *testing.T) {
	const goroutines, picks = 8, 300
	r := &Route{Backends: []*Backend{newBackend("a", "a:1"), newBackend("b", "b:1"), newBackend("c", "c:1")}}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range picks {
				r.Pick().Acquire()
			}
		})
	}
	wg.Wait()
	for _, b := range r.Backends {
		if got := b.Links(); got != goroutines*picks/3 {
			t.Errorf("%s has %d links, want %d", b.URL, got, goroutines*picks/3)
		}
	}
}

func TestLinksEndAtZero(t *testing.T) {
	b := newBackend("a", "a:1")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				b.Acquire()
				if b.Links() < 1 {
					t.Error("Links < 1 between Acquire and Release")
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	if got := b.Links(); got != 0 {
		t.Errorf("Links = %d, want 0", got)
	}
}

func TestHostFor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header HostHeader
		addr   string
		want   string
	}{
		{"keep", HostHeader{}, "a:9000", ""},
		{"backend", HostHeader{Backend: true}, "a:9000", "a:9000"},
		{"backend, default port", HostHeader{Backend: true}, "a:80", "a"},
		{"backend, other port ending alike", HostHeader{Backend: true}, "a:8080", "a:8080"},
		{"backend, IPv6", HostHeader{Backend: true}, "[::80]:80", "[::80]"},
		{"literal", HostHeader{Literal: "app.internal"}, "a:9000", "app.internal"},
	} {
		if got := tt.header.HostFor(newBackend("x", tt.addr)); got != tt.want {
			t.Errorf("%s: HostFor(%s) = %q, want %q", tt.name, tt.addr, got, tt.want)
		}
	}
}

func TestParseBackend(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want BackendConfig
	}{
		{"http://10.0.0.7:9000", BackendConfig{Addr: "10.0.0.7:9000"}},
		{"ws://10.0.0.7:9000/", BackendConfig{Addr: "10.0.0.7:9000"}},
		{"WS://App.Internal.", BackendConfig{Addr: "app.internal:80"}},
		{"http://[2001:DB8::1]:08080", BackendConfig{Addr: "[2001:db8::1]:8080"}},
		{"builtin:echo", BackendConfig{Builtin: "echo"}},
	} {
		tt.want.URL = tt.url
		if got, err := ParseBackend(tt.url); err != nil || got != tt.want {
			t.Errorf("ParseBackend(%q) = %+v, %v, want %+v", tt.url, got, err, tt.want)
		}
	}
}
