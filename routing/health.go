package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// HealthCheck says how a route's backends are probed. The zero value does not probe them.
type HealthCheck struct {
	// Type is "tcp", "http" or "websocket". Empty means that there are no probes; the rest is zero then.
	Type string

	// Interval is the time from probe to probe, Timeout what one may take in all. A probe that outlasts
	// the interval delays the next. Zero means 5 and 2 seconds.
	Interval, Timeout time.Duration

	// Rise is how many probes in a row must succeed until a backend that is down is used again, Fall how
	// many must fail until one is not used any more. Zero means 2 and 3.
	Rise, Fall int

	// Path is the request target, with its query. Empty means "/"; with type tcp it stays empty.
	Path string

	// Host is the Host to send. Empty means the backend's own.
	Host string

	// Headers are sent beside it. No name is there twice, in any case.
	Headers []HealthHeader

	// Method is GET, HEAD or OPTIONS. Empty means GET with type http, and is none with another.
	Method string

	// Status are the codes of a good answer, each from 200 to 599. None means 200 to 399 with type
	// http, and is none with another.
	Status []StatusRange

	// Body, unless empty, must be found in the first 64 KiB of the body.
	Body string

	// Subprotocol, unless empty, must be agreed to.
	Subprotocol string
}

// HealthHeader is a field that a probe sends.
type HealthHeader struct{ Name, Value string }

// StatusRange is the status codes from First to Last, both included.
type StatusRange struct{ First, Last int }

// PassiveCheck says what failures of requests make of a route's backends.
type PassiveCheck struct {
	// Failures is how many in a row, within Window, take a backend out. Zero means 3, negative that
	// none does.
	Failures int

	// Window is how old the first of them may be when the last comes. Zero means 10 seconds.
	Window time.Duration

	// Pause is how long a backend is out the first time, and each time in a row twice as long as before,
	// up to MaxPause. Zero means 5 seconds and a minute, or what the other says where that would not fit.
	Pause, MaxPause time.Duration

	// EarlyDeath is how old a link must have become so that its end without a Close is no failure. Zero
	// means a second, negative that no such end is one.
	EarlyDeath time.Duration
}

func (h *HealthCheck) fillDefaults() {
	if h.Type == "" {
		return
	}
	fill(&h.Interval, 5*time.Second)
	fill(&h.Timeout, 2*time.Second)
	fill(&h.Rise, 2)
	fill(&h.Fall, 3)
	if h.Type != "tcp" {
		fill(&h.Path, "/")
	}
	if h.Type == "http" {
		fill(&h.Method, "GET")
		if h.Status == nil {
			h.Status = []StatusRange{{200, 399}}
		}
	}
}

func (p *PassiveCheck) fillDefaults() {
	fill(&p.Failures, 3)
	fill(&p.Window, 10*time.Second)
	if p.MaxPause > 0 {
		fill(&p.Pause, min(5*time.Second, p.MaxPause))
	}
	fill(&p.Pause, 5*time.Second)
	fill(&p.MaxPause, max(time.Minute, p.Pause))
	fill(&p.EarlyDeath, time.Second)
}

// check finds what Load lets nobody write. Defaults are filled in.
func (h *HealthCheck) check() error {
	if h.Type != "" && !slices.Contains(healthTypes, h.Type) {
		return fmt.Errorf("health: there is no type %s", quote(h.Type))
	}
	if min(h.Interval, h.Timeout) < 0 || min(h.Rise, h.Fall) < 0 {
		return errors.New("health: a number is negative")
	}
	for _, key := range h.keys() {
		if !slices.Contains(healthKeyTypes[key], h.Type) {
			return fmt.Errorf("health: %s is not for type %s", key, quote(h.Type))
		}
	}
	if h.Path != "" {
		if _, err := parseHealthPath(h.Path); err != nil {
			return fmt.Errorf("health: path: %w", err)
		}
	}
	if h.Host != "" {
		if _, err := parseHealthHost(h.Host); err != nil {
			return fmt.Errorf("health: host: %w", err)
		}
	}
	for _, f := range h.Headers {
		if err := checkFieldName(f.Name); err != nil {
			return fmt.Errorf("health: headers: %w", err)
		}
		if err := checkHealthValue(f.Value); err != nil {
			return fmt.Errorf("health: headers: %s: %w", quote(f.Name), err)
		}
	}
	if h.Method != "" && !slices.Contains(healthMethods, h.Method) {
		return fmt.Errorf("health: method %s is none of a probe", quote(h.Method))
	}
	for _, s := range h.Status {
		if s.First < 200 || s.Last > 599 || s.First > s.Last {
			return fmt.Errorf("health: there is no status from %d to %d", s.First, s.Last)
		}
	}
	if h.Subprotocol != "" {
		if _, err := parseSubprotocol(h.Subprotocol); err != nil {
			return fmt.Errorf("health: subprotocol: %w", err)
		}
	}
	if h.Body != "" && h.Method == "HEAD" {
		return errors.New("health: an answer to HEAD has no body")
	}
	return nil
}

// keys are those of healthKeyTypes that are set.
func (h *HealthCheck) keys() (set []string) {
	for key, is := range map[string]bool{
		"path": h.Path != "", "host": h.Host != "", "method": h.Method != "", "headers": len(h.Headers) > 0,
		"status": len(h.Status) > 0, "body": h.Body != "", "subprotocol": h.Subprotocol != "",
	} {
		if is {
			set = append(set, key)
		}
	}
	slices.Sort(set)
	return set
}

// check finds what Load lets nobody write. Defaults are filled in.
func (p *PassiveCheck) check() error {
	if min(p.Window, p.Pause, p.MaxPause) < 0 {
		return errors.New("passive: a duration is negative")
	}
	if p.MaxPause < p.Pause {
		return errors.New("passive: the longest pause is shorter than the first")
	}
	return nil
}

var (
	healthTypes   = []string{"tcp", "http", "websocket"}
	healthMethods = []string{"GET", "HEAD", "OPTIONS"}

	// healthKeyTypes are the types that a key is for; one that is not here is for all.
	healthKeyTypes = map[string][]string{
		"path": {"http", "websocket"}, "host": {"http", "websocket"}, "headers": {"http", "websocket"},
		"method": {"http"}, "status": {"http"}, "body": {"http"}, "subprotocol": {"websocket"},
	}

	healthKeys = schema[HealthCheck]{
		choice("type", sameWords(healthTypes), func(h *HealthCheck) *string { return &h.Type }),
		duration("interval", func(h *HealthCheck) *time.Duration { return &h.Interval }),
		duration("timeout", func(h *HealthCheck) *time.Duration { return &h.Timeout }),
		count("rise", 100, "", func(h *HealthCheck) *int { return &h.Rise }),
		count("fall", 100, "", func(h *HealthCheck) *int { return &h.Fall }),
		{key: "path", decode: func(d *decoder, v value, into *HealthCheck) {
			into.Path = parsed(d, v, healthPathWant, parseHealthPath)
		}},
		{key: "host", decode: func(d *decoder, v value, into *HealthCheck) {
			into.Host = parsed(d, v, healthHostWant, parseHealthHost)
		}},
		choice("method", sameWords(healthMethods), func(h *HealthCheck) *string { return &h.Method }),
		{key: "headers", decode: func(d *decoder, v value, into *HealthCheck) { into.Headers = d.healthHeaders(v) }},
		{key: "status", decode: func(d *decoder, v value, into *HealthCheck) { into.Status = d.healthStatus(v) }},
		{key: "body", decode: func(d *decoder, v value, into *HealthCheck) {
			into.Body = parsed(d, v, healthBodyWant, parseHealthBody)
		}},
		{key: "subprotocol", decode: func(d *decoder, v value, into *HealthCheck) {
			into.Subprotocol = parsed(d, v, subprotocolWant, parseSubprotocol)
		}},
	}

	passiveKeys = schema[PassiveCheck]{
		countOr("failures", 100, "off", -1, func(p *PassiveCheck) *int { return &p.Failures }),
		duration("window", func(p *PassiveCheck) *time.Duration { return &p.Window }),
		duration("pause", func(p *PassiveCheck) *time.Duration { return &p.Pause }),
		duration("max_pause", func(p *PassiveCheck) *time.Duration { return &p.MaxPause }),
		durationOrOff("early_death", -1, func(p *PassiveCheck) *time.Duration { return &p.EarlyDeath }),
	}

	healthField = section("health", healthKeys, func(r *RouteConfig) *HealthCheck { return &r.Health }).
			by(func(d *decoder, v value, into *RouteConfig) { d.health(v, &into.Health) })
	passiveField = section("passive", passiveKeys, func(r *RouteConfig) *PassiveCheck { return &r.Passive }).
			by(func(d *decoder, v value, into *RouteConfig) { d.passive(v, &into.Passive) })
)

const (
	healthPathWant   = "write a path, e.g. /healthz or /healthz?deep=1"
	healthHostWant   = "write a host to send, e.g. app.internal or app.internal:9000"
	healthHeaderWant = "a mapping of names to texts is needed, e.g. {Authorization: Basic eA==}"
	healthStatusWant = "write a status from 200 to 599, a range, e.g. 200-399, or a list of them"
	healthBodyWant   = "write a text that the body must have, e.g. ok"
	subprotocolWant  = "write the name of a subprotocol, e.g. chat.v2"
)

func sameWords(words []string) (options []option[string]) {
	for _, word := range words {
		options = append(options, option[string]{word, word})
	}
	return options
}

// health is the section of that name, which switches probes on by being there.
func (d *decoder) health(v value, h *HealthCheck) {
	faults := len(d.faults)
	found := healthKeys.mapping(d, v, "a mapping with "+strings.Join(healthKeys.names(), ", ")+" is allowed; leave it out for no probes", h)
	written, isThere := found["type"]
	if !isThere {
		h.Type = "tcp"
	}
	if h.Type == "" {
		return // a fault of its own
	}
	for _, f := range healthKeys {
		types, at := healthKeyTypes[f.key], found[f.key]
		if types == nil || at.node == nil || slices.Contains(types, h.Type) {
			continue
		}
		said := fmt.Sprintf("this check has it in line %d", written.line)
		if !isThere {
			said = "the type is tcp unless given"
		}
		d.faultUse(at, "is for type %s, not %s; %s", strings.Join(types, " or "), h.Type, said)
	}
	if at := found["body"]; at.node != nil && h.Method == "HEAD" && len(d.faults) == faults {
		d.faultUse(at, "an answer to HEAD has no body; leave method out, or write GET")
	}
}

// passive is the section of that name.
func (d *decoder) passive(v value, p *PassiveCheck) {
	found := passiveKeys.mapping(d, v, "a mapping with "+strings.Join(passiveKeys.names(), ", ")+" is allowed; for none write {failures: off}", p)
	if p.MaxPause > 0 && p.Pause > p.MaxPause {
		d.faultUse(found["pause"], "%s is more than max_pause, %s; lower it or raise max_pause",
			quote(found["pause"].node.Value), quote(found["max_pause"].node.Value))
	}
}
