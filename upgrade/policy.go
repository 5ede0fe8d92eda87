package upgrade

import (
	"wsproxy/internal/frame"
	"wsproxy/internal/splice"
	"wsproxy/routing"
)

// PolicyOf makes the Policy that the links of a route share, nil when it asks for nothing.
func PolicyOf(route *routing.Route) *splice.Policy {
	c := &route.WebSocket
	p := splice.Policy{
		Limits: frame.Limits{
			MaxFrame: uint64(c.MaxFrame), MaxMessage: uint64(c.MaxMessage), Lenient: c.NoValidation,
		},
		MessageRate: float64(c.MessageRate), MessageBurst: c.MessageBurst, RateBackend: c.RateBackend, RateWait: c.RateWait,
		IdleTimeout: c.IdleTimeout, MaxAge: c.MaxAge, StallTimeout: max(0, c.StallTimeout),
	}
	if c.PingInterval > 0 {
		p.PingInterval, p.PongTimeout, p.PingBackend = c.PingInterval, max(0, c.PongTimeout), c.PingBackend
	}
	if p == (splice.Policy{}) {
		return nil
	}
	return &p
}
