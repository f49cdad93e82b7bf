// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
)

// completeValues lets a shell complete a flag with one of the values. A value can be followed by a tab and a
// description.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	complete(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeFiles lets a shell complete a flag with files that have one of the extensions; without any, with all files.
func completeFiles(cmd *cobra.Command, flag string, extensions ...string) {
	directive := cobra.ShellCompDirectiveFilterFileExt
	if len(extensions) == 0 {
		directive = cobra.ShellCompDirectiveDefault
	}
	complete(cmd, flag, cobra.FixedCompletions(extensions, directive))
}

// completeFolders lets a shell complete a flag with folders.
func completeFolders(cmd *cobra.Command, flag string) {
	complete(cmd, flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
}

// completeNothing keeps a shell from proposing files for flags that take anything else.
func completeNothing(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
}

func complete(cmd *cobra.Command, flag string, with cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(err) // the command does not have the flag
	}
}
