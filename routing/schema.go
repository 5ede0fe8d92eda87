package routing

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
)

// Schema is a JSON Schema (draft 2020-12) for proxy.yaml, made from what Load decodes with, for editors
// that complete and check what is typed. It accepts whatever Load accepts. What it cannot know, such as
// whether files exist or a route is there twice, is for Load alone.
func Schema() []byte {
	root := topKeys.shape()
	root["title"] = "wsproxy's configuration"
	return document(root)
}

// IncludedSchema is one for the files that include names.
func IncludedSchema() []byte {
	routes := includedKeys.property(includedKeys[0], new(Config))
	mapping := shape{
		"type": "object", "additionalProperties": false, "required": []string{"routes"},
		"properties": shape{"routes": routes}, "patternProperties": shape{"^x-": shape{}},
	}
	return document(shape{"title": "routes that wsproxy's configuration includes", "anyOf": []shape{routes, mapping}})
}

func document(root shape) []byte {
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$defs"] = shape{"environment": shape{
		"type": "string", "pattern": `\$\{[A-Z_][A-Z0-9_]*(:-[^}]*)?\}`,
		"description": "A value with variables of the environment in it: ${NAME}, or ${NAME:-text} for a text without it.",
	}}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("a schema of plain maps: %v", err))
	}
	return append(text, '\n')
}

// shape is a JSON Schema, as it is printed.
type shape map[string]any

// shape is that of a mapping that stands where nothing else gives it defaults.
func (s schema[T]) shape() shape {
	var standard T
	fillStandard(&standard)
	return s.mappingShape(&standard)
}

// mappingShape is that of a mapping that is like standard by default. With all keys left out a mapping
// may be nothing at all.
func (s schema[T]) mappingShape(standard *T) shape {
	properties := shape{}
	for _, f := range s {
		properties[f.key] = s.property(f, standard)
	}
	m := shape{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	maps.Copy(m, mappingRules[reflect.TypeFor[T]().Name()])
	return m
}

// property is what may stand under one key, with its description and default.
func (s schema[T]) property(f field[T], standard *T) shape {
	about := descriptions[describedAs[T](f.key)]
	var p shape
	switch {
	case about.value != nil:
		p = maps.Clone(about.value)
	case f.shape != nil:
		p = maps.Clone(f.shape(standard))
	case f.below != nil:
		p = f.below.shape()
	default:
		p = shape{}
	}
	if about.item != nil {
		p["items"] = about.item
		if f.below != nil {
			p["items"] = oneOf(about.item, f.below.shape())
		}
	}
	p["description"] = about.text
	preset := about.preset
	if f.below == nil && f.settings != nil && preset == "" {
		preset = f.settings(standard, f.key)[0].Value
	}
	if n, err := strconv.Atoi(preset); err == nil {
		p["default"] = n
	} else if preset != "" {
		p["default"] = preset
	}
	return p
}

// describedAs is what a key is called among the descriptions: by the type that it fills, so that a
// mapping which may stand in two places is described once.
func describedAs[T any](key string) string { return reflect.TypeFor[T]().Name() + "." + key }

// oneOf accepts what any of the shapes does. A single value may also come from the environment.
func oneOf(shapes ...shape) shape {
	var all []shape
	single := false
	for _, s := range shapes {
		if any, ok := s["anyOf"].([]shape); ok && len(s) == 1 {
			all = append(all, any[:len(any)-1]...) // without the environment
			single = true
			continue
		}
		all = append(all, s)
		single = single || s["type"] != "object" && s["type"] != "array"
	}
	if single {
		all = append(all, shape{"$ref": "#/$defs/environment"})
	}
	return shape{"anyOf": all}
}

// wordShape is one of a few words. One that YAML takes for a number need not stand in quotes.
func wordShape(words []string) shape {
	var all []any
	for _, word := range words {
		all = append(all, word)
		switch _, err := strconv.ParseFloat(word, 64); {
		case err == nil:
			all = append(all, json.Number(word))
		case word == "true", word == "false":
			all = append(all, word == "true")
		}
	}
	return oneOf(shape{"enum": all})
}

// textShape is a text of which pattern, a regular expression, tells what it looks like.
func textShape(pattern string) shape {
	return oneOf(shape{"type": "string", "minLength": 1, "pattern": pattern})
}

var durationShape = textShape(`^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)

// numberShape is a number, in quotes or not, perhaps with a unit, or the word none unless that is empty.
func numberShape(least, most int64, unit, none string) shape {
	shapes := []shape{
		{"type": "integer", "minimum": least, "maximum": most},
		{"type": "string", "pattern": `^\+?[0-9]+` + unit + `$`},
	}
	if none != "" {
		shapes = append(shapes, shape{"enum": []string{none}})
	}
	return oneOf(shapes...)
}

// listShape is a list of mappings, or of what the descriptions say where item is nil.
func listShape(item keyed) shape {
	s := shape{"type": "array", "minItems": 1}
	if item != nil {
		s["items"] = item.shape()
	}
	return s
}
