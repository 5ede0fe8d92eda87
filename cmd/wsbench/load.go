package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// errFaults ends a run in which something went wrong that the table has already told.
var errFaults = errors.New("some messages or connections were wrong")

var errInterrupted = errors.New("interrupted")

// loadCommand is `wsbench load`.
func loadCommand() *cobra.Command {
	var (
		opt     Options
		sources string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "make load on a WebSocket or HTTP server or proxy",
		Long: `Opens links to a ws:// or wss:// URL behind which every message is echoed, and checks every echo byte for byte; or
sends plain requests to an http:// or https:// URL behind which wsbench backend stands, and checks every answer.

Workloads of WebSockets:
  idle       open links, exchange a few messages on each, then wait: memory for each link, CPU of doing nothing
  echo       small messages, the next when the last is answered, or at --rate
  sparse     many links, a message every --interval on each
  bulk       large messages both ways
  handshake  connect, 101, Close, again; --connections at a time; over wss each TLS handshake is a full one
  resumed    as handshake, over wss only, each but the first with the session ticket of an earlier one
  storm      all links drop at once and come back, --storms times
  drain      open links, wait for the proxy to be told to drain, record how each link ends

Workloads of HTTP, to URL/get and so on, on connections that stay:
  get        small answers, the next request when the last is answered, or at --rate
  download   large answers
  upload     large requests
  events     server-sent events on answers that do not end, one every --interval on each; latency counts from when the
             backend wrote an event, so it must run on the same machine

With --rate or --interval latency counts from the moment a message was due, not from when it could be sent.
The exit status is 1 if any connection failed, or any echo, answer or event was wrong, missing, came twice or too late.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%d arguments: allowed is one, the URL, like ws://127.0.0.1:8080/echo", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.URL = args[0]
			if sources != "" {
				var err error
				if opt.Sources, err = parseSources(sources); err != nil {
					return err
				}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			res, err := runLoad(ctx, opt, newProgress(os.Stderr))
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(res); err != nil {
					return fmt.Errorf("write result: %w", err)
				}
			} else {
				res.print(cmd.OutOrStdout())
			}
			if res.Interrupted {
				return errInterrupted
			}
			if res.faulty() {
				return errFaults
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.Workload, "workload", workEcho, "one of "+strings.Join(workloadNames, ", "))
	f.IntVar(&opt.Connections, "connections", 0, "links; with handshake and resumed how many at a time (default by workload: idle 8000, echo 200, sparse 4000, bulk 16, handshake and resumed 8, storm, drain and events 1000, get 64, download and upload 4)")
	f.IntVar(&opt.Size, "size", 0, "bytes of payload in each message, body or event (default 128; idle 4096, bulk 65536, download and upload 67108864)")
	f.Float64Var(&opt.Rate, "rate", 0, "messages, requests or events per second over all links together; 0 sends the next when the last is answered")
	f.DurationVar(&opt.Interval, "interval", 0, "time between two messages, requests or events of one link (default of sparse 2s, of events 1s)")
	f.IntVar(&opt.InFlight, "in-flight", 0, "unanswered messages allowed on a link (default 1; bulk 4)")
	f.IntVar(&opt.Messages, "messages", 0, "messages exchanged on each new link by idle, storm and drain (default 1; idle 2, over wss 5)")
	f.DurationVar(&opt.Duration, "duration", 0, "how long to measure (default 10s; idle 5s), or the bound of storm and drain (default 1m)")
	f.DurationVar(&opt.WarmUp, "warm-up", 0, "load before the measure begins, negative for none (default 1s; sparse 2s)")
	f.IntVar(&opt.WarmLinks, "warm-links", 0, "links that idle or events opens and keeps before it measures, negative for none (default of idle 200)")
	f.DurationVar(&opt.Ramp, "ramp", 0, "spread the opening of the links over this time; 0 is as fast as 128 at a time get through")
	f.DurationVar(&opt.Timeout, "timeout", 0, "bound for opening a link, for each echo and for closing; with HTTP for how long nothing moves (default 10s)")
	f.IntVar(&opt.Storms, "storms", 0, "how many times storm drops all links (default 3)")
	f.StringVar(&opt.Drop, "drop", "", "how storm drops links: rst or close (default rst)")
	f.BoolVar(&opt.Insecure, "insecure", false, "accept any certificate")
	f.StringVar(&sources, "source", "", "local addresses used in turn so that ports do not run out, like 127.0.0.2-127.0.0.9")
	f.IntVar(&opt.PID, "pid", 0, "the proxy's process: measure CPU and memory of it and all it started")
	f.BoolVar(&opt.Terminate, "sigterm", false, "drain: send SIGTERM to --pid once all links stand")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}
