package routing

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Values of the file may have variables of the environment in them: ${NAME}, and ${NAME:-text} for
// text where NAME is not set or empty. A NAME begins with an upper-case letter or _, so that
// ${client_ip} and its like are left to the Template of a header.
//
// They are replaced in the nodes, after YAML has been parsed and before anything is decoded: what a
// variable holds is a value or a part of one, whatever characters it has, and is not looked at for
// variables again. $${ stands for ${ itself. It stays as it is here, and ${ in what a variable holds
// becomes $${, because a Template has the same escape: each value is unescaped exactly once, that of
// a header by ParseTemplate, any other text by decoder.text.
const (
	maxExpanded      = 64 << 10      // what one value may come to
	maxExpandedTotal = 4 * 1_000_000 // what all of them may come to
)

// expansion is a value that had variables in it.
type expansion struct {
	names string // as faults show them: ${A}, ${B}
	value string
}

// environment is what a decoder knows of variables.
type environment struct {
	lookup   func(name string) (string, bool)
	expanded map[*yaml.Node]expansion
	held     map[string]string // what the variables used hold, by name
	size     int               // of all values expanded so far

	// unclear are values that cannot be expanded. What else is wrong with one follows from that: of the
	// decoder's faults, those are at the indexes in following.
	unclear   map[*yaml.Node]bool
	following []int
}

// expand replaces the variables in all values at a node and below. Keys are left alone, and so is
// what an alias stands for: its turn comes where its anchor is.
func (d *decoder) expand(node *yaml.Node, key string) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			d.expand(node.Content[i+1], join(key, node.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			d.expand(item, key+"["+strconv.Itoa(i)+"]")
		}
	case yaml.ScalarNode:
		if strings.Contains(node.Value, "${") {
			d.expandScalar(node, key)
		}
	}
}

func (d *decoder) expandScalar(node *yaml.Node, key string) {
	var out strings.Builder
	var names []string
	left := false // a fault has been noted
	held := false // out ends in what a variable holds
	text := node.Value
	defer func() {
		if left {
			d.markUnclear(node)
		}
	}()
	for rest := text; rest != ""; {
		i := strings.IndexByte(rest, '$')
		if i < 0 {
			i = len(rest)
		}
		if held && rest[0] == '{' && strings.HasSuffix(out.String(), "$") {
			out.WriteByte('$') // that $ and this { do not belong together
		}
		held = false
		out.WriteString(rest[:i])
		rest = rest[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			out.WriteString("$${")
			rest = rest[3:]
			continue
		case len(rest) < 3 || rest[1] != '{' || !isVariableStart(rest[2]):
			n := min(1, len(rest))
			out.WriteString(rest[:n])
			rest = rest[n:]
			continue
		}
		name, standby, hasStandby, n, problem := cutVariable(rest)
		if problem != "" {
			d.faultAt(node, key, "%s", problem)
			left = true
			return
		}
		rest = rest[n:]
		names = append(names, "${"+name+"}")
		value, set := d.environment.lookup(name)
		switch {
		case set && (value != "" || !hasStandby):
			if d.held == nil {
				d.held = make(map[string]string)
			}
			d.held[name] = value
		case hasStandby:
			value = standby
		default:
			hint := ""
			if lower := strings.ToLower(name); slices.Contains(variables, lower) {
				hint = ", or ${" + lower + "} for the variable of a header"
			}
			d.faultAt(node, key, "${%s} is not set; set it in the environment, or write ${%s:-text} for a text without it%s",
				clip(name), clip(name), hint)
			left = true
		}
		if !utf8.ValidString(value) {
			d.faultAt(node, key, "${%s} holds what is no UTF-8", clip(name))
			left = true
		}
		if d.environment.size += len(value); out.Len()+len(value) > maxExpanded || d.environment.size > maxExpandedTotal {
			d.faultAt(node, key, "with ${%s} this is too long; a value may come to %d KiB, all values with variables to %d MB",
				clip(name), maxExpanded>>10, maxExpandedTotal/1_000_000)
			left = true
			return
		}
		out.WriteString(strings.ReplaceAll(value, "${", "$${"))
		held = true
	}
	if left || len(names) == 0 {
		return
	}
	if node.Style == 0 && len(names) == 1 && strings.HasPrefix(text, "${") && strings.IndexByte(text, '}') == len(text)-1 {
		node.Tag = "" // YAML tells again what it is: a number, nothing
	}
	node.Value = out.String()
	if d.expanded == nil {
		d.expanded = make(map[*yaml.Node]expansion)
	}
	d.expanded[node] = expansion{names: clip(strings.Join(slices.Compact(names), ", ")), value: node.Value}
}

func (d *decoder) markUnclear(node *yaml.Node) {
	if d.unclear == nil {
		d.unclear = make(map[*yaml.Node]bool)
	}
	d.unclear[node] = true
}

// forgetFollowing takes the faults away that follow from others.
func (d *decoder) forgetFollowing() {
	for _, i := range slices.Backward(d.following) {
		d.faults = slices.Delete(d.faults, i, i+1)
	}
}

// cutVariable takes the variable apart that text begins with, n bytes of it. standby is what stands
// behind :-, if anything does. problem, unless empty, says what is wrong and shows nothing but a name:
// the text around may be a secret.
func cutVariable(text string) (name, standby string, hasStandby bool, n int, problem string) {
	const escape = "; a ${ that is meant as it stands is written $${"
	n = 2
	for n < len(text) && (isVariableStart(text[n]) || '0' <= text[n] && text[n] <= '9') {
		n++
	}
	name = text[2:n]
	switch {
	case strings.HasPrefix(text[n:], "}"):
		return name, "", false, n + 1, ""
	case !strings.HasPrefix(text[n:], ":-"):
		return "", "", false, 0, fmt.Sprintf("${%s has neither } nor :- behind the name, which is of upper-case letters, digits and _; "+
			"write ${NAME} or ${NAME:-text}%s", clip(name), escape)
	}
	standby, _, closed := strings.Cut(text[n+2:], "}")
	switch {
	case !closed:
		return "", "", false, 0, fmt.Sprintf("${%s:- is without its }%s", clip(name), escape)
	case strings.Contains(standby, "${"):
		return "", "", false, 0, fmt.Sprintf("${%s:- has another ${ in its text; write a text without", clip(name))
	}
	return name, standby, true, n + 2 + len(standby) + 1, ""
}

func isVariableStart(c byte) bool { return 'A' <= c && c <= 'Z' || c == '_' }

// unescaped gives a text as it is meant, once its variables are replaced.
func unescaped(text string) string { return strings.ReplaceAll(text, "$${", "${") }

// What a fault shows of a value stands in quotes, as quote leaves it, or is a word of its own, such as
// a number.
var (
	quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	bareWord   = regexp.MustCompile(`[^\s"(),;]+`)
)

// hide takes out of a problem what the variables hold, and puts their names there. node is where the
// problem is; when its value comes from a variable, the problem says so.
func (d *decoder) hide(node *yaml.Node, problem string) string {
	own, isOwn := d.expanded[node]
	if !isOwn && len(d.held) == 0 {
		return problem
	}
	hidden := false
	nameFor := func(text string, bare bool) (string, bool) {
		if isOwn && shows(text, own.value, 4, bare) {
			hidden = true
			return own.names, true
		}
		for _, name := range slices.Sorted(maps.Keys(d.held)) {
			if shows(text, d.held[name], 8, bare) {
				hidden = hidden || isOwn
				return "${" + clip(name) + "}", true
			}
		}
		return "", false
	}
	var out strings.Builder
	bare := func(text string) string {
		return bareWord.ReplaceAllStringFunc(text, func(word string) string {
			inner := strings.TrimRight(word, ":.…?")
			if name, ok := nameFor(inner, true); ok {
				return name + word[len(inner):]
			}
			return word
		})
	}
	last := 0
	for _, at := range quotedText.FindAllStringIndex(problem, -1) {
		out.WriteString(bare(problem[last:at[0]]))
		last = at[1]
		quoted := problem[at[0]:at[1]]
		text, err := strconv.Unquote(quoted)
		if err != nil {
			text = quoted
		}
		if name, ok := nameFor(strings.TrimSuffix(text, "…"), false); ok {
			quoted = strconv.Quote(name)
		}
		out.WriteString(quoted)
	}
	out.WriteString(bare(problem[last:]))
	if isOwn && !hidden {
		out.WriteString(" (from " + own.names + ")")
	}
	return out.String()
}

// shows reports whether a text in a message gives away a value: either is in the other, or they have
// as many bytes together as common says; case makes no difference. A bare word is taken for one of
// the message's own unless it has a digit or is the value.
func shows(text, value string, common int, bare bool) bool {
	text, value = strings.ToLower(text), strings.ToLower(value)
	switch {
	case text == "" || value == "":
		return false
	case text == value:
		return true
	case bare && (len(text) < 4 || !strings.ContainsAny(text, "0123456789")):
		return false
	case strings.Contains(text, value) && len(value) >= 4, strings.Contains(value, text) && (common <= 4 || len(text) >= common):
		return true
	}
	for i := 0; i+common <= len(text) && !bare; i++ {
		if strings.Contains(value, text[i:i+common]) {
			return true
		}
	}
	return false
}
