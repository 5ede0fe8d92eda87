package routing

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// pair is a key and its value.
type pair struct {
	key   *yaml.Node // maybe an alias
	value value
}

// pairs are the keys and values of a mapping, merge keys (<<) resolved: its own first, then what is
// merged in and not there yet.
func (d *decoder) pairs(v value) []pair {
	m := merger{d: d, key: v.key, seen: make(map[string]bool)}
	m.add(v.node)
	return m.pairs
}

type merger struct {
	d     *decoder
	key   string
	pairs []pair
	seen  map[string]bool
	open  []*yaml.Node // the mappings being added, to notice one that merges itself
}

func (m *merger) add(node *yaml.Node) {
	if slices.Contains(m.open, node) {
		m.d.faultAt(node, m.key, "a mapping that merges itself stands here")
		return
	}
	m.open = append(m.open, node)
	defer func() { m.open = m.open[:len(m.open)-1] }()

	var merges []*yaml.Node
	lines := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, content := resolved(node.Content[i]), node.Content[i+1]
		if !m.d.spend() {
			return
		}
		if key.Kind != yaml.ScalarNode {
			m.d.faultAt(key, m.key, "%s for a key; a key is a text", standing(key))
			continue
		}
		if line := lines[key.Value]; line > 0 {
			m.d.faultAt(node.Content[i], join(m.key, key.Value), "is there twice; the first is in line %d", line)
			continue
		}
		lines[key.Value] = node.Content[i].Line
		switch {
		case key.ShortTag() == "!!merge":
			merges = append(merges, content)
		case !m.seen[key.Value]:
			m.seen[key.Value] = true
			m.pairs = append(m.pairs, pair{node.Content[i], used(content, join(m.key, key.Value))})
		}
	}
	for _, merge := range merges {
		m.merge(merge)
	}
}

func (m *merger) merge(node *yaml.Node) {
	target := resolved(node)
	sources := []*yaml.Node{target}
	if target.Kind == yaml.SequenceNode {
		sources = target.Content
	}
	for _, source := range sources {
		source = resolved(source)
		if !m.d.spend() {
			return
		}
		if source.Kind != yaml.MappingNode {
			m.d.faultAt(source, join(m.key, "<<"), "%s; a mapping is allowed, or a list of mappings", standing(source))
			continue
		}
		m.add(source)
	}
}
