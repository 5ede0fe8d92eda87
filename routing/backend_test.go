package routing

import (
	"reflect"
	"sync"
	"testing"
)

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
		{"srv+http://_http._tcp.App.default.svc.cluster.local", BackendConfig{Addr: "_http._tcp.app.default.svc.cluster.local", SRV: true}},
		{"SRV+ws://app.service.consul./", BackendConfig{Addr: "app.service.consul", SRV: true}},
		{"srv+https://app.service.consul", BackendConfig{Addr: "app.service.consul", SRV: true, TLS: &BackendTLS{ServerName: "app.service.consul"}}},
		{"srv+wss://_wss._tcp.app.test", BackendConfig{Addr: "_wss._tcp.app.test", SRV: true, TLS: &BackendTLS{ServerName: "app.test"}}},
		{"srv+https://_https._tcp", BackendConfig{Addr: "_https._tcp", SRV: true, TLS: &BackendTLS{ServerName: "_https._tcp"}}},
		{"srv+https://_https.app.test", BackendConfig{Addr: "_https.app.test", SRV: true, TLS: &BackendTLS{ServerName: "_https.app.test"}}},
	} {
		tt.want.URL = tt.url
		if got, err := ParseBackend(tt.url); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseBackend(%q) = %+v, %v, want %+v", tt.url, got, err, tt.want)
		}
	}
}
