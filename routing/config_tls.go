package routing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	tlsWant = "write certificates: [{cert: chain.pem, key: key.pem}], self_signed: [localhost] or " +
		"acme: {hosts: [chat.example.com], cache: acme}"
	redirectWant  = "write https, or https:8443 for a port that is not 443"
	directoryWant = "write an https:// URL, e.g. https://acme.example.com/directory"
	cacheWant     = "write the name of a folder for keys and certificates, e.g. /var/lib/wsproxy/acme"
)

// tls is the tls of a listener.
func (d *decoder) tls(v value, into *Listener) {
	into.TLS = new(TLS)
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; %s", standing(v.node), tlsWant)
		return
	}
	faults := len(d.faults)
	found := tlsKeys.mapping(d, v, "", into.TLS)
	var sources []string
	for _, source := range []string{"certificates", "self_signed", "acme"} {
		if _, ok := found[source]; ok {
			sources = append(sources, source)
		}
	}
	switch {
	case len(sources) > 1:
		d.faultUse(v, "has %s; leave all but one of them out", strings.Join(sources, " and "))
	case len(sources) == 0 && len(d.faults) == faults:
		d.faultUse(v, "has no certificate; %s", tlsWant)
	}
	d.checkTLS(v, found, into.TLS)
}

// checkTLS checks what one key says about another.
func (d *decoder) checkTLS(v value, found map[string]value, t *TLS) {
	auth := t.ClientAuth == "request" || t.ClientAuth == "require"
	ca, hasCA := found["client_ca"]
	if auth && !hasCA {
		d.faultUse(value{key: join(v.key, "client_ca"), line: v.line, column: v.column},
			"is missing; client_auth: %s needs the name of a PEM file of CA certificates", t.ClientAuth)
	}
	if _, said := found["client_auth"]; hasCA && !auth && (!said || t.ClientAuth == "off") {
		d.faultUse(ca, "is there, but client_auth is off; write client_auth: request or client_auth: require")
	}
	if keys, ok := found["ticket_keys"]; ok && t.NoTickets {
		d.faultUse(keys, "is there, but session_tickets is off; leave one of them out")
	}
}

// selfSigned is one name or address of a certificate to be made.
func (d *decoder) selfSigned(v value) (string, bool) {
	name := parsed(d, v, "write a host name or an IP address, e.g. localhost", func(text string) (string, error) {
		if text == "*" {
			return "", errors.New(`"*" is no name for a certificate; write host names, e.g. localhost, or "*.example.com"`)
		}
		return parseHost(text)
	})
	return name, name != ""
}

// curve is one of curves.
func (d *decoder) curve(v value) (tls.CurveID, bool) {
	var one tls.CurveID
	choice("", curves, func(id *tls.CurveID) *tls.CurveID { return id }).decode(d, v, &one)
	return one, one != 0
}

// alpn is a list of protocols, or off.
func (d *decoder) alpn(v value, into *TLS) {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "off" {
		into.AnyProtocol = true
		return
	}
	list("", "[http/1.1, http/1.0], or off", nil, func(t *TLS) *[]string { return &t.Protocols },
		func(d *decoder, v value) (string, bool) {
			name := parsed(d, v, "write the name of a protocol, e.g. http/1.1", parseProtocol)
			return name, name != ""
		}).decode(d, v, into)
}

// parseProtocol reads the name of a protocol for ALPN (RFC 7301 §3.1).
func parseProtocol(text string) (string, error) {
	switch {
	case text == "h2" || text == "h3" || text == "h2c":
		return "", fmt.Errorf("%s is not spoken; HTTP/1.1 is, as http/1.1 or any name that your clients know it by", quote(text))
	case text == "acme-tls/1":
		return "", fmt.Errorf("%s is offered by itself when there is acme; leave it out", quote(text))
	case len(text) > 255 || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return "", fmt.Errorf("%s is no name of a protocol; write e.g. http/1.1", quote(text))
	}
	return text, nil
}

// acme is the acme of a listener's tls.
func (d *decoder) acme(v value, into *TLS) {
	into.ACME = new(ACME)
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; a mapping is needed, e.g. {hosts: [chat.example.com], cache: acme}", standing(v.node))
		return
	}
	found := acmeKeys.mapping(d, v, "", into.ACME)
	d.need(v, found, "hosts", "write the names to have certificates for, e.g. [chat.example.com]")
	d.need(v, found, "cache", cacheWant)
}

// acmeHost is one name to have a certificate for.
func (d *decoder) acmeHost(v value) (string, bool) {
	name := parsed(d, v, "write a host name, e.g. chat.example.com", func(text string) (string, error) {
		name, err := parseHost(text)
		if err != nil {
			return "", err
		}
		_, notIP := netip.ParseAddr(name)
		switch {
		case name == "" || strings.HasPrefix(name, "*"):
			return "", fmt.Errorf("%s: no certificate can be obtained for a wildcard in this way; write each name", quote(text))
		case notIP == nil || !strings.Contains(name, "."):
			return "", fmt.Errorf("%s is not a name that a CA gives certificates for; write e.g. chat.example.com", quote(text))
		}
		return name, nil
	})
	return name, name != ""
}

func parseEmail(text string) (string, error) {
	if user, host, ok := strings.Cut(text, "@"); !ok || user == "" || host == "" || strings.ContainsAny(text, " \t\r\n,<>") {
		return "", fmt.Errorf("%s is not an address; write e.g. ops@example.com", quote(text))
	}
	return text, nil
}

func parseDirectory(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%s is not an https:// URL; %s", quote(text), directoryWant)
	}
	return text, nil
}

// parseRedirect reads https or https:port.
func parseRedirect(text string) (int, error) {
	rest, ok := strings.CutPrefix(text, "https")
	if ok && rest == "" {
		return 443, nil
	}
	if digits, found := strings.CutPrefix(rest, ":"); ok && found {
		if port, err := strconv.Atoi(digits); err == nil && port >= 1 && port <= 65535 && isDigits(digits) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("%s is unknown; %s", quote(text), redirectWant)
}
