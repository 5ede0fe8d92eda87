package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wsproxy/internal/control"
)

func statusCommand() *cobra.Command {
	var a asking
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the running proxy counts",
		Long: `status prints what the running proxy has and has counted since its start: WebSockets, idle connections,
answers that pause, reloads and what became of them, and the requests it has refused, by reason.

Exit status: 0, or 2 when no wsproxy could be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd.Context(), "status", func(data []byte) error { return printStatus(data, asJSON, time.Now(), os.Stdout) })
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: an object")
	return c
}

// status is what the command status shows. Its JSON is what scripts rely on.
type status struct {
	Started time.Time `json:"started"`

	// Links are open, LinksEver all since the start, LinksMost how many there may be; Handshakes are under
	// way.
	Links      int    `json:"links"`
	LinksEver  uint64 `json:"links_ever"`
	LinksMost  int64  `json:"links_most"`
	Handshakes int64  `json:"handshakes"`

	// Waiting are connections of plain HTTP between two requests.
	Waiting int `json:"waiting"`

	// Resting are answers that have been silent for a while and go on: event streams, for the most part.
	Resting int `json:"resting"`

	Reloads reloads `json:"reloads"`

	// Refused are requests by the reason for which they were refused, those that have any.
	Refused map[string]int64 `json:"refused"`
}

// reloads are what became of those since the start.
type reloads struct {
	Done    int       `json:"done"`
	Failed  int       `json:"failed"`
	Last    time.Time `json:"last,omitzero"`
	LastErr string    `json:"last_error,omitempty"` // empty if the last one was good
}

// reloadCounts counts them.
type reloadCounts struct {
	mu sync.Mutex
	reloads
}

func (c *reloadCounts) count(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Last, c.LastErr = time.Now(), ""
	if err == nil {
		c.Done++
		return
	}
	c.Failed++
	c.LastErr = oneLine(err)
}

func (c *reloadCounts) get() reloads {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloads
}

func (p *proxy) status() status {
	engine, limits := p.engine.Stats(), p.front.Limits()
	s := status{
		Started: p.started, Links: engine.Open, LinksEver: engine.Opened, LinksMost: limits.MostLinks,
		Handshakes: limits.Handshakes, Waiting: p.front.Waiting(), Resting: p.forward.Resting(), Reloads: p.reloads.get(), Refused: p.front.Refused(),
	}
	maps.DeleteFunc(s.Refused, func(_ string, n int64) bool { return n == 0 })
	return s
}

func statusReply(s status) control.Reply {
	data, err := json.Marshal(s)
	if err != nil {
		return control.Refuse("status: %v", err)
	}
	return control.Reply{OK: true, Data: data}
}

// printStatus prints what statusReply sent, for people or as JSON.
func printStatus(data []byte, asJSON bool, now time.Time, w io.Writer) error {
	var s status
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("answer to status: %v", err)
	}
	if asJSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, data, "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w, indented.String())
		return err
	}
	most := "any number"
	if s.LinksMost > 0 {
		most = fmt.Sprint(s.LinksMost)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "up for\t%s\n", cell(lasted(s.Started, now)))
	fmt.Fprintf(table, "WebSockets\t%d open of %s, %d since the start, %d under way\n", s.Links, most, s.LinksEver, s.Handshakes)
	fmt.Fprintf(table, "idle HTTP\t%d, and %d answers that pause\n", s.Waiting, s.Resting)
	last := ""
	if !s.Reloads.Last.IsZero() {
		last = ", the last " + lasted(s.Reloads.Last, now) + " ago"
	}
	if s.Reloads.LastErr != "" {
		last += ": " + cell(s.Reloads.LastErr)
	}
	fmt.Fprintf(table, "reloads\t%d, and %d with faults%s\n", s.Reloads.Done, s.Reloads.Failed, last)
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		fmt.Fprintf(table, "refused\t%d %s\n", s.Refused[reason], strings.ReplaceAll(printable(reason), "_", " "))
	}
	return table.Flush()
}
