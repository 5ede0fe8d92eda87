package main

import (
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// backendCommand is `wsbench backend`.
func backendCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "backend",
		Short: "run an echo server that costs little",
		Long: `Runs a WebSocket and HTTP server for a proxy to stand in front of: one epoll loop, no goroutine for a connection.

  /echo    sends every message back (and so does any path not named here)
  /sink    swallows every message
  /flood   sends 64 KiB messages as fast as they are taken

A Ping is answered with a Pong, a Close with the same Close. A plain GET is answered with 200, and where the path ends
in one of these, which load's workloads of the same name ask for:

  /get, /download  ?size=BYTES&tag=TAG                    a body of that size
  /events          ?size=BYTES&interval=DURATION&tag=TAG  server-sent events of that size, each with the time it was written
  /upload          ?tag=TAG, a POST                       how many bytes came, and how many of them were right

TAG is 32 hexadecimal digits, which the body follows from. The address stands on the first line of the output.
SIGINT and SIGTERM end it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			b, err := newBackend(address)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "listening on %s\n", b.addr())
			return b.serve(ctx)
		},
	}
	cmd.Flags().StringVar(&address, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	return cmd
}
