package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"wsproxy/internal/control"
)

func drainCommand() *cobra.Command {
	return backendCommand("drain", "Take a backend out of use: no new links, and the old ones end", `
drain gives a backend no new links and ends those that it has, slowly. The backend is named as it
stands in the configuration, or as the command backends prints it. undrain takes it into use again;
so does the next start of wsproxy.`)
}

func undrainCommand() *cobra.Command {
	return backendCommand("undrain", "Take a backend that was drained into use again", `
undrain takes a backend into use again that the command drain has taken out.`)
}

func backendCommand(name, short, long string) *cobra.Command {
	var a asking
	c := &cobra.Command{
		Use:   name + " BACKEND",
		Short: short,
		Long: strings.TrimSpace(long) + `

Exit status: 0 when that is done, 1 when it cannot be done, 2 when no wsproxy could be asked.`,
		Example: "  wsproxy " + name + " http://10.0.0.7:9000",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reply, err := a.ask(cmd.Context(), os.Stderr, name, args[0])
			if err != nil {
				return err
			}
			return report(reply, os.Stdout, os.Stderr)
		},
	}
	a.flags(c)
	return c
}

func backendsCommand() *cobra.Command {
	var a asking
	var asJSON bool
	c := &cobra.Command{
		Use:   "backends",
		Short: "Show the backends of the running proxy, and how they are",
		Long: `backends prints the backends of the running proxy, a line each: whether they take links, how many they
have, since when they have been as they are, and why.

Exit status: 0, or 2 when no wsproxy could be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd.Context(), "backends", func(data []byte) error { return printBackends(data, asJSON, time.Now(), os.Stdout) })
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list of objects")
	return c
}

// backendState is a backend as the command backends shows it. Its JSON is what scripts rely on.
type backendState struct {
	// Backend is its URL as it stands in the configuration, or the address that a name stands for.
	Backend string `json:"backend"`

	// Routes are those that use it, host and path.
	Routes []string `json:"routes"`

	// State is one word: up, down, draining or drained.
	State string `json:"state"`

	// Links are those that are open.
	Links int64 `json:"links"`

	// Since is when it came into this state, zero when that is not known.
	Since time.Time `json:"since,omitzero"`

	// Reason is why it is not up.
	Reason string `json:"reason,omitempty"`
}

func backendsReply(backends []backendState) control.Reply {
	if backends == nil {
		backends = []backendState{} // a list in JSON, too
	}
	data, err := json.Marshal(backends)
	if err != nil {
		return control.Refuse("backends: %v", err)
	}
	return control.Reply{OK: true, Data: data}
}

// printBackends prints what backendsReply sent, as a table or as JSON.
func printBackends(data []byte, asJSON bool, now time.Time, w io.Writer) error {
	var backends []backendState
	if err := json.Unmarshal(data, &backends); err != nil {
		return fmt.Errorf("answer to backends: %v", err)
	}
	if asJSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, data, "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w, indented.String())
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BACKEND\tSTATE\tLINKS\tFOR\tROUTES\tREASON")
	for _, b := range backends {
		fmt.Fprintln(table, strings.Join([]string{
			cell(b.Backend), cell(b.State), strconv.FormatInt(b.Links, 10), cell(lasted(b.Since, now)),
			cell(strings.Join(b.Routes, ", ")), cell(b.Reason),
		}, "\t"))
	}
	return table.Flush()
}

// cell is a text as it stands in a table.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return printable(strings.Join(strings.Fields(text), " "))
}

// lasted is the time since then, in the two largest units that say something.
func lasted(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := max(now.Sub(since), 0).Truncate(time.Second)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	}
	return d.String() // such as 5m3s
}
