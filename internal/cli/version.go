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
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if output == "" {
				_, err := fmt.Fprintln(p.Out, versionLine())
				return err
			}
			return printAs(p, output, version.Get())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json or yaml; without it, one line of text")
	completeOutput(cmd)
	return cmd
}

func versionLine() string {
	info := version.Get()
	return fmt.Sprintf("hnsguard %s (commit %s, %s, %s/%s)", info.Version, info.Commit, info.GoVersion, info.OS, info.Arch)
}

// completeOutput completes --output with the formats of printAs.
func completeOutput(cmd *cobra.Command) { completeValues(cmd, "output", "json", "yaml") }

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
		return usageError{fmt.Errorf("--output %q: must be json or yaml", format)}
	}
	if err != nil {
		return fmt.Errorf("printing as %s: %w", format, err)
	}
	_, err = p.Out.Write(data)
	return err
}
