// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitRemoval     = 3
	ExitCannotJudge = 4
)

// Process is what a command may use of the process that it runs in.
type Process struct {
	// In is standard input. Only scan reads it, for a dump called "-".
	In       io.Reader
	Out, Err io.Writer
	// Env looks up an environment variable.
	Env func(name string) (string, bool)
}

// Run runs the command that the arguments ask for and returns its exit status.
func Run(ctx context.Context, args []string, p Process) int {
	root := &cobra.Command{
		Use:   "hnsguard",
		Short: "Keeps the network of Windows pods alive in clusters that mix Linux and Windows nodes",
		Long: "hnsguard removes stale remote endpoints of the Windows Host Networking Service whose addresses belong to\n" +
			"pods of the node, before kube-proxy trips over them.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	//nolint:contextcheck // cobra hands it to each
	root.AddCommand(newRun(p), newScan(p), newFirewall(p), newDemo(p), newVersion(p))
	err := root.ExecuteContext(ctx)
	return status(p.Err, root, err)
}

// usageError is a command line that is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errFound and errUndecided are how scan says that endpoints would be removed, or could not be judged. They are answers
// and have no message.
var (
	errFound     = errors.New("endpoints would be removed")
	errUndecided = errors.New("endpoints could not be judged")
)

// undecidedError says why no endpoint could be judged.
type undecidedError struct{ error }

func (e undecidedError) Unwrap() error { return e.error }

func status(w io.Writer, root *cobra.Command, err error) int {
	var usage usageError
	var undecided undecidedError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errFound):
		return ExitRemoval
	case errors.Is(err, errUndecided):
		return ExitCannotJudge
	case errors.As(err, &undecided):
		_, _ = fmt.Fprintf(w, "hnsguard: %v\n", err)
		return ExitCannotJudge
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		_, _ = fmt.Fprintf(w, "hnsguard: %v\n\nRun '%s --help' for usage.\n", err, root.CommandPath())
		return ExitUsage
	default:
		_, _ = fmt.Fprintf(w, "hnsguard: %v\n", err)
		return ExitError
	}
}

// fromEnv lets environment variables stand in for flags that are not given: the ones that are named, and for every
// other flag HNSGUARD_ and its name. Every value that does not fit is reported.
func fromEnv(flags *pflag.FlagSet, env func(string) (string, bool), named map[string]string) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		name, ok := named[f.Name]
		if !ok {
			name = variable(f.Name)
		}
		if value, set := env(name); set && value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("$%s: %w", name, err))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// variable is the name of the environment variable that stands in for a flag.
func variable(flag string) string {
	return "HNSGUARD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
