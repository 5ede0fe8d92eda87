package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// check does what run does before it opens a port.
func check(file string, w io.Writer) error {
	cfg, err := routing.Load(file)
	if err != nil {
		return explain(file, err)
	}
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(w, "warning: %v\n", warning)
	}
	fmt.Fprintf(w, "%s is good: %s, %s\n", file, count(len(cfg.Listeners), "listener"), count(len(cfg.Routes), "route"))
	return nil
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
