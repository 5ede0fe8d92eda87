package main

import (
	"os"

	"github.com/spf13/cobra"

	"wsproxy/routing"
)

// schemaCommand prints what editors complete and check a configuration with.
func schemaCommand() *cobra.Command {
	var included bool
	c := &cobra.Command{
		Use: "schema", Short: "Print a JSON Schema of the configuration, for editors", Args: cobra.NoArgs,
		Long: "schema prints a JSON Schema (draft 2020-12) of proxy.yaml. An editor with the YAML language server uses\n" +
			"it for a file whose first line is  # yaml-language-server: $schema=FILE-OR-URL",
		RunE: func(*cobra.Command, []string) error {
			text := routing.Schema()
			if included {
				text = routing.IncludedSchema()
			}
			_, err := os.Stdout.Write(text)
			return err
		},
	}
	c.Flags().BoolVar(&included, "included", false, "print that of files of routes, which include names")
	return c
}
