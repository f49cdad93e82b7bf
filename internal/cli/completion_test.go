// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hnsguard/hnsguard/internal/cli"
)

// completions returns what a shell is told to propose: the values, and the directive of cobra.
func completions(t *testing.T, args ...string) (values []string, directive string) {
	t.Helper()
	got := invoke(t, nil, append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	NewWithT(t).Expect(got.code).To(Equal(cli.ExitOK), got.err)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

// The numbers are those of cobra's directives.
const (
	anyFile     = ":0"
	noFile      = ":4"
	byExtension = ":8"
	folders     = ":16"
)

// Invariant 5.
func TestCompletion(t *testing.T) {
	for command, want := range map[string]struct {
		values    []string
		directive string
	}{
		"run --mode":             {[]string{"enforce", "observe"}, noFile},
		"run --log-level":        {[]string{"error", "info", "debug", "trace"}, noFile},
		"run --log-format":       {[]string{"json", "text"}, noFile},
		"run --config":           {[]string{"yaml", "yml", "json"}, byExtension},
		"run --kubeconfig":       {nil, anyFile},
		"run --metrics-cert-dir": {nil, folders},
		"run --node-name":        {nil, noFile},
		"scan --output":          {[]string{"json", "yaml"}, noFile},
		"scan --hns-dump":        {nil, anyFile},
		"version --output":       {[]string{"json", "yaml"}, noFile},
	} {
		t.Run(command, func(t *testing.T) {
			g := NewWithT(t)
			values, directive := completions(t, append(strings.Fields(command), "")...)
			g.Expect(values).To(ConsistOf(want.values))
			g.Expect(directive).To(Equal(want.directive))
		})
	}
}

// Invariant 5.
func TestFilesAreProposedOnlyWhereAFileIsWanted(t *testing.T) {
	g := NewWithT(t)
	wanted := []string{"kubeconfig", "config", "metrics-cert-dir", "hns-dump", "cluster-dump", "bundle", "file"}
	flags := 0
	for _, cmd := range cli.NewRoot(cli.Process{}).Commands() {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" || slices.Contains(wanted, f.Name) || cmd.Hidden {
				return
			}
			flags++
			_, directive := completions(t, cmd.Name(), "--"+f.Name, "")
			g.Expect(directive).To(Equal(noFile), "%s --%s", cmd.Name(), f.Name)
		})
	}
	g.Expect(flags).To(BeNumerically(">", 20))
}

func TestEveryShellIsOffered(t *testing.T) {
	g := NewWithT(t)
	g.Expect(invoke(t, nil, "--help").out).To(MatchRegexp(`(?m)^  completion +Generate the autocompletion script`))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		g.Expect(invoke(t, nil, "completion", shell).out).To(ContainSubstring("hnsguard"), shell)
	}
}
