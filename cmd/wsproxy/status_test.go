package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// What a proxy does shows in what it counts.
func TestStatusCounts(t *testing.T) {
	p := starting(t, routed("{path: /echo, backends: [builtin:echo]}"), "")
	conn := p.open("/echo")
	if _, answer, err := p.dial("/nowhere"); err == nil || answer.StatusCode != 404 {
		t.Fatalf("a path without a route: %v", err)
	}
	p.becomes(routed("{path: /echo, backends: [builtin:echo]}", "{path: /more, backends: [builtin:echo]}"))
	p.write("listeners: none")
	if _, err := p.reload(); err == nil {
		t.Fatal("a faulty file is reloaded")
	}
	s := p.proxy.status()
	if s.Links != 1 || s.LinksEver != 1 || s.LinksMost < 1 || s.Handshakes != 0 || s.Started.IsZero() {
		t.Errorf("links = %+v, want one open, of one since the start", s)
	}
	if s.Reloads.Done != 1 || s.Reloads.Failed != 1 || s.Reloads.Last.IsZero() || !strings.Contains(s.Reloads.LastErr, "routes: is missing") {
		t.Errorf("reloads = %+v, want one good one, and then one without routes", s.Reloads)
	}
	if len(s.Refused) != 1 || s.Refused["no_route"] != 1 {
		t.Errorf("refused = %v, want one without a route", s.Refused)
	}
	conn.Close()
}

func TestStatusIsPrinted(t *testing.T) {
	now := time.Now()
	data, err := json.Marshal(status{
		Started: now.Add(-90 * time.Minute), Links: 3, LinksEver: 5, LinksMost: 9000, Handshakes: 1, Waiting: 2, Resting: 6,
		Reloads: reloads{Done: 4, Failed: 1, Last: now.Add(-time.Minute), LastErr: "a.yaml:1:1: bad\x1b[2J"},
		Refused: map[string]int64{"no_route": 7, "host": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := printStatus(data, false, now, &text); err != nil {
		t.Fatal(err)
	}
	const want = `up for      1h30m
WebSockets  3 open of 9000, 5 since the start, 1 under way
idle HTTP   2, and 6 answers that pause
reloads     4, and 1 with faults, the last 1m0s ago: a.yaml:1:1: bad`
	if got := text.String(); !strings.HasPrefix(got, want) || strings.Contains(got, "\x1b") || !strings.Contains(got, "refused     1 host\nrefused     7 no route\n") {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	text.Reset()
	if err := printStatus(data, true, now, &text); err != nil || !json.Valid([]byte(text.String())) {
		t.Errorf("JSON: %v, %s", err, text.String())
	}
	if err := printStatus([]byte("x"), false, now, &text); err == nil {
		t.Error("nonsense is printed")
	}
}

func TestReloadsAreCounted(t *testing.T) {
	var c reloadCounts
	c.count(errors.New("bad"))
	c.count(nil)
	if got := c.get(); got.Done != 1 || got.Failed != 1 || got.LastErr != "" {
		t.Errorf("%+v, want one of each, and the last one good", got)
	}
}
