// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
)

// Exit statuses.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitRemoval     = 3
	ExitCannotJudge = 4
	ExitAttention   = 5
)

// Process is what commands use of their process.
type Process struct {
	// Name is what the program was started as. Default: hnsguard.
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
	root := newRoot(p) //nolint:contextcheck // cobra passes it to the commands
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return statusOf(p.Err, cmd, err)
}

// displayName is what the program is called in its usage: as a plugin of kubectl it is a subcommand.
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
		Long: "hnsguard removes stale remote endpoints of the Windows Host Networking Service (HNS) whose addresses\n" +
			"belong to pods of the node, before kube-proxy deletes the wrong endpoint because of them.\n\n" + variablesHelp,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: displayName(p)},
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	judging := []*cobra.Command{newScan(p), newExplain(p), newDoctor(p), newBundle(p), newStatus(p)}
	for _, cmd := range judging {
		cmd.Long += "\n\n" + variablesHelp
	}
	root.AddCommand(judging...)
	root.AddCommand(newRun(p), newVersion(p))
	return root
}

// variablesHelp says how flags are set without a command line.
const variablesHelp = `Every flag can be set by an environment variable: --config by $HNSGUARD_CONFIG, and so on, but
--node-name by $NODE_NAME and --namespace by $POD_NAMESPACE.`

// noArgs refuses arguments. That of cobra calls them unknown commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%q: %s takes no arguments", args[0], cmd.CommandPath())}
}

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errFound, errUndecided and errAttention are how scan reports that endpoints would be removed, could not be judged, or
// that something else is not right. errFailed is how doctor reports that a check has failed, and status that a node has
// a problem. They are results and are not printed.
var (
	errFailed    = errors.New("a check has failed")
	errFound     = errors.New("endpoints would be removed")
	errUndecided = errors.New("endpoints could not be judged")
	errAttention = errors.New("something needs attention")
)

// undecidedError says why scan could not judge any endpoint.
type undecidedError struct{ error }

func (e undecidedError) Unwrap() error { return e.error }

// statusOf prints what is wrong and returns the exit status of a command.
func statusOf(w io.Writer, cmd *cobra.Command, err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errFailed):
		return ExitError
	case errors.Is(err, errFound):
		return ExitRemoval
	case errors.Is(err, errUndecided):
		return ExitCannotJudge
	case errors.Is(err, errAttention):
		return ExitAttention
	}
	for _, message := range messages(err) {
		lines := strings.FieldsFunc(message, func(r rune) bool { return r == '\n' })
		_, _ = fmt.Fprintf(w, "hnsguard: %s\n", strings.Join(lines, "\n  "))
	}
	var usage usageError
	var undecided undecidedError
	switch {
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		_, _ = fmt.Fprintf(w, "See '%s --help'.\n", cmd.CommandPath())
		return ExitUsage
	case errors.As(err, &undecided):
		return ExitCannotJudge
	default:
		return ExitError
	}
}

// messages returns the texts of all errors that were joined.
func messages(err error) []string {
	//nolint:errorlint // it walks through the tree itself
	switch e := err.(type) {
	case usageError:
		return messages(e.error)
	case undecidedError:
		return messages(e.error)
	case interface{ Unwrap() []error }:
		var all, texts []string
		for _, part := range e.Unwrap() {
			all = append(all, messages(part)...)
			texts = append(texts, part.Error())
		}
		if strings.Join(texts, "\n") == err.Error() { // otherwise it has a text of its own
			return all
		}
	}
	return []string{err.Error()}
}

// fromEnv sets the flags that are not given from environment variables. A flag has the variable that named gives it, or
// else HNSGUARD_ and its name. All values that do not fit are reported.
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
				errs = append(errs, usageError{fmt.Errorf("$%s: %w", name, err)})
			}
		}
	})
	return errors.Join(errs...)
}

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return "HNSGUARD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
