package routing

import (
	"strings"
	"time"
)

// Setting is one key and what it says.
type Setting struct {
	// Key is the path below the thing it belongs to, like websocket.max_frame.
	Key string

	// Value is written as the file does, whether or not the file has it. It is empty where it is what
	// leaving the key out means and nothing else does.
	Value string

	// Default is the value of a file without the key.
	Default string
}

// Changed reports whether it is not the default.
func (s Setting) Changed() bool { return s.Value != s.Default }

// Settings are those of the configuration as a whole, timeouts and limits among them, that are one
// value each.
func (c *Config) Settings() []Setting { return settingsOf(topKeys, c) }

// Settings are those of the route that are one value each. Its place, backends, headers and what it
// does to a path are not among them.
func (r *RouteConfig) Settings() []Setting { return settingsOf(routeKeys, r) }

// Settings are those of the backend that are one value each. Its URL and TLS are not among them.
func (b *BackendConfig) Settings() []Setting {
	return settingsOf(backendKeys, &backendEntry{BackendConfig: *b})
}

func settingsOf[T any](s schema[T], of *T) []Setting {
	var standard T
	fillStandard(&standard)
	settings, defaults := s.settings(of, ""), s.settings(&standard, "")
	for i := range settings {
		settings[i].Default = defaults[i].Value
	}
	return settings
}

// settings are those of all fields, in the order of the schema, whatever of holds.
func (s schema[T]) settings(of *T, prefix string) []Setting {
	var settings []Setting
	for _, f := range s {
		if f.settings != nil {
			settings = append(settings, f.settings(of, prefix+f.key)...)
		}
	}
	return settings
}

// fillStandard fills in the defaults of whatever has any.
func fillStandard(of any) {
	switch of := of.(type) {
	case *Config:
		of.FillDefaults()
	case interface{ fillDefaults() }:
		of.fillDefaults()
	}
}

// scalar is a field of one value; how it is decoded is still to be said. text writes a value as the
// file does.
func scalar[T, U any](key string, form shape, at func(*T) *U, text func(U) string) field[T] {
	return field[T]{
		key:      key,
		shape:    func(*T) shape { return form },
		settings: func(of *T, key string) []Setting { return []Setting{{Key: key, Value: text(*at(of))}} },
	}
}

// durationText writes a duration as short as it can: 5m, 1h30m, 500ms. none is the word for off.
func durationText(t, off time.Duration, none string) string {
	if t == off {
		return none
	}
	text := t.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
