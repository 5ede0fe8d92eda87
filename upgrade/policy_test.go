package upgrade

import (
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/splice"
	"wsproxy/routing"
)

func TestPolicyOfARoute(t *testing.T) {
	tests := []struct {
		name string
		in   routing.WebSocket
		want *splice.Policy
	}{
		{"nothing", routing.WebSocket{StallTimeout: -1, PongTimeout: 10 * time.Second}, nil},
		{"the default", routing.WebSocket{StallTimeout: time.Minute, PongTimeout: 10 * time.Second},
			&splice.Policy{StallTimeout: time.Minute}},
		{"all", routing.WebSocket{
			NoValidation: true, MaxFrame: 1, MaxMessage: 2, MessageRate: 3, MessageBurst: 4, RateBackend: true, RateWait: true,
			PingInterval: 5, PongTimeout: 6, PingBackend: true, IdleTimeout: 7, MaxAge: 8, StallTimeout: 9,
		}, &splice.Policy{
			Limits:      frame.Limits{Lenient: true, MaxFrame: 1, MaxMessage: 2},
			MessageRate: 3, MessageBurst: 4, RateBackend: true, RateWait: true,
			PingInterval: 5, PongTimeout: 6, PingBackend: true, IdleTimeout: 7, MaxAge: 8, StallTimeout: 9,
		}},
		{"pings that need no answer", routing.WebSocket{PingInterval: 5, PongTimeout: -1, StallTimeout: -1}, &splice.Policy{PingInterval: 5}},
	}
	for _, tt := range tests {
		got := PolicyOf(&routing.Route{WebSocket: tt.in})
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
