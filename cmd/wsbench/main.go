// Command wsbench makes load on proxies for WebSockets and plain HTTP and measures what they spend on it: on one proxy
// (load), or on wsproxy and its peers beside each other (compare). backend is the server that stands behind them.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit status: 0 all well, 1 something went wrong, 2 wrong input.
func run(args []string) int {
	started := false
	root := &cobra.Command{
		Use:           "wsbench",
		Short:         "load for any proxy of WebSockets and HTTP, and wsproxy beside its peers",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			started = true
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (%s --help tells what is allowed)", err, cmd.CommandPath())
	})
	root.AddCommand(backendCommand(), loadCommand(), compareCommand())
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var usage usageError
	wrongInput := errors.As(err, &usage)
	if !wrongInput && !started { // cobra's own: an unknown command
		err, wrongInput = fmt.Errorf("%w; allowed are backend, load and compare, each with --help", err), true
	}
	fmt.Fprintf(os.Stderr, "wsbench: %v\n", err)
	if wrongInput {
		return 2
	}
	return 1
}
