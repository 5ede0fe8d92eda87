package routing

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timeouts bound what a client may take.
type Timeouts struct {
	// TLSHandshake is how long a client may take for its TLS handshake. Zero means 10 seconds.
	TLSHandshake time.Duration

	// RequestHeader is how long a client may take to send a request's header. Zero means 10 seconds.
	RequestHeader time.Duration

	// RequestBody is how long a client may pause within a request's body. Zero means 60 seconds,
	// negative for ever.
	RequestBody time.Duration

	// Send is how long a client may take nothing of an answer. Zero means 60 seconds, negative for ever.
	Send time.Duration

	// KeepAlive is how long a connection of plain HTTP may be idle between requests. Zero means 60 seconds.
	KeepAlive time.Duration
}

// Limits are sizes in bytes, and numbers.
type Limits struct {
	// HeaderSize is the most that the header of a request or of an answer may have. Zero means 16 KiB.
	HeaderSize int64

	// HeaderFields is how many fields the header of a request may have; more are refused with 431. Zero
	// means 100.
	HeaderFields int

	// URISize is the most that a request target may have; a longer one is refused with 414. Zero means
	// 8 KiB, or HeaderSize where that is less. HeaderSize bounds it, too, whatever stands here.
	URISize int64

	// Underscores passes header names with an underscore, which CGI and its heirs take for a dash.
	// False refuses a request that has one, with 400.
	Underscores bool

	// MinRate is how many bytes a second a client must send of a request's header and body, averaged,
	// once they have taken five seconds. Zero means 240, negative as few as it likes.
	MinRate int64

	// BodySize is the most that the body of a plain request may have. Zero means no limit.
	BodySize int64

	// TLSHandshakes is how many TLS handshakes are computed at a time. Zero means one less than there
	// are CPUs, but one at least.
	TLSHandshakes int

	LinkLimits

	// Clients is how many clients are remembered that have no link, for their handshakes to be counted.
	// Zero means 100,000.
	Clients int
}

// Pool says which connections to a backend are kept for the next plain request.
type Pool struct {
	// MaxIdle is how many are kept at most for each backend. Zero means 128, negative none.
	MaxIdle int

	// IdleTimeout is how long one is kept. Zero means 4 seconds, since Node.js and Apache close theirs
	// after five: who closes first never sends a request into a connection that is being closed.
	IdleTimeout time.Duration
}

func (t *Timeouts) fillDefaults() {
	fill(&t.TLSHandshake, 10*time.Second)
	fill(&t.RequestHeader, 10*time.Second)
	fill(&t.RequestBody, 60*time.Second)
	fill(&t.Send, 60*time.Second)
	fill(&t.KeepAlive, 60*time.Second)
}

func (l *Limits) fillDefaults() {
	fill(&l.HeaderSize, 16<<10)
	fill(&l.HeaderFields, 100)
	fill(&l.URISize, min(8<<10, l.HeaderSize))
	fill(&l.MinRate, 240)
	fill(&l.Handshakes, 4096)
	fill(&l.Clients, 100_000)
}

func (p *Pool) fillDefaults() {
	fill(&p.MaxIdle, 128)
	fill(&p.IdleTimeout, 4*time.Second)
}

var (
	proxyProtocols = []option[int]{{"off", 0}, {"v1", 1}, {"v2", 2}}

	timeoutKeys = schema[Timeouts]{
		duration("tls_handshake", func(t *Timeouts) *time.Duration { return &t.TLSHandshake }),
		duration("request_header", func(t *Timeouts) *time.Duration { return &t.RequestHeader }),
		durationOrOff("request_body", -1, func(t *Timeouts) *time.Duration { return &t.RequestBody }),
		durationOrOff("send", -1, func(t *Timeouts) *time.Duration { return &t.Send }),
		duration("keep_alive", func(t *Timeouts) *time.Duration { return &t.KeepAlive }),
	}

	limitKeys = append(schema[Limits]{
		size("header_size", 4<<10, 1<<20, "", func(l *Limits) *int64 { return &l.HeaderSize }),
		count("header_fields", 10_000, "", func(l *Limits) *int { return &l.HeaderFields }),
		size("uri_size", 64, 1<<20, "", func(l *Limits) *int64 { return &l.URISize }),
		choice("header_underscores", onOff, func(l *Limits) *bool { return &l.Underscores }),
		sizeOr("min_rate", 1, 1<<30, "off", -1, func(l *Limits) *int64 { return &l.MinRate }),
		size("body_size", 1, 1<<40, "unlimited", func(l *Limits) *int64 { return &l.BodySize }),
		count("tls_handshakes", 65536, "auto", func(l *Limits) *int { return &l.TLSHandshakes }),
		count("clients", 100_000_000, "", func(l *Limits) *int { return &l.Clients }),
	}, linkLimitKeys("auto", -1, func(l *Limits) *LinkLimits { return &l.LinkLimits })...)

	poolKeys = schema[Pool]{
		countOr("max_idle", 100_000, "off", -1, func(p *Pool) *int { return &p.MaxIdle }),
		duration("idle_timeout", func(p *Pool) *time.Duration { return &p.IdleTimeout }),
	}
)

// limits is the section of that name. What it leaves out is no fault: only where the file has both,
// one is not what was meant.
func (d *decoder) limits(v value, into *Config) {
	l := &into.Limits
	found := limitKeys.mapping(d, v, "a mapping with "+strings.Join(limitKeys.names(), ", ")+" is allowed", l)
	if l.HeaderSize > 0 && l.URISize > l.HeaderSize {
		d.faultUse(found["uri_size"], "%s is more than header_size, %s, which counts the URI as well; lower it or raise header_size",
			sizeText(l.URISize), sizeText(l.HeaderSize))
	}
	d.checkLinkLimits(found, &l.LinkLimits)
}

// trustedProxy is one network or address of trusted_proxies.
func (d *decoder) trustedProxy(v value) (netip.Prefix, bool) {
	p := parsed(d, v, networkWant, parseNetwork)
	if p.IsValid() && p.Bits() == 0 {
		d.warning(v, quote(p.String())+" is every address: whoever connects can pass for any client")
	}
	return p, p.IsValid()
}

const networkWant = `write e.g. 10.0.0.0/8, 192.0.2.1 or "::1"`

// parseNetwork reads a network, or an address for a network of one.
func parseNetwork(text string) (netip.Prefix, error) {
	var none netip.Prefix
	address, length, isNetwork := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return none, fmt.Errorf("%s is neither an IP address nor a network; %s", quote(text), networkWant)
	case ip.Zone() != "":
		return none, fmt.Errorf("%s has a zone; leave it out, as in %s", quote(text), quote(ip.WithZone("").String()))
	}
	bits := ip.BitLen()
	if isNetwork {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits || strconv.FormatUint(n, 10) != length {
			return none, fmt.Errorf("%s has %s for the length of its prefix; 0 to %d are allowed", quote(text), quote(length), bits)
		}
		bits = int(n)
	}
	if ip.Is4In6() && bits >= 96 {
		ip, bits = ip.Unmap(), bits-96
	}
	p := netip.PrefixFrom(ip, bits)
	if network := p.Masked(); network != p {
		return none, fmt.Errorf("%s has bits set behind its first %d; write %s for the network, or %s for the address",
			quote(text), bits, quote(network.String()), quote(ip.String()))
	}
	return p, nil
}

// checkPlace checks what some keys of a route say about its path and its backends.
func (d *decoder) checkPlace(found map[string]value, r *RouteConfig) {
	_, written := found["path"]
	if atFault := written && r.Path == ""; !atFault {
		if err := r.Prefix.check(cmp.Or(r.Path, "/*")); err != nil {
			d.faultUse(found["path_prefix"], "%v", err)
		}
	}
	d.checkSources(found, r)
	d.warnAccess(found, &r.Access)
	if at, ok := found["proxy_protocol"]; ok && r.ProxyProtocol != 0 {
		if i := slices.IndexFunc(r.Backends, func(b BackendConfig) bool { return b.Builtin != "" }); i >= 0 {
			d.faultUse(at, "is for backends that read a PROXY protocol header; %s does not", quote(r.Backends[i].URL))
		}
	}
}

// check finds what Load lets nobody write. path is the route's in its normal form, defaults are filled in.
func (r *RouteConfig) check(path string) error {
	if min(r.DialTimeout, r.HandshakeTimeout, r.ResponseTimeout, r.Pool.IdleTimeout) < 0 {
		return errors.New("a timeout is negative")
	}
	if r.ProxyProtocol < 0 || r.ProxyProtocol > 2 {
		return fmt.Errorf("there is no version %d of the PROXY protocol", r.ProxyProtocol)
	}
	if err := r.Prefix.check(path); err != nil {
		return fmt.Errorf("path_prefix: %w", err)
	}
	if err := r.RequestHeaders.check(); err != nil {
		return fmt.Errorf("request_headers: %w", err)
	}
	if err := r.ResponseHeaders.check(); err != nil {
		return fmt.Errorf("response_headers: %w", err)
	}
	for _, check := range [...]func() error{
		r.WebSocket.check, r.Health.check, r.Passive.check, r.checkBalance, r.checkOperation, r.Limits.check, r.checkSourceAddresses,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if len(r.Backends) == 0 {
		return errors.New("no backends")
	}
	for i, b := range r.Backends {
		if b.Builtin != "" && r.ProxyProtocol != 0 {
			return fmt.Errorf("backends[%d]: %s reads no PROXY protocol header", i, quote(b.URL))
		}
	}
	return nil
}
