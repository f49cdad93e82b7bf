// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

// completeValues lets a shell complete a flag with one of the values. A value can be followed by a tab and a
// description. Flags without any completion get no files proposed: the root command says so.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// completeFiles lets a shell complete a flag with files that have one of the extensions; without any, with all files.
func completeFiles(cmd *cobra.Command, flag string, extensions ...string) {
	directive := cobra.ShellCompDirectiveFilterFileExt
	if len(extensions) == 0 {
		directive = cobra.ShellCompDirectiveDefault
	}
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(extensions, directive)))
}

// must ends the program if a command does not have a flag that its own code names.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
