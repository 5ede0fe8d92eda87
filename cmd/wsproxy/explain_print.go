package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the explanation for people.
func (e *explanation) print(w io.Writer) {
	kind := "plain HTTP"
	if e.Kind == "websocket" {
		kind = "a WebSocket"
	}
	fmt.Fprintf(w, "%s %s  (%s)\n", e.Method, e.URL, kind)
	t := newTable(w)
	if len(e.Listeners) > 0 {
		t.section("listener")
		for _, l := range e.Listeners {
			t.line(l.Address, l.text())
		}
	}
	if e.Client != nil {
		t.section("client")
		trust := "no trusted proxy: its X-Forwarded-For and the like are dropped"
		if e.Client.Trusted {
			trust = "a trusted proxy: its X-Forwarded-For and the like are kept and added to"
		}
		t.line(e.Client.Connects, trust)
		if e.Client.Address != e.Client.Connects {
			t.line(e.Client.Address, "the client, by its word")
		}
	}
	if e.Route == nil {
		t.section("no route: the answer is 404")
		for _, n := range e.Near {
			t.line(n.Route, n.Why+"  ("+n.At+")")
		}
	} else {
		e.printRoute(t)
	}
	if len(e.Notes) > 0 {
		t.section("notes")
		for _, n := range e.Notes {
			t.line(n, "")
		}
	}
	t.flush()
}

func (e *explanation) printRoute(t *table) {
	t.section("route")
	t.line(e.Route.Name, e.Route.At)
	t.line("because", e.Why)
	t.line("serves", e.Route.Serves)
	if e.Refused != "" {
		t.line("refused", e.Refused)
	}
	t.section("backends")
	for i, b := range e.Route.Backends {
		words := "Host: " + e.Sent.Hosts[i]
		if more := b.text(); more != "" {
			words += "; " + more
		}
		t.line(b.URL, words)
	}
	t.section("sent to the backend")
	t.line(e.Method, e.Sent.Target)
	t.line("headers of its own", strings.Join(e.Sent.Always, ", "))
	t.headers(e.Sent.RequestHeaders)
	if len(e.Sent.ResponseHeaders) > 0 {
		t.section("changed in the answer")
		t.headers(e.Sent.ResponseHeaders)
	}
	t.section("limits and timeouts of the route")
	t.settings("", e.Route.Settings)
	t.section("limits and timeouts of all")
	t.settings("", e.Limits)
}

func (t *table) headers(changes []headerInfo) {
	for _, c := range changes {
		text := c.Name
		if c.What != "remove" {
			text += ": " + c.Value
		}
		t.line(c.What, text)
	}
}

// table is text in two columns below headings. Each section is aligned by itself.
type table struct {
	w    io.Writer
	tabs *tabwriter.Writer
}

func newTable(w io.Writer) *table {
	return &table{w: w, tabs: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
}

func (t *table) section(name string) {
	t.flush()
	fmt.Fprintf(t.w, "\n%s\n", name)
}

func (t *table) line(left, right string) {
	if right == "" {
		fmt.Fprintf(t.tabs, "  %s\n", left)
		return
	}
	fmt.Fprintf(t.tabs, "  %s\t%s\n", left, right)
}

func (t *table) settings(indent string, settings []settingInfo) {
	for _, s := range settings {
		value := s.Value
		if s.Default != "" {
			value += " (default " + s.Default + ")"
		}
		t.line(indent+s.Key, value)
	}
}

func (t *table) flush() { t.tabs.Flush() }

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
