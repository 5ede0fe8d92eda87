package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Queue is where requests wait for a slot when every backend of a route is full.
type Queue struct {
	// Size is how many may wait. Zero means that none does.
	Size int

	// Timeout is for how long. Zero means 5 seconds.
	Timeout time.Duration
}

// StickyConfig is the cookie that brings a client back to its backend.
type StickyConfig struct {
	// Cookie is its name. Empty means "wsproxy". Two routes whose cookies reach the same requests need
	// different ones.
	Cookie string

	// Path and Domain are where the client sends it. Empty means "/" for Path, and for Domain the host of
	// the request alone.
	Path, Domain string

	// Secure has clients send it over TLS only: "on", "off", or "auto" for on where it was set over TLS.
	// Empty means "auto".
	Secure string

	// ScriptAccess lets the scripts of a page read it: HttpOnly is left out.
	ScriptAccess bool

	// SameSite is "lax", "strict" or "none". Empty means "lax".
	SameSite string

	// MaxAge is how long the client keeps it. Zero means until the browser is closed.
	MaxAge time.Duration

	// Key is what it is signed with, 16 bytes or more; several proxies in front of the same backends need
	// the same one. Empty means one that is drawn at start.
	Key Secret
}

// Format prints everything but the key, whatever the verb: with some, package fmt would look inside.
func (s StickyConfig) Format(f fmt.State, _ rune) {
	type plain StickyConfig
	fmt.Fprintf(f, "%+v", plain(s))
}

// Secret is a text that nothing prints.
type Secret string

// Format prints something else, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		f.Write([]byte("***"))
	}
}

// MarshalText is Format for encoders.
func (s Secret) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", s), nil }

const (
	minKey          = 16
	maxWeight       = 1000
	maxBackendLinks = 1_000_000
)

func (s *StickyConfig) fillDefaults() {
	fill(&s.Cookie, "wsproxy")
	fill(&s.Path, "/")
	fill(&s.Secure, "auto")
	fill(&s.SameSite, "lax")
}

var (
	balances = []option[Balance]{
		{"round_robin", RoundRobin}, {"least_connections", LeastConnections}, {"random_two", RandomTwo}, {"hash", Hash},
	}
	onOnly    = []option[bool]{{"on", true}}
	secures   = []option[string]{{"auto", "auto"}, {"on", "on"}, {"off", "off"}}
	sameSites = []option[string]{{"lax", "lax"}, {"strict", "strict"}, {"none", "none"}}

	hashKeys = schema[HashKey]{
		choice("client_ip", onOnly, func(h *HashKey) *bool { return &h.ClientIP }),
		{key: "header", decode: func(d *decoder, v value, into *HashKey) {
			into.Header = parsed(d, v, "write the name of a header, e.g. X-User", parseTokenOf("a header"))
		}},
		{key: "cookie", decode: func(d *decoder, v value, into *HashKey) {
			into.Cookie = parsed(d, v, "write the name of a cookie, e.g. session", parseTokenOf("a cookie"))
		}},
		{key: "query", decode: func(d *decoder, v value, into *HashKey) {
			into.Query = parsed(d, v, "write the name of a parameter, e.g. room", parseQueryName)
		}},
		choice("path", onOnly, func(h *HashKey) *bool { return &h.Path }),
	}

	stickyKeys = schema[StickyConfig]{
		{key: "cookie", decode: func(d *decoder, v value, into *StickyConfig) {
			into.Cookie = parsed(d, v, "write the name of a cookie, e.g. wsproxy", parseTokenOf("a cookie"))
		}},
		{key: "path", decode: func(d *decoder, v value, into *StickyConfig) {
			into.Path = parsed(d, v, "write a path, e.g. /", parseCookiePath)
		}},
		{key: "domain", decode: func(d *decoder, v value, into *StickyConfig) {
			into.Domain = parsed(d, v, "write a host name, e.g. example.com", parseCookieDomain)
		}},
		choice("secure", secures, func(s *StickyConfig) *string { return &s.Secure }),
		choice("http_only", offIsTrue, func(s *StickyConfig) *bool { return &s.ScriptAccess }),
		choice("same_site", sameSites, func(s *StickyConfig) *string { return &s.SameSite }),
		scalar("max_age", oneOf(durationShape, wordShape([]string{"off"})), func(s *StickyConfig) *time.Duration { return &s.MaxAge },
			func(t time.Duration) string { return durationText(t, 0, "off") }).by(
			func(d *decoder, v value, into *StickyConfig) {
				if v.node.Kind != yaml.ScalarNode || v.node.Value != "off" {
					d.durationWithin(v, time.Second, 9600*time.Hour, "off", &into.MaxAge) // browsers take 400 days at most
				}
			}),
		{key: "key", decode: func(d *decoder, v value, into *StickyConfig) { into.Key = d.secret(v) }},
	}

	// Its settings are there for a route that has the section only, be it an empty one.
	stickyField = field[RouteConfig]{
		key:    "sticky",
		below:  stickyKeys,
		decode: func(d *decoder, v value, into *RouteConfig) { into.Sticky = d.sticky(v) },
		settings: func(of *RouteConfig, key string) []Setting {
			if of.Sticky != nil {
				return stickyKeys.settings(of.Sticky, key+".")
			}
			settings := stickyKeys.settings(new(StickyConfig), key+".")
			for i := range settings {
				settings[i].Value = ""
			}
			return settings
		},
	}

	queueKeys = schema[Queue]{
		countOr("size", 100_000, "off", 0, func(q *Queue) *int { return &q.Size }),
		duration("timeout", func(q *Queue) *time.Duration { return &q.Timeout }),
	}
)

// zeroUnsaid is f where zero means what leaving the key out does, and nothing that can be written.
func zeroUnsaid[T any](f field[T]) field[T] {
	settings := f.settings
	f.settings = func(of *T, key string) []Setting {
		said := settings(of, key)
		if said[0].Value == "0" {
			said[0].Value = ""
		}
		return said
	}
	return f
}

// weight is the weight of a backend.
func (d *decoder) weight(v value, into *backendEntry) {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "0" {
		d.fault(v, `"0"; write a number from 1 to %d, or leave it out and write drain: on for a backend that gets nothing new`, maxWeight)
		return
	}
	count("weight", maxWeight, "", func(e *backendEntry) *int { return &e.Weight }).decode(d, v, into)
}

// sticky is that of a route. A section that is there but empty has all the defaults.
func (d *decoder) sticky(v value) *StickyConfig {
	s := new(StickyConfig)
	faults := len(d.faults)
	found := stickyKeys.mapping(d, v, "a mapping is needed, e.g. {cookie: wsproxy}", s)
	if len(d.faults) > faults {
		return s
	}
	if key, problem := s.conflict(); problem != "" {
		at, ok := found[key]
		if !ok {
			at = v
		}
		d.faultUse(at, "%s", problem)
	}
	return s
}

// conflict says which key does not go with the others, for what browsers would not take.
func (s *StickyConfig) conflict() (key, problem string) {
	host := strings.HasPrefix(s.Cookie, "__Host-")
	switch {
	case s.Secure == "off" && s.SameSite == "none":
		return "secure", "is off, but same_site is none, which browsers take of a secure cookie only"
	case s.Secure == "off" && (host || strings.HasPrefix(s.Cookie, "__Secure-")):
		return "secure", "is off, but browsers take a cookie of that name only if it is secure"
	case host && s.Domain != "":
		return "domain", "is there, but browsers take a cookie whose name begins with __Host- only without"
	case host && s.Path != "" && s.Path != "/":
		return "path", `is not "/", but browsers take a cookie whose name begins with __Host- only with that`
	}
	return "", ""
}

// secret is a text that no fault shows, nor what stands there in its place.
func (d *decoder) secret(v value) Secret {
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!str" {
		d.fault(v, "something that is no text stands here; write a text of %d bytes or more, in quotes", minKey)
		return ""
	}
	text := unescaped(v.node.Value)
	if n := len(text); n < minKey {
		d.fault(v, "a text of %d bytes stands here; %d or more are needed, e.g. from openssl rand -base64 32", n, minKey)
		return ""
	}
	return Secret(text)
}

// checkBalance checks what the keys about balancing say about each other.
func (d *decoder) checkBalance(v value, found map[string]value, r *RouteConfig) {
	if at, ok := found["balance"]; ok && r.Balance == RoundRobin && at.node.Value != "round_robin" {
		return // at fault, and nobody knows what was meant
	}
	hash, hashed := found["hash"]
	slow, slowly := found["slow_start"]
	if r.Balance == Hash {
		d.need(v, found, "hash", "write what is hashed, e.g. hash: {client_ip: on}")
		if slowly && r.SlowStart > 0 {
			d.faultUse(slow, "is not for balance: hash, with which a backend has its share at once")
		}
	} else if hashed {
		d.faultUse(hash, "is for balance: hash; this route has %s", r.Balance)
	}
}

// hash says what of a request is hashed.
func (d *decoder) hash(v value, into *RouteConfig) {
	faults := len(d.faults)
	found := hashKeys.mapping(d, v, "a mapping with one key is needed, e.g. {client_ip: on}", &into.HashKey)
	if len(found) != 1 && len(d.faults) == faults {
		d.fault(v, "%d keys stand here; exactly one is needed of %s", len(found), strings.Join(hashKeys.names(), ", "))
	}
}

// checkBalance finds what Load lets nobody write.
func (r *RouteConfig) checkBalance() error {
	set := 0
	for _, is := range []bool{r.HashKey.ClientIP, r.HashKey.Header != "", r.HashKey.Cookie != "", r.HashKey.Query != "", r.HashKey.Path} {
		if is {
			set++
		}
	}
	switch {
	case int(r.Balance) >= len(balances):
		return fmt.Errorf("there is no balance %d", r.Balance)
	case r.Balance == Hash && set != 1:
		return errors.New("hash: exactly one thing is to be hashed")
	case r.SlowStart < 0 || r.Queue.Timeout < 0:
		return errors.New("a timeout is negative")
	case min(r.MaxLinks, r.Queue.Size) < 0:
		return errors.New("a limit is negative")
	}
	if s := r.Sticky; s != nil {
		if key, problem := s.conflict(); problem != "" {
			return fmt.Errorf("sticky: %s %s", key, problem)
		}
		if s.Key != "" && len(s.Key) < minKey {
			return fmt.Errorf("sticky: a key of less than %d bytes", minKey)
		}
		if s.MaxAge < 0 || !slices.ContainsFunc(sameSites, func(o option[string]) bool { return o.word == s.SameSite }) ||
			strings.ContainsAny(s.Cookie+s.Path+s.Domain, "; \r\n") {
			return errors.New("sticky: that is no cookie")
		}
	}
	for i, b := range r.Backends {
		if b.Weight < 0 || b.Weight > maxWeight {
			return fmt.Errorf("backends[%d]: weight is not from 1 to %d", i, maxWeight)
		}
	}
	return nil
}

// parseTokenOf reads the name of something, which is a token.
func parseTokenOf(what string) func(string) (string, error) {
	return func(text string) (string, error) {
		for i := range len(text) {
			if !isTokenByte(text[i]) {
				return "", fmt.Errorf("%s is not the name of %s; letters, digits and any of !#$%%&'*+-.^_`|~ are allowed", quote(text), what)
			}
		}
		return text, nil
	}
}

func parseQueryName(text string) (string, error) {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("&=#", c) >= 0 {
			return "", fmt.Errorf("%s is not the name of a parameter; write it as it stands in a URL, e.g. room", quote(text))
		}
	}
	return text, nil
}

func parseCookieDomain(text string) (string, error) {
	name, err := parseName(text)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fmt.Errorf("%s is an IP address; browsers take only the name of a domain, e.g. example.com", quote(text))
	}
	return name, nil
}

// parseCookiePath: RFC 6265 §4.1.1.
func parseCookiePath(text string) (string, error) {
	if text[0] != '/' {
		return "", fmt.Errorf("%s does not begin with /; write a path, e.g. /", quote(text))
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == ';' {
			return "", fmt.Errorf("%s is not the path of a cookie; spaces, ; and what is not ASCII are not allowed", quote(text))
		}
	}
	return text, nil
}
