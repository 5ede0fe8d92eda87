package routing

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds what a file may come to, each use of an alias counted: a few lines of aliases to
// lists of aliases could mean billions of values.
const maxValues = 500_000

// decoder turns nodes into a Config. It goes on after a fault.
type decoder struct {
	file     string   // the one being decoded
	dir      string   // where relative paths start
	of       string   // in an included file, what says of which file top-level keys are
	known    []string // every key there is, as paths
	faults   Faults
	warnings Faults
	values   int // looked at so far

	// The tls of backends that have one of their own, and not their route's.
	own map[*BackendTLS]bool

	// The proxy_protocol: on of listeners, for which there must be trusted_proxies.
	proxied []value

	environment
	includes []inclusion

	// What must be there once, by what identifies it.
	addresses, routes map[string]value
}

// value is something in the file: what stands there, where it is used, and its key.
type value struct {
	node *yaml.Node // never an alias
	key  string

	// line and column are where the file uses it: the alias, if it is one.
	line, column int

	// file is that of one that must be there once.
	file string
}

// schema is what a mapping may hold.
type schema[T any] []field[T]

// field is one key of a mapping.
type field[T any] struct {
	key    string
	below  keyed // the mapping inside, or that of an item, nil for none
	decode func(d *decoder, v value, into *T)

	// shape is what may stand here, given what the mapping is by default; nil where the descriptions say it.
	shape func(standard *T) shape

	// settings are what the field, under this key, holds; nil for one that has more to it than a value.
	settings func(of *T, key string) []Setting
}

// by has the field decoded by a method of the decoder's own, which goes on where the field's does not.
func (f field[T]) by(decode func(d *decoder, v value, into *T)) field[T] {
	f.decode = decode
	return f
}

// keyed is a schema of whatever it fills.
type keyed interface {
	keys(prefix string) []string
	shape() shape
}

// mapping decodes v into into, and gives the values it found, by key, mistyped keys by the one that
// was meant; these are not decoded. An empty value is an empty mapping: what is left of a section
// when all its keys are commented out.
func (s schema[T]) mapping(d *decoder, v value, want string, into *T) map[string]value {
	found := make(map[string]value)
	if !isNull(v.node) && v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; %s", standing(v.node), want)
		return found
	}
	for _, p := range d.pairs(v) {
		if len(d.faults) >= keptFaults {
			break
		}
		name := resolved(p.key).Value
		i := slices.IndexFunc(s, func(f field[T]) bool { return f.key == name })
		if i < 0 {
			if v.key == "" && strings.HasPrefix(name, "x-") {
				continue
			}
			meant := d.unknownKey(v.key, p.key, s.names())
			if _, ok := found[meant]; !ok && meant != "" {
				found[meant] = p.value // or it would be called missing
			}
			continue
		}
		found[name] = p.value
		s[i].decode(d, p.value, into)
	}
	return found
}

func (s schema[T]) names() []string {
	var names []string
	for _, f := range s {
		names = append(names, f.key)
	}
	return names
}

// keys are the paths of all keys, here and below: "routes", "routes[].host".
func (s schema[T]) keys(prefix string) []string {
	var keys []string
	for _, f := range s {
		keys = append(keys, prefix+f.key)
		if f.below != nil {
			keys = append(keys, f.below.keys(prefix+f.key+".")...)
		}
	}
	return keys
}

// section is a field that is a mapping.
func section[T, U any](key string, inner schema[U], at func(*T) *U) field[T] {
	return field[T]{
		key:   key,
		below: inner,
		decode: func(d *decoder, v value, into *T) {
			inner.mapping(d, v, "a mapping with "+strings.Join(inner.names(), ", ")+" is allowed", at(into))
		},
		shape:    func(standard *T) shape { return inner.mappingShape(at(standard)) },
		settings: func(of *T, key string) []Setting { return inner.settings(at(of), key+".") },
	}
}

// list is a field that is a list of one item or more. example is for messages. below, unless nil, is
// an item that is a mapping. item reports whether the item can be used.
func list[T, U any](key, example string, below keyed, at func(*T) *[]U,
	item func(d *decoder, v value) (U, bool)) field[T] {
	f := field[T]{key: key, shape: func(*T) shape { return listShape(below) }}
	if below != nil {
		f.below = items{below}
	}
	f.decode = func(d *decoder, v value, into *T) {
		if v.node.Kind != yaml.SequenceNode {
			d.fault(v, "%s; a list is needed, e.g. %s", standing(v.node), example)
			return
		}
		if len(v.node.Content) == 0 {
			d.fault(v, "an empty list stands here; at least one item is needed, e.g. %s", example)
		}
		for i, node := range v.node.Content {
			if !d.spend() {
				return
			}
			if u, ok := item(d, used(node, fmt.Sprintf("%s[%d]", v.key, i))); ok {
				*at(into) = append(*at(into), u)
			}
		}
	}
	return f
}

// items is a mapping as the item of a list.
type items struct{ keyed }

func (i items) keys(prefix string) []string {
	return i.keyed.keys(strings.TrimSuffix(prefix, ".") + "[].")
}

// spend counts one value more, and reports whether to go on: no longer after too many values, or when
// no more faults are kept.
func (d *decoder) spend() bool {
	if d.values == maxValues || len(d.faults) >= keptFaults {
		return false
	}
	d.values++
	if d.values == maxValues {
		d.note(Fault{File: d.file, Problem: fmt.Sprintf("has more than %d values, each use of an alias counted", maxValues)})
	}
	return d.values < maxValues
}

// unknownKey notes a fault, and gives the allowed key that was meant where one is close.
func (d *decoder) unknownKey(parent string, key *yaml.Node, allowed []string) (meant string) {
	name := resolved(key).Value
	meant = closest(name, allowed)
	hint := ""
	if meant == "" || distance(plain(name), plain(meant)) > 2 {
		var places []string
		for _, known := range d.known {
			if place, ok := strings.CutSuffix(known, "."+name); ok {
				places = append(places, "in "+place)
			} else if known == name {
				places = append(places, "at the top"+d.of)
			}
		}
		if len(places) > 0 {
			hint, meant = "; it belongs "+strings.Join(places, " or "), ""
		}
	}
	words := allowedWords(name, "", allowed)
	if hint != "" {
		words = "; allowed: " + strings.Join(allowed, ", ")
	}
	d.faultAt(key, join(parent, name), "unknown key%s%s", hint, words)
	return meant
}

// fault notes that something is wrong with v.
func (d *decoder) fault(v value, format string, args ...any) {
	d.faultAt(v.node, v.key, format, args...)
}

func (d *decoder) faultAt(node *yaml.Node, key, format string, args ...any) {
	if d.unclear[node] && len(d.faults) < keptFaults {
		d.following = append(d.following, len(d.faults))
	}
	d.note(Fault{File: d.file, Line: node.Line, Column: node.Column, Key: key, Problem: d.hide(node, fmt.Sprintf(format, args...))})
}

// faultUse is fault for what is wrong with v's being there, not with what it holds.
func (d *decoder) faultUse(v value, format string, args ...any) {
	d.note(Fault{File: d.file, Line: v.line, Column: v.column, Key: v.key, Problem: d.hide(v.node, fmt.Sprintf(format, args...))})
}

func (d *decoder) note(f Fault) {
	if len(d.faults) < keptFaults {
		d.faults = append(d.faults, f)
	}
}

// used is the value of a node as the file uses it.
func used(node *yaml.Node, key string) value {
	return value{node: resolved(node), key: key, line: node.Line, column: node.Column}
}

// resolved is the node that an alias stands for, or the node itself.
func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// join is the path of a key inside parent. A key that would look odd in a path is quoted.
func join(parent, key string) string {
	odd := key == "" || len(key) > 40 || strings.ContainsFunc(key, func(c rune) bool {
		return c != '<' && (c >= 0x80 || !isNameByte(byte(c)))
	})
	if odd {
		key = quote(key)
	}
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// standing says what stands at a node, in words for people who know YAML but not Go.
func standing(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping stands here"
	case yaml.SequenceNode:
		return "a list stands here"
	}
	switch node.ShortTag() {
	case "!!null":
		return "nothing stands here"
	case "!!str":
		return quote(node.Value) + " is a text"
	case "!!int", "!!float":
		return clip(node.Value) + " is a number"
	case "!!bool":
		return node.Value + " is a yes-or-no value"
	case "!!timestamp":
		return clip(node.Value) + " is a date"
	}
	return "a value with a tag of its own stands here"
}
