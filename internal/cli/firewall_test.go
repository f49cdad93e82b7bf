// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
)

// netsh is a firewall that knows rules by their names.
type netsh struct{ rules []string }

func (n *netsh) run(_ context.Context, args ...string) (string, int, error) {
	name := args[4]
	switch found := slices.Contains(n.rules, name); {
	case args[2] == "add":
		n.rules = append(n.rules, name)
	case !found:
		return "", 1, nil
	case args[2] == "delete":
		n.rules = slices.DeleteFunc(n.rules, func(rule string) bool { return rule == name })
	}
	return "", 0, nil
}

func invokeWith(t *testing.T, system *netsh, args ...string) invocation {
	t.Helper()
	var out, errs strings.Builder
	code := cli.Run(t.Context(), args, cli.Process{
		Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false }, Netsh: system.run,
	})
	return invocation{code, out.String(), errs.String()}
}

func TestTheRemovalThatIsPrintedRemovesTheRule(t *testing.T) {
	for _, flags := range [][]string{nil, {"--name", "hnsguard-other"}, {"--name=hnsguard with spaces"}} {
		g := NewWithT(t)
		system := &netsh{rules: []string{"name=hnsguard"}}
		got := invokeWith(t, system, slices.Concat([]string{"firewall", "ensure", "--remote-address", "10.0.0.0/8"}, flags)...)
		g.Expect(got.code).To(Equal(cli.ExitOK), got.err)
		g.Expect(system.rules).To(HaveLen(2))
		g.Expect(got.out).To(ContainSubstring("allows TCP port 10352 from 10.0.0.0/8."))

		_, command, _ := strings.Cut(strings.TrimSpace(got.out), "run: hnsguard ")
		command, quoted, _ := strings.Cut(strings.TrimSuffix(command, `"`), `"`)
		args := strings.Fields(command)
		if quoted != "" {
			args = append(args, quoted)
		}
		got = invokeWith(t, system, args...)
		g.Expect(got.code).To(Equal(cli.ExitOK), got.err)
		g.Expect(got.out).To(HaveSuffix("is removed.\n"))
		g.Expect(system.rules).To(Equal([]string{"name=hnsguard"}))
		g.Expect(invokeWith(t, system, args...).out).To(HaveSuffix("does not exist.\n"))
	}
}

func TestFirewallFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"all at once": {
			[]string{"ensure", "--name", "all", "--port", "0", "--remote-address", "x"},
			[]string{`rule name "all"`, "port 0", `remote address "x"`},
		},
		"no address":       {[]string{"ensure"}, []string{"no remote address"}},
		"a rule of others": {[]string{"remove", "--name", "Kubelet"}, []string{`rule name "Kubelet": must begin with "hnsguard"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			args := append([]string{"firewall"}, tc.args...)
			system := &netsh{rules: []string{"name=all", "name=Kubelet"}}
			got := invokeWith(t, system, args...)
			g.Expect(got.code).To(Equal(cli.ExitUsage))
			lenient := invokeWith(t, system, append(args, "--best-effort")...)
			g.Expect(lenient.code).To(Equal(cli.ExitOK))
			g.Expect(lenient.err).To(ContainSubstring("exiting with status 0 because of --best-effort"))
			for _, want := range tc.want {
				g.Expect(got.err).To(ContainSubstring("hnsguard: " + want))
				g.Expect(lenient.err).To(ContainSubstring("hnsguard: "+want), "it is reported all the same")
			}
			g.Expect(got.out + lenient.out).To(BeEmpty())
			g.Expect(system.rules).To(HaveLen(2))
		})
	}
}

func TestFirewallNeedsWindows(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this is Windows, and a test does not touch its firewall")
	}
	g := NewWithT(t)
	for _, args := range [][]string{{"ensure", "--remote-address", "any"}, {"remove"}} {
		got := invoke(t, nil, append([]string{"firewall"}, args...)...)
		g.Expect(got.code).To(Equal(cli.ExitError))
		g.Expect(got.err).To(ContainSubstring("this system has no Windows firewall"))
	}
}
