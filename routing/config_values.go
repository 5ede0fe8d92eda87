package routing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	minDuration = time.Millisecond
	maxDuration = 24 * time.Hour
)

var (
	tlsVersions = []option[uint16]{{"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}
	logLevels   = []option[slog.Level]{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	}
	engines    = []option[string]{{"auto", "auto"}, {"epoll", "epoll"}, {"goroutines", "goroutines"}}
	logFormats = []option[string]{{"text", "text"}, {"json", "json"}}
	// What crypto/tls has by itself, in its order.
	curves = []option[tls.CurveID]{
		{"X25519MLKEM768", tls.X25519MLKEM768}, {"SecP256r1MLKEM768", tls.SecP256r1MLKEM768},
		{"SecP384r1MLKEM1024", tls.SecP384r1MLKEM1024}, {"X25519", tls.X25519},
		{"P-256", tls.CurveP256}, {"P-384", tls.CurveP384}, {"P-521", tls.CurveP521},
	}
	clientAuths = []option[string]{{"off", "off"}, {"request", "request"}, {"require", "require"}}
)

// option is one of the words a choice allows, and what it stands for.
type option[U any] struct {
	word  string
	value U
}

// choice is a field that is one of a few words.
func choice[T, U any](key string, options []option[U], at func(*T) *U) field[T] {
	var words []string
	for _, o := range options {
		words = append(words, o.word)
	}
	f := scalar(key, wordShape(words), at, func(u U) string {
		for _, o := range options {
			if any(o.value) == any(u) {
				return o.word
			}
		}
		return ""
	})
	return f.by(func(d *decoder, v value, into *T) {
		if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
			d.fault(v, "%s%s", standing(v.node), allowedWords("", "", words))
			return
		}
		word := v.node.Value
		if v.node.ShortTag() == "!!bool" {
			word = strings.ToLower(word) // YAML has True and TRUE as well
		}
		for _, o := range options {
			if o.word == word {
				*at(into) = o.value
				return
			}
		}
		d.fault(v, "%s is unknown%s", quote(v.node.Value), allowedWords(v.node.Value, "", words))
	})
}

// duration is a field that is a time.Duration of more than zero.
func duration[T any](key string, at func(*T) *time.Duration) field[T] {
	f := scalar(key, durationShape, at, func(t time.Duration) string { return durationText(t, 0, "") })
	return f.by(func(d *decoder, v value, into *T) { d.duration(v, "", at(into)) })
}

// durationOrOff is a duration, or the word off for a value that means never.
func durationOrOff[T any](key string, off time.Duration, at func(*T) *time.Duration) field[T] {
	f := scalar(key, oneOf(durationShape, wordShape([]string{"off"})), at,
		func(t time.Duration) string { return durationText(t, off, "off") })
	return f.by(func(d *decoder, v value, into *T) {
		if v.node.Kind == yaml.ScalarNode && v.node.Value == "off" {
			*at(into) = off
			return
		}
		d.duration(v, "off", at(into))
	})
}

// duration decodes a duration of more than zero. none, unless empty, is the word for none at all.
func (d *decoder) duration(v value, none string, into *time.Duration) {
	d.durationWithin(v, minDuration, maxDuration, none, into)
}

func (d *decoder) durationWithin(v value, least, most time.Duration, none string, into *time.Duration) {
	want := "write e.g. 5s, 500ms, 1m" + orWord(none)
	if v.node.Kind == yaml.ScalarNode && (v.node.ShortTag() == "!!int" || v.node.ShortTag() == "!!float") {
		d.fault(v, "%s has no unit; %s", clip(v.node.Value), want)
		return
	}
	text, ok := d.text(v, want)
	if !ok {
		return
	}
	t, err := time.ParseDuration(text)
	switch {
	case err != nil:
		d.fault(v, "%s is not a duration; %s", quote(text), want)
	case t < least:
		d.fault(v, "%s is too short; %s to %s are allowed%s", quote(text), durationText(least, 0, ""), durationText(most, 0, ""), orWord(none))
	case t > most:
		d.fault(v, "%s is too long; %s to %s are allowed%s", quote(text), durationText(least, 0, ""), durationText(most, 0, ""), orWord(none))
	default:
		*into = t
	}
}

// count is a field that is a number from 1 to most, or a word for zero. none, unless empty, is that word.
func count[T any](key string, most int, none string, at func(*T) *int) field[T] {
	return countOr(key, most, none, 0, at)
}

// countOr is count with a word for another number than zero.
func countOr[T any](key string, most int, none string, noneValue int, at func(*T) *int) field[T] {
	want := fmt.Sprintf("write a number from 1 to %d%s", most, orWord(none))
	f := scalar(key, numberShape(1, int64(most), "", none), at, func(n int) string {
		if n == noneValue {
			return none
		}
		return strconv.Itoa(n)
	})
	return f.by(func(d *decoder, v value, into *T) {
		if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
			d.fault(v, "%s; %s", standing(v.node), want)
			return
		}
		if none != "" && v.node.Value == none {
			*at(into) = noneValue
			return
		}
		n, err := strconv.Atoi(v.node.Value)
		if err != nil || n < 1 || n > most {
			d.fault(v, "%s; %s", quote(v.node.Value), want)
			return
		}
		*at(into) = n
	})
}

// sizeUnits are what a size may end in; the longer of two that end alike comes first.
var sizeUnits = []option[int64]{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"B", 1},
}

// size is a field that is a number of bytes from least to most. none, unless empty, is the word for
// zero, no limit.
func size[T any](key string, least, most int64, none string, at func(*T) *int64) field[T] {
	return sizeOr(key, least, most, none, 0, at)
}

// sizeOr is size with a word for another number than zero.
func sizeOr[T any](key string, least, most int64, none string, noneValue int64, at func(*T) *int64) field[T] {
	want := "write e.g. 16KiB, 1MiB or a number of bytes"
	if none != "" {
		want += ", or " + none
	}
	f := scalar(key, numberShape(least, most, "(KiB|MiB|GiB|KB|MB|GB|B)?", none), at, func(n int64) string {
		if n == noneValue {
			return none
		}
		return sizeText(n)
	})
	return f.by(func(d *decoder, v value, into *T) {
		if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
			d.fault(v, "%s; %s", standing(v.node), want)
			return
		}
		text := v.node.Value
		if none != "" && text == none {
			*at(into) = noneValue
			return
		}
		n, ok := parseSize(text)
		switch {
		case !ok:
			d.fault(v, "%s is not a size; %s", quote(text), want)
		case n < least || n > most:
			d.fault(v, "%s is out of range; %s to %s are allowed%s", quote(text), sizeText(least), sizeText(most), orWord(none))
		default:
			*at(into) = n
		}
	})
}

// parseSize reads digits and a unit, bytes if there is none. What is too large for an int64 comes
// out as the largest.
func parseSize(text string) (int64, bool) {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.word); ok {
			digits, unit = rest, u.value
			break
		}
	}
	if digits == "" || !isDigits(digits) {
		return 0, false
	}
	const largest = 1<<63 - 1
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > largest/unit {
		return largest, true
	}
	return n * unit, true
}

func sizeText(n int64) string {
	unit := sizeUnits[len(sizeUnits)-1]
	for _, u := range sizeUnits[:3] {
		if n%u.value == 0 {
			unit = u
		}
	}
	return strconv.FormatInt(n/unit.value, 10) + unit.word
}

func orWord(word string) string {
	if word == "" {
		return ""
	}
	return ", or " + word
}

// text gives a value that is a text, else notes a fault with what is wanted.
func (d *decoder) text(v value, want string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!str" {
		d.fault(v, "%s; %s", standing(v.node), want)
		return "", false
	}
	return unescaped(v.node.Value), true
}

// parsed gives what parse makes of a text, else notes a fault and gives the zero value.
func parsed[T any](d *decoder, v value, want string, parse func(string) (T, error)) T {
	var none T
	text, ok := d.text(v, want)
	if !ok {
		return none
	}
	if text == "" {
		d.fault(v, "an empty text stands here; %s", want)
		return none
	}
	t, err := parse(text)
	if err != nil {
		d.fault(v, "%v", err)
		return none
	}
	return t
}

// parseListenAddress checks the address of a listener and gives it in the form net.Listen takes.
func parseListenAddress(text string) (string, error) {
	const want = `write host:port, :port or [ip]:port, e.g. ":8080"`
	host, port, err := splitPort(text)
	if err != nil {
		return "", fmt.Errorf("%s %w; %s", quote(text), err, want)
	}
	if port == "" {
		return "", fmt.Errorf("%s has no port; %s", quote(text), want)
	}
	number, err := parsePort(port)
	if err != nil {
		return "", fmt.Errorf("%s %w; %s", quote(text), err, want)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" {
		if host, err = parseName(host); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

// parseHostHeader reads keep, backend or a literal host.
func parseHostHeader(text string) (HostHeader, error) {
	switch text {
	case "keep":
		return HostHeader{}, nil
	case "backend":
		return HostHeader{Backend: true}, nil
	}
	if word := closest(text, []string{"keep", "backend"}); word != "" && !strings.ContainsAny(text, ".:") {
		return HostHeader{}, fmt.Errorf("%s is unknown; did you mean %s? %s", quote(text), word, hostHeaderWant)
	}
	host, port, err := splitPort(text)
	if err == nil && host == "" {
		err = errors.New("has no host")
	}
	if err == nil && port != "" {
		_, err = parsePort(port)
	}
	if err != nil {
		return HostHeader{}, fmt.Errorf("%s %w; %s", quote(text), err, hostHeaderWant)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if _, err := parseName(host); err != nil {
			return HostHeader{}, fmt.Errorf("%w; %s", err, hostHeaderWant)
		}
	}
	return HostHeader{Literal: text}, nil
}
