package routing

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Origins says from which pages a browser may open WebSockets. The zero value lets all.
type Origins struct {
	// Same lets those that come from the host, port and scheme that the client asks for.
	Same bool

	// List lets those that are in it.
	List []Origin

	// RefuseMissing refuses handshakes without an Origin, which programs other than browsers send. It holds
	// for all, also where neither of the others is set.
	RefuseMissing bool
}

// Origin is an origin in its parts (RFC 6454 §4), each in lower case. The one of a page that has none,
// "null", has no scheme and no host but that.
type Origin struct {
	Scheme, Host string

	// Port is the scheme's own where none is written, and zero where that is not known.
	Port uint16

	// Below makes it all the names below Host, and not Host itself.
	Below bool
}

// Any reports whether every Origin is let through, also a malformed one.
func (o *Origins) Any() bool { return !o.Same && o.List == nil }

// Match reports whether an Origin is let through that is there: the value of the field, as it came. scheme,
// http or https, and host, the value of Host, are what the client asks for.
func (o *Origins) Match(origin []byte, scheme string, host []byte) bool {
	if o.Any() {
		return true
	}
	page, err := parseOrigin(string(origin))
	if err != nil {
		return false
	}
	if o.Same && page.Scheme != "" {
		own, err := parseOrigin(scheme + "://" + string(host))
		return err == nil && page == own
	}
	return slices.ContainsFunc(o.List, func(listed Origin) bool { return listed.covers(page) })
}

func (o Origin) covers(page Origin) bool {
	if !o.Below {
		return o == page
	}
	name, ok := strings.CutSuffix(page.Host, "."+o.Host)
	return ok && name != "" && o.Scheme == page.Scheme && o.Port == page.Port
}

// defaultPort is the one that a browser leaves out.
func defaultPort(scheme string) uint16 {
	switch scheme {
	case "http", "ws":
		return 80
	case "https", "wss":
		return 443
	}
	return 0
}

// parseOrigin reads scheme://host or scheme://host:port, or null. It is strict: what it reads in one way,
// nobody may read in another.
func parseOrigin(text string) (Origin, error) {
	if text == "null" {
		return Origin{Host: text}, nil
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 }) {
		// One of them is a k in lower case.
		return Origin{}, errors.New("has letters outside ASCII; browsers send punycode, xn--…")
	}
	scheme, authority, ok := strings.Cut(strings.ToLower(text), "://")
	switch {
	case !ok:
		return Origin{}, errors.New("has no scheme")
	case !isScheme(scheme):
		return Origin{}, fmt.Errorf("has %s for a scheme", quote(scheme))
	case strings.ContainsAny(authority, "/?#"):
		return Origin{}, errors.New("has more than scheme, host and port")
	case strings.Contains(authority, "@"):
		return Origin{}, errors.New("has a user name or password")
	}
	host, port, err := splitPort(authority)
	if err != nil {
		return Origin{}, err
	}
	o := Origin{Scheme: scheme, Host: host, Port: defaultPort(scheme)}
	if port != "" {
		number, err := parsePort(port)
		if err != nil || number == 0 {
			return Origin{}, fmt.Errorf("has %s for a port; a number from 1 to 65535 is allowed", quote(port))
		}
		o.Port = uint16(number)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		o.Host = ip.String() // IPv6 can be written in many ways
		return o, nil
	}
	for i := range len(host) {
		// What a host is outside of HTTP is not ours to know: the id of an extension, say.
		if c := host[i]; !isNameByte(c) && c != '.' {
			return Origin{}, fmt.Errorf("has %s in its host", quote(string(c)))
		}
	}
	if host == "" {
		return Origin{}, errors.New("has no host")
	}
	return o, nil
}

// isScheme reports whether it is one (RFC 3986 §3.1), in lower case.
func isScheme(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && bytes.IndexByte([]byte("+-."), c) < 0) {
			return false
		}
	}
	return text != ""
}

const (
	originWant  = `write e.g. https://example.com, "https://*.example.com" or "null"`
	originsWant = "write any, same, or a list, e.g. [https://example.com]"
)

var missingOrigins = []option[bool]{{"allow", false}, {"refuse", true}}

// origins is any, same or a list.
func (d *decoder) origins(v value, into *RouteConfig) {
	o := &into.Origins
	if v.node.Kind == yaml.SequenceNode {
		list("", "[https://example.com]", nil, func(o *Origins) *[]Origin { return &o.List }, (*decoder).origin).decode(d, v, o)
		return
	}
	switch text, ok := d.text(v, originsWant); {
	case !ok || text == "any":
	case text == "same":
		o.Same = true
	case strings.Contains(text, "://"):
		d.fault(v, "%s stands alone; write a list, [%s]", quote(text), clip(text))
	default:
		words := allowedWords(text, "", []string{"any", "same"})
		d.fault(v, "%s is unknown%s, or a list, e.g. [https://example.com]", quote(text), words)
	}
}

// origin is one of a list.
func (d *decoder) origin(v value) (Origin, bool) {
	if isNull(v.node) && v.node.Value == "null" {
		// Whoever writes null means the origin, though YAML does not.
		d.fault(v, `null is nothing; write "null", in quotes, for pages that have no origin`)
		return Origin{}, false
	}
	faults := len(d.faults)
	o := parsed(d, v, originWant, parseListedOrigin)
	return o, len(d.faults) == faults
}

// parseListedOrigin reads an origin as a file has it.
func parseListedOrigin(text string) (Origin, error) {
	none := Origin{}
	if text == "*" {
		return none, errors.New(`"*" is no origin; write any in place of the list`)
	}
	scheme, host, _ := strings.Cut(text, "://")
	name, below := strings.CutPrefix(host, "*.")
	o, err := parseOrigin(scheme + "://" + strings.TrimSuffix(name, "/"))
	if text == "null" {
		o, err = parseOrigin(text)
	}
	if _, addrErr := netip.ParseAddr(o.Host); err == nil && below && addrErr == nil {
		err = errors.New("is a wildcard of an IP address")
	}
	switch {
	case !strings.Contains(text, "://") && text != "null":
		return none, fmt.Errorf("%s has no scheme; %s", quote(text), originWant)
	case err != nil:
		return none, fmt.Errorf("%s %w; %s", quote(text), err, originWant)
	case o.Scheme == "ws" || o.Scheme == "wss":
		return none, fmt.Errorf("%s is an address of WebSockets; write that of the page, %s", quote(text), quote("http"+text[len("ws"):]))
	}
	o.Below = below
	return o, nil
}
