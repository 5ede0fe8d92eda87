package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	printedFaults = 50   // by Faults.Error
	keptFaults    = 1000 // by Load; a file with more is not read to its end for them
)

// Fault is one thing wrong in a file.
type Fault struct {
	// File is the path as given to Load, or that of an included file.
	File string

	// Line and Column are where it stands, from 1. Column alone is zero where only the line is known,
	// both are where the fault is the file's as a whole.
	Line, Column int

	// Key is the path to the value, like routes[1].backends[0], empty for the file as a whole.
	Key string

	// Problem says what stands there and what is allowed.
	Problem string
}

// String is the fault in one line.
func (f Fault) String() string {
	var s strings.Builder
	s.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&s, ":%d", f.Line)
	}
	if f.Column > 0 {
		fmt.Fprintf(&s, ":%d", f.Column)
	}
	s.WriteString(": ")
	if f.Key != "" {
		s.WriteString(f.Key + ": ")
	}
	s.WriteString(f.Problem)
	return s.String()
}

// Faults is everything wrong in a file, in the order of its lines: the error of Load.
type Faults []Fault

// Error is one line for each fault, the first fifty of them, and how many more there are.
func (f Faults) Error() string {
	lines := make([]string, 0, printedFaults+1)
	for _, fault := range f[:min(len(f), printedFaults)] {
		lines = append(lines, fault.String())
	}
	if more := len(f) - printedFaults; more > 0 {
		atLeast := ""
		if len(f) == keptFaults {
			atLeast = "at least "
		}
		lines = append(lines, fmt.Sprintf("and %s%d more", atLeast, more))
	}
	return strings.Join(lines, "\n")
}

// sort orders by file, in the order of files, then by place, and by key where an alias puts several at
// one place.
func (f Faults) sort(files []string) {
	order := make(map[string]int)
	for i, file := range files {
		order[file] = i
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// quote gives a text from the file as a fault may print it: in quotes, on one line, not too long,
// and without what might be a secret (a pasted key, a URL's password or query).
func quote(text string) string {
	if strings.Contains(text, "-----BEGIN") {
		return "PEM text"
	}
	scheme := ""
	if before, after, ok := strings.Cut(text, "://"); ok {
		scheme, text = before+"://", after
		if before, _, ok := strings.Cut(text, "?"); ok {
			text = before + "?…"
		}
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 && (scheme != "" || strings.Contains(text[:at], ":")) {
		text = "***" + text[at:]
	}
	return strconv.Quote(clip(scheme + text))
}

// clip cuts a text that is too long for a message.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
