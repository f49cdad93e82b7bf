// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/version"
)

func newVersion(p Process) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := output.validate(); err != nil {
				return err
			}
			return output.show(p.Out, build{version.Get()})
		},
	}
	output.addTo(cmd)
	return cmd
}

// build is the version of this program.
type build struct{ version.Info }

// String returns the version on one line.
func (b build) String() string {
	return fmt.Sprintf("hnsguard %s (commit %s, %s, %s/%s)", b.Version, b.Commit, b.GoVersion, b.OS, b.Arch)
}

// Print writes the version as text.
func (b build) Print(w io.Writer) error {
	_, err := fmt.Fprintln(w, b)
	return err
}
