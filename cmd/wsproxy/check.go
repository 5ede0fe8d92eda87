package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// checkCommand reads a configuration as run does, and says what it comes to, or what becomes of one
// request. It opens no port and connects to nobody.
func checkCommand(file *string) *cobra.Command {
	var asJSON bool
	var q question
	c := &cobra.Command{
		Use: "check", Short: "Check a configuration and exit: 0 when it is good, 1 when not", Args: cobra.NoArgs,
		Long: "check reads a configuration as run does. When it is good, check explains it: listeners, routes in the order\n" +
			"in which they are tried, and what is not the default. With --explain it says instead what becomes of a\n" +
			"request: exit status 0 when it has a route, 1 when not, 2 when the question makes no sense. Nothing is sent.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("explain") {
				return explainRequest(*file, &q, asJSON, os.Stdout)
			}
			for _, flag := range []string{"method", "header", "from"} {
				if cmd.Flags().Changed(flag) {
					return fmt.Errorf("--%s belongs to --explain URL", flag)
				}
			}
			return check(*file, asJSON, os.Stdout)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&q.URL, "explain", "", "say which route, backends and limits a request to this `URL` meets")
	c.Flags().StringVar(&q.Method, "method", "GET", "the request's `method`")
	c.Flags().StringArrayVar(&q.Headers, "header", nil, "a `header` of the request, 'Name: value'; may be repeated")
	c.Flags().StringVar(&q.From, "from", "", "the `address` that the request comes from")
	return c
}

// check does what run does before it opens a port.
func check(file string, asJSON bool, w io.Writer) error {
	cfg, err := load(file, asJSON, w)
	if err != nil {
		return err
	}
	s := newSummary(cfg)
	if asJSON {
		return printJSON(w, s)
	}
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(w, "warning: %v\n", warning)
	}
	fmt.Fprintf(w, "%s is good: %s, %s\n", file, count(len(cfg.Listeners), "listener"), count(len(cfg.Routes), "route"))
	s.print(w)
	return nil
}

// explainRequest answers a question about one request.
func explainRequest(file string, q *question, asJSON bool, w io.Writer) error {
	if err := q.parse(); err != nil {
		fmt.Fprintf(os.Stderr, "wsproxy: %v\n", err)
		return exitStatus(2)
	}
	cfg, err := load(file, asJSON, w)
	if err != nil {
		return err
	}
	e, err := q.answer(cfg)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(w, e)
	} else {
		e.print(w)
	}
	if err == nil && e.Route == nil {
		return exitStatus(1)
	}
	return err
}

// load reads a configuration. Its faults are printed, as JSON where that is wanted.
func load(file string, asJSON bool, w io.Writer) (*routing.Config, error) {
	cfg, err := routing.Load(file)
	var faults routing.Faults
	if asJSON && errors.As(err, &faults) {
		if err := printJSON(w, map[string]any{"file": file, "faults": faultInfos(faults)}); err != nil {
			return nil, err
		}
		return nil, exitStatus(1)
	}
	if err != nil {
		return nil, explain(file, err)
	}
	return cfg, nil
}

// explain puts a configuration's faults on standard error as they are, a line each.
func explain(file string, err error) error {
	if _, missing := os.Stat(file); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("%s: no such file; name the configuration with -c FILE", file)
	}
	fmt.Fprintln(os.Stderr, err)
	return exitStatus(1)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// announce says on one screen what runs and how to try it.
func announce(w io.Writer, cfg *routing.Config, listeners []*tlsterm.Listener) {
	fmt.Fprintf(w, "%s\n\nlistening (%s)\n", versionLine(), cfg.File)
	try := ""
	for i, l := range cfg.Listeners {
		at := reachable(listeners[i].Addr())
		if l.HTTPSPort > 0 {
			fmt.Fprintf(w, "  http://%s/  (redirects to https)\n", at)
			continue
		}
		if l.TLS == nil {
			fmt.Fprintf(w, "  ws://%s/  http://%s/\n", at, at)
			if try == "" {
				try = fmt.Sprintf("%s connect ws://%s/", invocation(), at)
			}
			continue
		}
		note, flags := "", ""
		if len(l.TLS.SelfSigned) > 0 {
			note, flags = "  (self-signed certificate for "+strings.Join(l.TLS.SelfSigned, ", ")+")", " --insecure"
		}
		if l.TLS.ACME != nil {
			note = "  (ACME certificates for " + strings.Join(l.TLS.ACME.Hosts, ", ") + ")"
		}
		fmt.Fprintf(w, "  wss://%s/  https://%s/%s\n", at, at, note)
		try = fmt.Sprintf("%s connect wss://%s/%s", invocation(), at, flags)
	}
	fmt.Fprintf(w, "\nroutes\n")
	const most = 15 // one screen
	for i, r := range cfg.Routes {
		if i == most {
			fmt.Fprintf(w, "  and %d more\n", len(cfg.Routes)-most)
			break
		}
		urls := make([]string, len(r.Backends))
		for j, b := range r.Backends {
			urls[j] = b.URL
		}
		host := r.Host
		if host == "" {
			host = "*"
		}
		fmt.Fprintf(w, "  %s%s → %s\n", host, r.Path, strings.Join(urls, ", "))
	}
	if try == "" { // every listener redirects
		try = invocation() + " check"
	}
	fmt.Fprintf(w, "\ntry\n  %s\n\n", try)
}

// reachable is a listener's address as a client on this machine can write it.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
