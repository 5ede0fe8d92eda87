package routing

import (
	"errors"
	"strings"
)

// LinkLimits bound links and their making, of one route or of all together.
type LinkLimits struct {
	// Links is how many there may be at a time, those being opened included; more are refused with 503.
	// Zero means as many as there are descriptors for, and no limit of a route's own.
	Links int

	// Handshakes is how many may be under way at a time, from the moment when a handshake has been found
	// good until it is a link or refused; more are refused with 503. Zero means 4096, and no limit of a
	// route's own, negative no limit at all.
	//
	// One under way holds a goroutine, two descriptors and some 30 KiB, so that 4096 of them cost what
	// backends that answer nobody may cost: 120 MB. With backends that answer within 50 ms, it is 80,000
	// handshakes a second.
	Handshakes int

	// LinksPerClient is how many there may be at a time from one client, an IPv4 address or the first 64
	// bits of an IPv6 one; more are refused with 429. Zero means no limit.
	LinksPerClient int

	// HandshakeRate is how many handshakes a second a client may make for long, HandshakeBurst how many
	// at once; more are refused with 429. Zero means no limit for HandshakeRate, and HandshakeRate for
	// HandshakeBurst.
	HandshakeRate, HandshakeBurst int
}

// maxLinks bounds the numbers of links that a file may write.
const maxLinks = 100_000_000

// linkLimitKeys are the keys of LinkLimits. none is the word for no Links of one's own, most is what
// handshakes come to without a limit.
func linkLimitKeys[T any](none string, most int, at func(*T) *LinkLimits) schema[T] {
	return schema[T]{
		count("links", maxLinks, none, func(t *T) *int { return &at(t).Links }),
		countOr("handshakes", 1_000_000, "unlimited", most, func(t *T) *int { return &at(t).Handshakes }),
		count("links_per_client", maxLinks, "unlimited", func(t *T) *int { return &at(t).LinksPerClient }),
		count("handshake_rate", 1_000_000, "unlimited", func(t *T) *int { return &at(t).HandshakeRate }),
		count("handshake_burst", 1_000_000, "auto", func(t *T) *int { return &at(t).HandshakeBurst }),
	}
}

var routeLimitKeys = linkLimitKeys("unlimited", 0, func(l *LinkLimits) *LinkLimits { return l })

// routeLimits is the section limits of a route.
func (d *decoder) routeLimits(v value, into *RouteConfig) {
	l := &into.Limits
	found := routeLimitKeys.mapping(d, v, "a mapping with "+strings.Join(routeLimitKeys.names(), ", ")+" is allowed", l)
	d.checkLinkLimits(found, l)
}

// checkLinkLimits finds what would never come to bear.
func (d *decoder) checkLinkLimits(found map[string]value, l *LinkLimits) {
	if l.Links > 0 && l.LinksPerClient > l.Links {
		d.faultUse(found["links_per_client"], "%d is more than links, %d, which no client gets past; lower it or raise links",
			l.LinksPerClient, l.Links)
	}
	if burst, ok := found["handshake_burst"]; ok && l.HandshakeBurst > 0 && l.HandshakeRate == 0 {
		if rate, ok := found["handshake_rate"]; !ok || rate.node.Value == "unlimited" {
			d.faultUse(burst, "is for a handshake_rate, and there is none; write one, or leave it out")
		}
	}
}

// check finds what Load lets nobody write.
func (l *LinkLimits) check() error {
	if min(l.Links, l.LinksPerClient, l.HandshakeRate, l.HandshakeBurst) < 0 {
		return errors.New("limits: a limit is negative")
	}
	return nil
}
