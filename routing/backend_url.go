package routing

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// builtins are the backends inside wsproxy.
var builtins = []string{"echo"}

// ParseBackend reads a backend's URL: http://host:port, the same as ws://host:port; https://host:port,
// the same as wss://host:port; any of these with srv+ before it and without a port, for a name that has
// SRV records; or builtin:echo. The port may be left out for 80 and 443. An error says what stands there
// and what is allowed, and shows no password.
func ParseBackend(url string) (BackendConfig, error) {
	if name, ok := strings.CutPrefix(url, "builtin:"); ok {
		if slices.Contains(builtins, name) {
			return BackendConfig{URL: url, Builtin: name}, nil
		}
		return BackendConfig{}, fmt.Errorf("%s is no builtin%s", quote(url), allowedWords(name, "builtin:", builtins))
	}
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return BackendConfig{}, noScheme(url)
	}
	scheme = strings.ToLower(scheme)
	spoken, srv := strings.CutPrefix(scheme, "srv+")
	secure, port := false, "80"
	switch {
	case spoken == "http" || spoken == "ws":
	case spoken == "https" || spoken == "wss":
		secure, port = true, "443"
	case scheme == "unix":
		return BackendConfig{}, fmt.Errorf("%s: unix sockets are not supported; write http://host:port", quote(url))
	case strings.Contains(scheme, "srv"):
		return BackendConfig{}, fmt.Errorf("%s has an unknown scheme; write srv+http://name or srv+https://name", quote(url))
	default:
		return BackendConfig{}, fmt.Errorf("%s has an unknown scheme; write http://host:port, https://host:port or builtin:echo", quote(url))
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	switch {
	case strings.Contains(rest, "@"):
		return BackendConfig{}, fmt.Errorf("%s has a user name or password; a backend is sent the request's own credentials", quote(url))
	case tail != "" && tail != "/" && srv:
		return BackendConfig{}, fmt.Errorf("%s has more than a name; the request's own path and query are sent", quote(url))
	case tail != "" && tail != "/":
		return BackendConfig{}, fmt.Errorf("%s has more than host and port; the request's own path and query are sent", quote(url))
	}
	b := BackendConfig{URL: url, SRV: srv}
	var host string
	var err error
	if srv {
		b.Addr, err = parseService(authority)
		host = serviceHost(b.Addr)
	} else {
		b.Addr, err = parseBackendAddr(authority, port)
		host, _, _ = net.SplitHostPort(b.Addr)
	}
	switch {
	case err != nil && srv:
		return BackendConfig{}, fmt.Errorf("%s %w; write %s://name", quote(url), err, scheme)
	case err != nil:
		return BackendConfig{}, fmt.Errorf("%s %w; write %s://host:port", quote(url), err, scheme)
	case secure:
		b.TLS = &BackendTLS{ServerName: host}
	}
	return b, nil
}

// noScheme is the error for a backend without ://, with the right form when it can be told.
func noScheme(text string) error {
	if strings.HasPrefix(text, "unix:") || strings.HasPrefix(text, "/") {
		return fmt.Errorf("%s: unix sockets are not supported; write http://host:port", quote(text))
	}
	if strings.Contains(text, "@") {
		// Whatever stands before the @ may be a password.
		return fmt.Errorf("%s is not a backend; write http://host:port or builtin:echo",
			strconv.Quote(clip("***"+text[strings.LastIndexByte(text, '@'):])))
	}
	for _, known := range builtins {
		if strings.EqualFold(text, known) || strings.EqualFold(text, "builtin/"+known) {
			return fmt.Errorf("%s is not a backend; did you mean builtin:%s?", quote(text), known)
		}
	}
	if _, err := parseService(text); err == nil && strings.HasPrefix(text, "_") {
		return fmt.Errorf("%s has no scheme; write %s", quote(text), quote("srv+http://"+text))
	}
	if _, err := parseBackendAddr(text, "80"); err == nil {
		return fmt.Errorf("%s has no scheme; write %s", quote(text), quote("http://"+text))
	}
	return fmt.Errorf("%s is not a backend; write http://host:port or builtin:echo", quote(text))
}

// parseBackendAddr gives the host:port to dial; its errors go on from the text that is wrong.
func parseBackendAddr(authority, defaultPort string) (string, error) {
	host, port, err := splitPort(authority)
	if err != nil {
		return "", err
	}
	if port == "" {
		port = defaultPort
	}
	number, err := parsePort(port)
	if err != nil {
		return "", err
	}
	if number == 0 {
		return "", errors.New("has port 0; 1 to 65535 are allowed")
	}
	if host == "" {
		return "", errors.New("has no host")
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if host, err = parseName(host); err != nil {
			return "", fmt.Errorf("has a bad host: %w", err)
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

// parseService gives the name to ask for SRV records; its errors go on from the text that is wrong.
func parseService(authority string) (string, error) {
	host, port, err := splitPort(authority)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", errors.New("has an address, which has no SRV records; a name does")
	}
	switch {
	case host == "":
		return "", errors.New("has no name")
	case port != "":
		return "", errors.New("has a port; the SRV records have the ports")
	}
	if host, err = parseName(host); err != nil {
		return "", fmt.Errorf("has a bad name: %w", err)
	}
	return host, nil
}

// serviceHost is the name whose certificates a service's servers have: without the _service._protocol. of
// SRV records. Their targets would not do, for nobody but DNS says that they belong to it (RFC 6125 §6.2.1).
func serviceHost(name string) string {
	service, rest, _ := strings.Cut(name, ".")
	protocol, host, ok := strings.Cut(rest, ".")
	if ok && strings.HasPrefix(service, "_") && strings.HasPrefix(protocol, "_") {
		return host
	}
	return name
}

// parsePort reads 0 to 65535.
func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("has %s for a port; a number up to 65535 is allowed", quote(text))
	}
	return int(port), nil
}
