package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// compareOptions is what `wsbench compare` was asked for.
type compareOptions struct {
	quick   bool
	engines bool
	only    []string
	peers   []string
	wsproxy []string // PATH or NAME=PATH
	rounds  int
	links   int
	output  string
	command string // the command line, for the report
}

// reportFile is where a full run writes unless told otherwise.
const reportFile = "BENCHMARKS.md"

// compareCommand is `wsbench compare`.
func compareCommand() *cobra.Command {
	var opt compareOptions
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "measure wsproxy, nginx, HAProxy and Caddy beside each other",
		Long: `Starts a backend, wsproxy and its peers on loopback ports, and measures them in turn, A B C A B C, each on a freshly
started process: with WebSockets, and for a shorter time with plain HTTP. CPU for a unit of work and memory for a link are compared, not throughput, and what counts are the
ratios within one run. Every process it starts is ended, also after SIGINT.

nginx and HAProxy are Debian's packages (apt-get install nginx-light haproxy); Caddy takes part when it is on the
PATH. A peer that is missing or does not start is named and left out.

The table goes to the standard output, the report to ` + reportFile + ` (with --quick only if --output is given).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(cmd.Flags().Changed("output")); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			rep, err := runCompare(ctx, opt, os.Stderr)
			if err != nil {
				return err
			}
			rep.table(cmd.OutOrStdout())
			if opt.output != "" {
				if err := os.WriteFile(opt.output, []byte(rep.markdown()), 0o644); err != nil {
					return fmt.Errorf("write report: %w", err)
				}
			}
			if len(rep.troubles) > 0 {
				return fmt.Errorf("%d measures went wrong: see below the table", len(rep.troubles))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opt.quick, "quick", false, "fewer rounds, links and seconds: done within three minutes instead of twenty-five")
	f.StringSliceVar(&opt.only, "only", nil, "workloads to run: "+strings.Join(compared, ", ")+" (default all)")
	f.StringSliceVar(&opt.peers, "peers", nil, "peers beside wsproxy: nginx, nginx-64k, haproxy, haproxy-splice, caddy, or none (default all that are installed)")
	f.IntVar(&opt.rounds, "rounds", 0, "rounds (default 5, quick 2); fewer are done if the time runs out")
	f.IntVar(&opt.links, "links", 0, "links of idle and sparse (default 8000 and 4000, quick 1000)")
	f.StringVar(&opt.output, "output", "", "where the report goes (default "+reportFile+", with --quick nowhere)")
	f.StringArrayVar(&opt.wsproxy, "wsproxy", nil, "wsproxy's program as PATH or NAME=PATH, may be repeated (default: ./cmd/wsproxy is built)")
	f.BoolVar(&opt.engines, "engines", false, "measure wsproxy with engine: goroutines and with engine: epoll")
	return cmd
}

// check refuses what is not allowed and fills in what was left out.
func (o *compareOptions) check(outputGiven bool) error {
	for _, w := range o.only {
		if !slices.Contains(compared, w) {
			return usagef("workload %q: allowed are %s", w, strings.Join(compared, ", "))
		}
	}
	if _, err := selectPeers(o.peers); err != nil {
		return err
	}
	if o.rounds < 0 || o.rounds > 100 {
		return usagef("rounds %d: allowed is 1 to 100", o.rounds)
	}
	if o.links < 0 || o.links > 100_000 {
		return usagef("links %d: allowed is 1 to 100000", o.links)
	}
	names := map[string]bool{}
	for _, w := range o.wsproxy {
		name, path := splitBuild(w)
		if names[name] {
			return usagef("wsproxy %q: the name %s was given before; allowed is NAME=PATH with another name", w, name)
		}
		names[name] = true
		if st, err := os.Stat(path); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
			return usagef("wsproxy %q: no program there; allowed is PATH or NAME=PATH of a built wsproxy", w)
		}
	}
	if !outputGiven && !o.quick {
		o.output = reportFile
	}
	o.command = o.commandLine(outputGiven)
	return nil
}

// splitBuild reads NAME=PATH or PATH.
func splitBuild(s string) (name, path string) {
	if name, path, ok := strings.Cut(s, "="); ok {
		return name, path
	}
	return "wsproxy", s
}

// cells are the workloads asked for, each without and with TLS where it can be. A quick run has no time for https unless
// it is asked for.
func (o *compareOptions) cells() []cell {
	var cells []cell
	for _, w := range compared {
		if slices.Contains(o.only, w) || len(o.only) == 0 {
			if w != workResumed { // of TLS sessions
				cells = append(cells, cell{w, false})
			}
			if !isHTTP(w) || !o.quick || len(o.only) > 0 {
				cells = append(cells, cell{w, true})
			}
		}
	}
	return cells
}

// commandLine is how to repeat the run, without the paths of this machine.
func (o *compareOptions) commandLine(outputGiven bool) string {
	line := "go run ./cmd/wsbench compare"
	add := func(format string, args ...any) { line += " " + fmt.Sprintf(format, args...) }
	if o.quick {
		add("--quick")
	}
	if len(o.only) > 0 {
		add("--only %s", strings.Join(o.only, ","))
	}
	if len(o.peers) > 0 {
		add("--peers %s", strings.Join(o.peers, ","))
	}
	if o.rounds > 0 {
		add("--rounds %d", o.rounds)
	}
	if o.links > 0 {
		add("--links %d", o.links)
	}
	if o.engines {
		add("--engines")
	}
	for _, w := range o.wsproxy {
		name, _ := splitBuild(w)
		add("--wsproxy %s=PATH", name)
	}
	if outputGiven {
		add("--output FILE")
	}
	return line
}
