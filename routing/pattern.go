package routing

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxHostLength = 253 // RFC 1035 §2.3.4, without the root's dot
	maxPathLength = 1024
)

// parseHost gives the normal form of a route's host: lower case, no trailing dot, empty for any, an
// IPv6 address in its shortest form (which is how clients write it) without brackets.
func parseHost(text string) (string, error) {
	if text == "" || text == "*" {
		return "", nil
	}
	address := text
	if strings.HasPrefix(text, "[") {
		address = strings.TrimSuffix(text[1:], "]")
	}
	if ip, err := netip.ParseAddr(address); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	if strings.Contains(text, "://") || strings.Contains(text, "/") {
		return "", fmt.Errorf("%s is not a host alone; the path has a key of its own, the scheme none", quote(text))
	}
	if name, port, ok := strings.Cut(text, ":"); ok && isDigits(port) {
		return "", fmt.Errorf("%s has a port; leave it out, a route serves every listener", quote(name+":"+port))
	}
	name, wildcard := strings.CutPrefix(text, "*.")
	if strings.Contains(name, "*") {
		return "", fmt.Errorf(`%s has a * where none may be; write a name, "*.example.com", or "*" for any`, quote(text))
	}
	if name == "" {
		return "", fmt.Errorf(`%s has no name after its *; write e.g. "*.example.com"`, quote(text))
	}
	name, err := parseName(name)
	if err != nil {
		return "", err
	}
	if wildcard {
		return "*." + name, nil
	}
	return name, nil
}

// parseName gives a host name in lower case, without trailing dot. The underscore is allowed:
// container networks use it.
func parseName(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if len(name) > maxHostLength {
		return "", fmt.Errorf("%s is too long for a host name; at most %d bytes", quote(text), maxHostLength)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "", fmt.Errorf("%s has an empty part between its dots", quote(text))
		case len(label) > 63:
			return "", fmt.Errorf("%s has a part that is too long; at most 63 bytes between dots", quote(text))
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 0x80:
				return "", fmt.Errorf("%s has letters outside ASCII; write it as punycode, xn--…", quote(text))
			case !isNameByte(c):
				return "", fmt.Errorf("%s is not a host name; letters, digits, - and _ between dots are allowed", quote(text))
			}
		}
	}
	return name, nil
}

// parsePath checks a route's path; it is its own normal form.
func parsePath(text string) (string, error) {
	base, isPrefix := strings.CutSuffix(text, "/*")
	switch {
	case !strings.HasPrefix(text, "/"):
		return "", fmt.Errorf(`%s does not begin with /; write a path like /chat, or a prefix like /ws/*`, quote(text))
	case len(text) > maxPathLength:
		return "", fmt.Errorf("%s is too long; at most %d bytes", quote(text), maxPathLength)
	case strings.Contains(base, "*"):
		return "", fmt.Errorf("%s has a * where none may be; it may only end a path, after a /, as in /ws/*", quote(text))
	case strings.ContainsAny(text, "?#"):
		return "", fmt.Errorf("%s has a query or fragment; a path is matched without", quote(text))
	case hasDotSegment([]byte(text)):
		return "", fmt.Errorf("%s has a . or .. segment; a request with one is never matched", quote(text))
	case isPrefix && strings.HasSuffix(base, "/"):
		return "", fmt.Errorf("%s has two slashes before its *; write one", quote(text))
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("%s has a byte that a request has only in its %%xx form; write it so", quote(text))
		}
	}
	return text, nil
}

// normalHost appends to buf, which must have room for maxHostLength bytes, the normal form of a Host
// header's value. What is no host in any form gives none, so that only routes for any host match.
func normalHost(buf, host []byte) []byte {
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 || end+1 < len(host) && (host[end+1] != ':' || !isDigits(host[end+2:])) {
			return nil
		}
		host = host[1:end]
		if bytes.IndexByte(host, ':') < 0 {
			return nil
		}
	} else {
		if colon := bytes.IndexByte(host, ':'); colon >= 0 {
			if !isDigits(host[colon+1:]) {
				return nil
			}
			host = host[:colon]
		}
		host = bytes.TrimSuffix(host, []byte("."))
	}
	if len(host) > maxHostLength {
		return nil
	}
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// hasDotSegment reports whether a server that resolves dot segments might find one in the path, in
// any of the spellings that servers are known to take for one. What is encoded twice is not looked at.
func hasDotSegment(path []byte) bool {
	const (
		outside = iota // in a segment with something else than dots
		start          // at the start of a segment
		dots           // in a segment of one dot or two so far
	)
	state, count := outside, 0
	for i := 0; i < len(path); {
		c, n := path[i], 1
		if c == '%' {
			c, n = decoded(path[i:])
		}
		i += n
		switch {
		case c == '/' || c == '\\':
			if state == dots {
				return true
			}
			state = start
		case c == ';':
			if state == dots {
				return true
			}
			state = outside
		case c == '.' && state == start:
			state, count = dots, 1
		case c == '.' && state == dots && count == 1:
			count = 2
		default:
			state = outside
		}
	}
	return state == dots
}

// decoded gives the byte that a text beginning with % stands for when it is one of those that
// hasDotSegment looks for, else the %, and how many bytes it takes up.
func decoded(text []byte) (c byte, n int) {
	if len(text) < 3 {
		return '%', 1
	}
	switch [2]byte{text[1], text[2] | 0x20} {
	case [2]byte{'2', 'e'}:
		return '.', 3
	case [2]byte{'2', 'f'}:
		return '/', 3
	case [2]byte{'3', 'b'}:
		return ';', 3
	case [2]byte{'5', 'c'}:
		return '\\', 3
	}
	return '%', 1
}

// splitPort takes host:port or [ip]:port apart. The port is empty where none is written.
func splitPort(text string) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, rest, ok = strings.Cut(rest, "]")
		ip, err := netip.ParseAddr(host)
		if !ok || err != nil || !ip.Is6() {
			return "", "", errors.New("has brackets around what is not an IPv6 address")
		}
		if rest == "" {
			return ip.String(), "", nil
		}
		if port, ok = strings.CutPrefix(rest, ":"); !ok || port == "" {
			return "", "", errors.New("has something else than :port after the brackets")
		}
		return ip.String(), port, nil
	}
	host, port, ok := strings.Cut(text, ":")
	switch {
	case strings.Contains(port, ":"):
		return "", "", errors.New("has more than one colon; an IPv6 address stands in brackets, as in [::1]:8080")
	case ok && port == "":
		return "", "", errors.New("has a colon but no port after it")
	}
	return host, port, nil
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func isDigits[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}
