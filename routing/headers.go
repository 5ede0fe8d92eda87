package routing

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// HeaderRules change the header of a request on its way to a backend, or of an answer on its way to
// a client: first Remove, then Set, then Add, each in the order of the file.
type HeaderRules struct {
	// Remove are the names, in any case, of fields to leave out.
	Remove []string

	// Set replaces all fields of a name by one. No name is there twice, in any case, or in Remove.
	Set []HeaderRule

	// Add puts a field behind those that are there.
	Add []HeaderRule
}

// HeaderRule is one field to write.
type HeaderRule struct {
	// Name is a token, in the spelling of the file.
	Name string

	Value Template
}

// Empty reports whether there is nothing to change.
func (h HeaderRules) Empty() bool {
	return len(h.Remove) == 0 && len(h.Set) == 0 && len(h.Add) == 0
}

// check finds what Load lets nobody write.
func (h HeaderRules) check() error {
	set := make(map[string]bool)
	for _, r := range h.Set {
		if err := checkFieldName(r.Name); err != nil {
			return fmt.Errorf("set: %w", err)
		}
		if set[strings.ToLower(r.Name)] {
			return fmt.Errorf("set: %s is there twice", quote(r.Name))
		}
		set[strings.ToLower(r.Name)] = true
	}
	for _, r := range h.Add {
		if err := checkFieldName(r.Name); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
	for _, name := range h.Remove {
		if err := checkFieldName(name); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		if set[strings.ToLower(name)] {
			return fmt.Errorf("remove: %s is in set, too", quote(name))
		}
	}
	return nil
}

// checkFieldName refuses what is no name, and the names of what wsproxy has to say itself.
func checkFieldName(name string) error {
	if name == "" {
		return errors.New("an empty text stands here; write the name of a header, e.g. X-Real-IP")
	}
	for i := range len(name) {
		if !isTokenByte(name[i]) {
			return fmt.Errorf("%s is not the name of a header; letters, digits and any of !#$%%&'*+-.^_`|~ are allowed", quote(name))
		}
	}
	switch lower := strings.ToLower(name); lower {
	case "host":
		return fmt.Errorf("%s is not changed here; use host_header", quote(name))
	case "content-length", "transfer-encoding":
		return fmt.Errorf("%s says where a body ends; wsproxy sends it as it is", quote(name))
	case "expect":
		return fmt.Errorf("%s is answered by wsproxy itself and never passed on", quote(name))
	case "connection", "upgrade", "keep-alive", "proxy-connection", "te", "trailer", "proxy-authenticate", "proxy-authorization":
		return fmt.Errorf("%s belongs to one connection (RFC 9110 §7.6.1); wsproxy writes its own", quote(name))
	default:
		if strings.HasPrefix(lower, "sec-websocket-") {
			return fmt.Errorf("%s is part of the WebSocket handshake, which client and backend make between them", quote(name))
		}
	}
	return nil
}

// isTokenByte: RFC 9110 §5.6.2.
func isTokenByte(c byte) bool {
	return isNameByte(c) || c != 0 && strings.IndexByte("!#$%&'*+.^`|~", c) >= 0
}

const headersWant = `a mapping with set, add, remove is needed, e.g. set: {X-Real-IP: "${client_ip}"}`

var headerKeys = schema[HeaderRules]{
	{key: "set", decode: func(d *decoder, v value, into *HeaderRules) { into.Set = d.headerFields(v, true) }},
	{key: "add", decode: func(d *decoder, v value, into *HeaderRules) { into.Add = d.headerFields(v, false) }},
	list("remove", "[X-Powered-By]", nil, func(h *HeaderRules) *[]string { return &h.Remove },
		func(d *decoder, v value) (string, bool) {
			name := parsed(d, v, "write the name of a header, e.g. X-Powered-By", func(text string) (string, error) {
				return text, checkFieldName(text)
			})
			return name, name != ""
		}),
}

// headers is a field that is HeaderRules.
func headers(key string, at func(*RouteConfig) *HeaderRules) field[RouteConfig] {
	return field[RouteConfig]{
		key:    key,
		below:  headerKeys,
		decode: func(d *decoder, v value, into *RouteConfig) { d.headers(v, at(into)) },
	}
}

func (d *decoder) headers(v value, into *HeaderRules) {
	remove := headerKeys.mapping(d, v, headersWant, into)["remove"]
	if remove.node == nil || remove.node.Kind != yaml.SequenceNode {
		return
	}
	set := make(map[string]bool)
	for _, r := range into.Set {
		set[strings.ToLower(r.Name)] = true
	}
	for i, node := range remove.node.Content {
		if name := resolved(node).Value; set[strings.ToLower(name)] {
			d.faultUse(used(node, fmt.Sprintf("%s[%d]", remove.key, i)), "%s is in set, too; leave it out here, set replaces all there are", quote(name))
		}
	}
}

// headerFields is a mapping of names to values. once refuses a name that differs from another in its
// case only; the very same is refused in any mapping.
func (d *decoder) headerFields(v value, once bool) []HeaderRule {
	if !isNull(v.node) && v.node.Kind != yaml.MappingNode {
		d.fault(v, `%s; a mapping of names to values is needed, e.g. {X-Real-IP: "${client_ip}"}`, standing(v.node))
		return nil
	}
	var rules []HeaderRule
	lines := make(map[string]int)
	for _, p := range d.pairs(v) {
		name := resolved(p.key).Value
		if err := checkFieldName(name); err != nil {
			d.faultAt(p.key, v.key, "%v", err)
			continue
		}
		lower := strings.ToLower(name)
		if line := lines[lower]; once && line > 0 {
			d.faultAt(p.key, p.value.key, "is there twice, whatever the case; the first is in line %d", line)
			continue
		}
		lines[lower] = p.key.Line
		if t, ok := d.template(p.value); ok {
			rules = append(rules, HeaderRule{Name: name, Value: t})
		}
	}
	return rules
}

// template is the value of a header. It may be a secret, so that no fault shows it.
func (d *decoder) template(v value) (Template, bool) {
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) && v.node.ShortTag() != "!!str" {
		d.fault(v, "a number or the like stands here; write it in quotes")
		return Template{}, false
	}
	if _, ok := d.text(v, `a text is needed, e.g. "${client_ip}"`); !ok {
		return Template{}, false
	}
	t, err := ParseTemplate(v.node.Value) // which has its own say about $${
	if err != nil {
		d.fault(v, "%v", err)
	}
	_, t.hidden = d.expanded[v.node]
	return t, err == nil
}
