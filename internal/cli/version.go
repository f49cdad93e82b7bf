// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/version"
)

func newVersion(p Process) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := version.Get()
			if output == "" {
				_, err := fmt.Fprintf(p.Out, "hnsguard %s (commit %s, %s, %s/%s)\n",
					info.Version, info.Commit, info.GoVersion, info.OS, info.Arch)
				return err
			}
			return printAs(p, output, info)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "print as json or yaml")
	return cmd
}

// printAs prints a value as JSON or YAML.
func printAs(p Process, format string, value any) error {
	var data []byte
	var err error
	switch format {
	case "json":
		if data, err = json.MarshalIndent(value, "", "  "); err == nil {
			data = append(data, '\n')
		}
	case "yaml":
		data, err = yaml.Marshal(value)
	default:
		return usageError{fmt.Errorf("--output %q: want json or yaml", format)}
	}
	if err != nil {
		return fmt.Errorf("printing as %s: %w", format, err)
	}
	_, err = p.Out.Write(data)
	return err
}
