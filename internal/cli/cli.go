// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Exit statuses (invariant 3).
const (
	ExitOK      = 0
	ExitError   = 1
	ExitUsage   = 2
	ExitFinding = 3
)

// Process is what commands need from their process.
type Process struct {
	// Name is the name by which the program was started. Default: hnsguard.
	Name string
	// In is standard input. Only scan reads it, for a dump called "-".
	In       io.Reader
	Out, Err io.Writer
	// Env looks up an environment variable.
	Env func(name string) (string, bool)
	// HNS opens the Host Networking Service of this machine.
	// Default: [hcnclient.New].
	HNS func() (hns.Client, error)
}

// Run runs the command that the arguments name and returns its exit status.
func Run(ctx context.Context, args []string, p Process) int {
	if p.HNS == nil {
		p.HNS = hcnclient.New
	}
	p.Out, p.Err = terminal.NewWriter(p.Out, p.Env), terminal.NewWriter(p.Err, p.Env)
	if len(args) > 1 && args[0] == "help" { // cobra's own help command does not fail for an unknown command
		args = append(args[1:], "--help")
	}
	root := newRoot(p) //nolint:contextcheck // cobra passes it to the commands
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return statusOf(p.Err, cmd, err)
}

// displayName returns the program's name for its usage: as a plugin of kubectl it is a subcommand.
func displayName(p Process) string {
	if strings.HasPrefix(filepath.Base(p.Name), "kubectl-") {
		return "kubectl hnsguard"
	}
	return "hnsguard"
}

func newRoot(p Process) *cobra.Command {
	root := &cobra.Command{
		Use:   "hnsguard",
		Short: "Keep the network of Windows pods alive in clusters with Linux and Windows nodes",
		Long: "hnsguard removes stale remote endpoints of the Windows Host Networking Service\n" +
			"(HNS) whose addresses belong to pods on the node, before kube-proxy deletes the\n" +
			"wrong endpoint because of them.\n\n" + variablesHelp(),
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: displayName(p)},
		Version:       build{version.Get()}.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags(), p.Env)
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{suggest(cmd, err)} })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages",
		fmt.Sprintf(".FlagUsagesWrapped %d", terminal.Width(p.Out))))
	root.AddCommand(newRun(p), newScan(p), newExplain(p), newDoctor(p), newBundle(p), newStatus(p), newAgentStatus(p),
		newVersion(p))
	return root
}

// suggest adds similar flags to the error about an unknown flag. For commands, cobra does this itself.
func suggest(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	for _, name := range names.SuggestionsFor(unknown.GetSpecifiedName()) {
		err = fmt.Errorf("%w\nDid you mean --%s?", err, name)
	}
	return err
}

// variablesHelp lists the environment variables.
func variablesHelp() string {
	var names []string
	for _, flag := range slices.Sorted(maps.Keys(variables())) {
		names = append(names, fmt.Sprintf("  --%-22s  $%s", flag, variables()[flag]))
	}
	return "These flags have an environment variable, over which the flag wins:\n" + strings.Join(names, "\n")
}

// noArgs rejects arguments. cobra.NoArgs would call them unknown commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%q: %s takes no arguments", args[0], cmd.CommandPath())}
}

// usageError is the error of a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// result is an exit status whose reason has already been printed.
type result int

func (r result) Error() string { return fmt.Sprintf("exit status %d", int(r)) }

// findingIf returns the exit status for a problem, if there is one.
func findingIf(wrong bool) error {
	if wrong {
		return result(ExitFinding)
	}
	return nil
}

// usage marks an error as that of a wrong command line.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// statusOf prints the error and returns the exit status of a command. All lines of an error but the first are indented,
// so that a name with a newline does not look like another error.
func statusOf(w io.Writer, cmd *cobra.Command, err error) int {
	var printed result
	var wrong usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &printed):
		return int(printed)
	}
	if page := terminal.NewPage(w); terminal.Is(w) {
		page.Lines(page.Paint(terminal.Red, "hnsguard: "), err.Error())
		_ = page.Flush() // a failure cannot be reported anywhere else
	} else { // do not wrap lines, for grep
		lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' })
		_, _ = fmt.Fprintf(w, "hnsguard: %s\n", strings.Join(lines, "\n  "))
	}
	if errors.As(err, &wrong) || strings.HasPrefix(err.Error(), "unknown command") {
		_, _ = fmt.Fprintf(w, "See '%s --help'.\n", cmd.CommandPath())
		return ExitUsage
	}
	return ExitError
}
