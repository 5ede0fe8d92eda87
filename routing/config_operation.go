package routing

import (
	"errors"
	"path/filepath"
	"time"
)

// Drain is how links are closed that cannot stay: those of routes and backends that are gone or are to be
// left alone, and those that make room for others.
type Drain struct {
	// Window is the time over which they are closed, evenly and in random order, so that the clients do not
	// come back all at once. Zero means 10 seconds, negative that all are closed at once.
	Window time.Duration
}

// OnDown is what becomes of the links of a backend that goes down.
type OnDown uint8

const (
	// KeepLinks leaves them alone: what is wrong with the backend need not be wrong with them.
	KeepLinks OnDown = iota

	// CloseLinks closes them at once, with 1014.
	CloseLinks

	// PaceLinks closes them over the Drain's Window, with 1014.
	PaceLinks
)

// Rebalance moves links to a backend that has been added or has come back: some of those on the fullest are
// closed, with 1012, so that their clients come back and find it.
type Rebalance struct {
	// Share is how much of the route's links is closed at most, in percent. Zero means none.
	Share int

	// Window is the time over which they are closed. Zero means a minute.
	Window time.Duration
}

const (
	defaultDrainWindow     = 10 * time.Second
	defaultRebalanceWindow = time.Minute
	defaultRetries         = 2
	maxRetries             = 10
	maxRebalanceShare      = 50
)

var (
	onDowns = []option[OnDown]{{"keep", KeepLinks}, {"close", CloseLinks}, {"pace", PaceLinks}}

	drainKeys = schema[Drain]{
		durationOrOff("window", -1, func(d *Drain) *time.Duration { return &d.Window }),
	}

	rebalanceKeys = schema[Rebalance]{
		count("share", maxRebalanceShare, "off", func(r *Rebalance) *int { return &r.Share }),
		duration("window", func(r *Rebalance) *time.Duration { return &r.Window }),
	}

	controlField = field[Config]{key: "control", decode: func(d *decoder, v value, into *Config) {
		text, ok := d.text(v, controlWant)
		switch {
		case !ok:
		case text == "auto" || text == "off":
			into.Control = text
		case !filepath.IsAbs(text):
			d.fault(v, "%s is no path from the root; %s", quote(text), controlWant)
		default:
			into.Control = text
		}
	}}
)

const controlWant = "write auto, off, or the path of a socket, e.g. /run/wsproxy/control"

func (r *RouteConfig) fillOperation() {
	fill(&r.Retries, defaultRetries)
	fill(&r.Rebalance.Window, defaultRebalanceWindow)
}

func (r *RouteConfig) checkOperation() error {
	if r.Retries > maxRetries || r.Rebalance.Share < 0 || r.Rebalance.Share > maxRebalanceShare || r.Rebalance.Window < 0 {
		return errors.New("retries or rebalance are out of range")
	}
	return nil
}
