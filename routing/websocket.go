package routing

import (
	"errors"
	"time"
)

// WebSocket is what a route asks of its links.
type WebSocket struct {
	// NoValidation passes what breaks RFC 6455; lengths are followed all the same.
	NoValidation bool

	// MaxFrame and MaxMessage are in bytes of payload as they are on the wire, for both ends. Zero
	// means no limit.
	MaxFrame, MaxMessage int64

	// MessageRate is how many messages a second a client may send for long, MessageBurst how many at
	// once. Zero means no limit for MessageRate, and MessageRate for MessageBurst. RateBackend holds
	// backends to it, too.
	MessageRate, MessageBurst int
	RateBackend               bool

	// RateWait has who sends more wait, where it is closed otherwise.
	RateWait bool

	// PingInterval is how long a client may be silent before it is sent a Ping. Zero means that none is
	// sent. PingBackend pings backends, too.
	PingInterval time.Duration
	PingBackend  bool

	// PongTimeout is how long who was sent a Ping may then stay silent. Zero means 10 seconds, negative
	// for ever.
	PongTimeout time.Duration

	// IdleTimeout closes a link on which nothing passes, MaxAge one that has become so old, give or
	// take a tenth. Zero means never.
	IdleTimeout, MaxAge time.Duration

	// StallTimeout gives up an end that takes nothing of what is sent to it. Zero means 60 seconds,
	// negative never.
	StallTimeout time.Duration
}

func (w *WebSocket) fillDefaults() {
	fill(&w.PongTimeout, 10*time.Second)
	fill(&w.StallTimeout, 60*time.Second)
}

// check finds what Load lets nobody write.
func (w *WebSocket) check() error {
	if min(w.MaxFrame, w.MaxMessage) < 0 || min(w.MessageRate, w.MessageBurst) < 0 {
		return errors.New("websocket: a limit is negative")
	}
	if min(w.PingInterval, w.IdleTimeout, w.MaxAge) < 0 {
		return errors.New("websocket: a timeout is negative")
	}
	return nil
}

var (
	// The first of two words for a value is the one that is shown.
	onOff     = []option[bool]{{"on", true}, {"off", false}, {"true", true}, {"false", false}}
	offIsTrue = []option[bool]{{"on", false}, {"off", true}, {"true", false}, {"false", true}}
	excesses  = []option[bool]{{"close", false}, {"wait", true}}

	webSocketKeys = schema[WebSocket]{
		choice("validate", offIsTrue, func(w *WebSocket) *bool { return &w.NoValidation }),
		size("max_frame", 125, 1<<40, "unlimited", func(w *WebSocket) *int64 { return &w.MaxFrame }),
		size("max_message", 1, 1<<40, "unlimited", func(w *WebSocket) *int64 { return &w.MaxMessage }),
		count("message_rate", 1_000_000, "unlimited", func(w *WebSocket) *int { return &w.MessageRate }),
		count("message_burst", 1_000_000, "auto", func(w *WebSocket) *int { return &w.MessageBurst }),
		choice("rate_backend", onOff, func(w *WebSocket) *bool { return &w.RateBackend }),
		choice("rate_excess", excesses, func(w *WebSocket) *bool { return &w.RateWait }),
		durationOrOff("ping_interval", 0, func(w *WebSocket) *time.Duration { return &w.PingInterval }),
		durationOrOff("pong_timeout", -1, func(w *WebSocket) *time.Duration { return &w.PongTimeout }),
		choice("ping_backend", onOff, func(w *WebSocket) *bool { return &w.PingBackend }),
		durationOrOff("idle_timeout", 0, func(w *WebSocket) *time.Duration { return &w.IdleTimeout }),
		durationOrOff("max_age", 0, func(w *WebSocket) *time.Duration { return &w.MaxAge }),
		durationOrOff("stall_timeout", -1, func(w *WebSocket) *time.Duration { return &w.StallTimeout }),
	}
)
