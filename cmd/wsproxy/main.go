// Command wsproxy is a reverse proxy that turns HTTP into long-lived WebSockets. See README.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	if err := command().Execute(); err != nil {
		var status exitStatus
		if errors.As(err, &status) {
			os.Exit(int(status))
		}
		fmt.Fprintf(os.Stderr, "wsproxy: %v\n", err)
		os.Exit(1)
	}
}

// exitStatus ends the process with a status when all there is to say has been said.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func command() *cobra.Command {
	var file string
	var watches bool
	root := &cobra.Command{
		Use:   "wsproxy",
		Short: "A reverse proxy that turns HTTP into long-lived WebSockets",
		Long: "wsproxy ends TLS, checks WebSocket handshakes and carries frames between clients and backends;\n" +
			"plain HTTP on the same port is proxied, too. Without a subcommand it runs.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return run(file, watches) },
	}
	run := &cobra.Command{
		Use: "run", Short: "Run the proxy (the default)", Args: cobra.NoArgs,
		RunE: root.RunE,
	}
	check := checkCommand(&file)
	version := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Println(versionLine())
			return err
		},
	}
	for _, c := range []*cobra.Command{root, run, check} {
		c.Flags().StringVarP(&file, "config", "c", "proxy.yaml", "the configuration's `file`")
	}
	for _, c := range []*cobra.Command{root, run} {
		c.Flags().BoolVar(&watches, "watch", false, "read the configuration again whenever it changes")
	}
	root.AddCommand(run, check, reloadCommand(), drainCommand(), undrainCommand(), backendsCommand(), statusCommand(), connectCommand(),
		schemaCommand(), version)
	return root
}

// versionLine is the program, its version and what it was built with.
func versionLine() string {
	version := "development"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	return fmt.Sprintf("wsproxy %s (%s %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// invocation is how a user calls this program again: by its name, or as go run built it.
func invocation() string {
	path, err := os.Executable()
	if err == nil && strings.Contains(filepath.ToSlash(path), "/go-build") {
		return "go run ./cmd/wsproxy"
	}
	return os.Args[0]
}
