package routing

import (
	"reflect"
	"sync"
	"testing"
)

func TestPickTakesTurns(t *testing.T) {
	a, b, c := newBackend("a", "a:1", nil), newBackend("b", "b:1", nil), newBackend("c", "c:1", nil)
	r := &Route{Backends: []*Backend{a, b, c}}
	for i, want := range []*Backend{a, b, c, a, b, c, a} {
		if got := r.Pick(); got != want {
			t.Errorf("Pick %d = %s, want %s", i, got.URL, want.URL)
		}
	}
}

func TestPickIsEvenAcrossGoroutines(t *testing.T) {
	const goroutines, picks = 8, 300
	r := &Route{Backends: []*Backend{newBackend("a", "a:1", nil), newBackend("b", "b:1", nil), newBackend("c", "c:1", nil)}}
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
	b := newBackend("a", "a:1", nil)
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
		tls    *BackendTLS
		want   string
	}{
		{"keep", HostHeader{}, "a:9000", nil, ""},
		{"backend", HostHeader{Backend: true}, "a:9000", nil, "a:9000"},
		{"backend, default port", HostHeader{Backend: true}, "a:80", nil, "a"},
		{"backend, other port ending alike", HostHeader{Backend: true}, "a:8080", nil, "a:8080"},
		{"backend, IPv6", HostHeader{Backend: true}, "[::80]:80", nil, "[::80]"},
		{"backend, TLS", HostHeader{Backend: true}, "a:443", new(BackendTLS), "a"},
		{"backend, TLS on port 80", HostHeader{Backend: true}, "a:80", new(BackendTLS), "a:80"},
		{"backend, port 443 without TLS", HostHeader{Backend: true}, "a:443", nil, "a:443"},
		{"literal", HostHeader{Literal: "app.internal"}, "a:9000", nil, "app.internal"},
	} {
		if got := tt.header.HostFor(newBackend("x", tt.addr, tt.tls)); got != tt.want {
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
		{"https://App.Internal", BackendConfig{Addr: "app.internal:443", TLS: &BackendTLS{ServerName: "app.internal"}}},
		{"WSS://[2001:db8::1]:8443/", BackendConfig{Addr: "[2001:db8::1]:8443", TLS: &BackendTLS{ServerName: "2001:db8::1"}}},
		{"https://10.0.0.7:80", BackendConfig{Addr: "10.0.0.7:80", TLS: &BackendTLS{ServerName: "10.0.0.7"}}},
		{"builtin:echo", BackendConfig{Builtin: "echo"}},
	} {
		tt.want.URL = tt.url
		if got, err := ParseBackend(tt.url); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseBackend(%q) = %+v, %v, want %+v", tt.url, got, err, tt.want)
		}
	}
}
