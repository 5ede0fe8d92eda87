package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// healthHeaders are the fields of a probe. Their values may be secrets, so that no fault shows them.
func (d *decoder) healthHeaders(v value) []HealthHeader {
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; %s", standing(v.node), healthHeaderWant)
		return nil
	}
	var headers []HealthHeader
	lines := make(map[string]int)
	for _, p := range d.pairs(v) {
		name := resolved(p.key).Value
		if err := checkFieldName(name); err != nil {
			d.faultAt(p.key, v.key, "%v", healthNameError(name, err))
			continue
		}
		lower := strings.ToLower(name)
		if line := lines[lower]; line > 0 {
			d.faultAt(p.key, p.value.key, "is there twice, whatever the case; the first is in line %d", line)
			continue
		}
		lines[lower] = p.key.Line
		node := p.value.node
		if node.Kind != yaml.ScalarNode || isNull(node) {
			d.fault(p.value, "%s; a text is needed", standing(node))
			continue
		}
		if node.ShortTag() != "!!str" {
			d.fault(p.value, "a number or the like stands here; write it in quotes")
			continue
		}
		if err := checkHealthValue(node.Value); err != nil {
			d.fault(p.value, "%v", err)
			continue
		}
		if strings.Contains(strings.ReplaceAll(node.Value, "$${", ""), "${") {
			d.fault(p.value, "a variable stands in it; a probe is nobody's request, there is nothing to put in")
			continue
		}
		headers = append(headers, HealthHeader{name, unescaped(node.Value)})
	}
	return headers
}

// healthNameError is checkFieldName's, but for names that have a key of their own here.
func healthNameError(name string, err error) error {
	switch strings.ToLower(name) {
	case "host":
		return fmt.Errorf("%s is not written here; use the key host", quote(name))
	case "sec-websocket-protocol":
		return fmt.Errorf("%s is not written here; use the key subprotocol", quote(name))
	}
	return err
}

func checkHealthValue(text string) error {
	for i := range len(text) {
		if text[i] < ' ' && text[i] != '\t' || text[i] == 0x7f {
			return errors.New("a control character stands in it; a header is one line")
		}
	}
	return nil
}

// healthStatus is a status, a range, or a list of them.
func (d *decoder) healthStatus(v value) []StatusRange {
	items := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		if len(v.node.Content) == 0 {
			d.fault(v, "an empty list stands here; %s", healthStatusWant)
		}
		items = nil
		for i, node := range v.node.Content {
			if !d.spend() {
				return nil
			}
			items = append(items, used(node, fmt.Sprintf("%s[%d]", v.key, i)))
		}
	}
	var ranges []StatusRange
	for _, item := range items {
		if item.node.Kind != yaml.ScalarNode || isNull(item.node) {
			d.fault(item, "%s; %s", standing(item.node), healthStatusWant)
			continue
		}
		if r, err := parseStatusRange(item.node.Value); err != nil {
			d.fault(item, "%v", err)
		} else {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

func parseStatusRange(text string) (r StatusRange, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	isStatus := func(digits string) bool {
		return len(digits) == 3 && isDigits(digits) && "200" <= digits && digits <= "599"
	}
	switch {
	case !isStatus(first) || !isStatus(last):
		return r, fmt.Errorf("%s is no status; %s", quote(text), healthStatusWant)
	case first > last:
		return r, fmt.Errorf("%s ends before it begins; write %s-%s", quote(text), last, first)
	}
	r.First, _ = strconv.Atoi(first)
	r.Last, _ = strconv.Atoi(last)
	return r, nil
}

// parseHealthPath checks a request target in origin form (RFC 9112 §3.2.1).
func parseHealthPath(text string) (string, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return "", fmt.Errorf("%s does not begin with /; %s", quote(text), healthPathWant)
	case len(text) > maxPathLength:
		return "", fmt.Errorf("%s is too long; at most %d bytes", quote(text), maxPathLength)
	case strings.Contains(text, "#"):
		return "", fmt.Errorf("%s has a fragment, which is never sent; leave it out", quote(text))
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("%s has a byte that a request has only in its %%xx form; write it so", quote(text))
		}
	}
	return text, nil
}

func parseHealthHost(text string) (string, error) {
	if strings.Contains(text, "/") {
		return "", fmt.Errorf("%s is not a host alone; %s", quote(text), healthHostWant)
	}
	host, port, err := splitPort(text)
	if err == nil && host == "" {
		err = errors.New("has no host")
	}
	if err == nil && port != "" {
		_, err = parsePort(port)
	}
	if err != nil {
		return "", fmt.Errorf("%s %w; %s", quote(text), err, healthHostWant)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if _, err := parseName(host); err != nil {
			return "", fmt.Errorf("%w; %s", err, healthHostWant)
		}
	}
	return text, nil
}

// maxHealthBody bounds the text that is looked for.
const maxHealthBody = 1024

func parseHealthBody(text string) (string, error) {
	if len(text) > maxHealthBody {
		return "", fmt.Errorf("%s is too long; at most %d bytes are looked for", quote(text), maxHealthBody)
	}
	return text, nil
}

func parseSubprotocol(text string) (string, error) {
	for i := range len(text) {
		if !isTokenByte(text[i]) {
			return "", fmt.Errorf("%s is no subprotocol, which is one word of letters, digits and any of !#$%%&'*+-.^_`|~", quote(text))
		}
	}
	return text, nil
}
