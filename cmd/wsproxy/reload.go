package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"wsproxy/internal/control"
)

func reloadCommand() *cobra.Command {
	var a asking
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the running proxy read its configuration again",
		Long: `reload has the wsproxy that runs with a configuration file read it again, and prints what has
changed. A file with a fault leaves the running configuration as it is; its faults are printed as
check prints them.

Exit status: 0 when the file is in use, 1 when it has faults, 2 when no wsproxy could be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reply, err := a.ask(cmd.Context(), os.Stderr, "reload")
			if err != nil {
				return err
			}
			return report(reply, os.Stdout, os.Stderr)
		},
	}
	a.flags(c)
	return c
}

// asking is how the commands that ask a running wsproxy find it.
type asking struct {
	file   string
	socket string // empty when file leads to it
}

func (a *asking) flags(c *cobra.Command) {
	c.Flags().StringVarP(&a.file, "config", "c", "proxy.yaml", "the `file` that the proxy to ask runs with")
	c.Flags().StringVar(&a.socket, "socket", "", "the `path` of the control socket, if the file does not lead to it")
}

// show asks, and has the data of a good answer printed.
func (a asking) show(ctx context.Context, command string, print func(data []byte) error) error {
	reply, err := a.ask(ctx, os.Stderr, command)
	if err != nil {
		return err
	}
	if err := report(reply, os.Stdout, os.Stderr); err != nil {
		return err
	}
	return print(reply.Data)
}

// ask waits for the answer; Ctrl-C ends that. When there is none it says why and the exit status is 2.
func (a asking) ask(ctx context.Context, stderr io.Writer, command string, args ...string) (control.Reply, error) {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	reply, err := a.call(ctx, control.Request{Command: command, Args: args})
	if err != nil {
		fmt.Fprintln(stderr, printable("wsproxy: "+err.Error()))
		return control.Reply{}, exitStatus(2)
	}
	return reply, nil
}

func (a asking) call(ctx context.Context, request control.Request) (control.Reply, error) {
	if a.socket != "" {
		reply, err := control.Call(ctx, a.socket, request)
		if errors.Is(err, control.ErrNobody) {
			return control.Reply{}, fmt.Errorf("no wsproxy runs: %w", err)
		}
		return reply, err
	}
	path, err := control.Find(ctx, a.file)
	if err != nil {
		return control.Reply{}, err
	}
	return control.Call(ctx, path, request)
}

// report prints an answer: what has been done, or each fault on a line and exit status 1.
func report(reply control.Reply, stdout, stderr io.Writer) error {
	for _, line := range reply.Text {
		fmt.Fprintln(stdout, printable(line))
	}
	for _, line := range reply.Faults {
		fmt.Fprintln(stderr, printable(line))
	}
	if !reply.OK {
		return exitStatus(1)
	}
	return nil
}

// commands are what a running wsproxy does when it is asked to. run hands their handlers to
// control.Listen at control.DefaultPath(file). Each may be called several times at once. An error's
// lines are the faults that the asking command prints, and nothing has been changed then. ctx is done
// when whoever asked has gone, or control.Server is being closed.
type commands struct {
	// reload reads the configuration again and says what has changed, a line each. An error of
	// routing.Load is returned as it is.
	reload func(ctx context.Context) (changed []string, err error)

	// drain and undrain take a backend as it stands in the configuration, and say what that means.
	drain, undrain func(ctx context.Context, backend string) (said []string, err error)

	// backends are those of all routes, in the order of the configuration.
	backends func() []backendState

	// status is what is counted.
	status func() status
}

// handlers are the commands as control.Listen takes them.
func (c commands) handlers() map[string]control.Handler {
	return map[string]control.Handler{
		"reload": takes("", func(ctx context.Context, _ string) control.Reply { return answer(c.reload(ctx)) }),
		"drain": takes("BACKEND", func(ctx context.Context, backend string) control.Reply {
			return answer(c.drain(ctx, backend))
		}),
		"undrain": takes("BACKEND", func(ctx context.Context, backend string) control.Reply {
			return answer(c.undrain(ctx, backend))
		}),
		"backends": takes("", func(context.Context, string) control.Reply { return backendsReply(c.backends()) }),
		"status":   takes("", func(context.Context, string) control.Reply { return statusReply(c.status()) }),
	}
}

// takes refuses requests with other arguments than the one of that name, or none where it is empty.
func takes(argument string, do func(ctx context.Context, arg string) control.Reply) control.Handler {
	return func(ctx context.Context, args []string) control.Reply {
		switch {
		case argument == "" && len(args) == 0:
			return do(ctx, "")
		case argument == "":
			return control.Refuse("the command takes no argument, and %d were given", len(args))
		case len(args) != 1:
			return control.Refuse("the command takes one argument, %s, and %d were given", argument, len(args))
		}
		return do(ctx, args[0])
	}
}

// answer is the Reply for what a command returned.
func answer(text []string, err error) control.Reply {
	if err != nil {
		return control.Reply{Faults: strings.Split(err.Error(), "\n")}
	}
	return control.Reply{OK: true, Text: text}
}
