// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/firewall"
)

// netsh is a firewall that treats its rules as netsh does.
type netsh struct {
	rules []string // the arguments that they were added with
	// broken is the error of every run; denied refuses every change.
	broken error
	denied bool
}

func (n *netsh) run(_ context.Context, args ...string) (string, int, error) {
	if n.broken != nil {
		return "", 0, n.broken
	}
	verb, name := args[2], args[4]
	matches := func(rule string) bool {
		return name == "name=all" || strings.HasPrefix(strings.ToLower(rule)+"|", strings.ToLower(name)+"|")
	}
	if (verb == "show" || verb == "delete") && !slices.ContainsFunc(n.rules, matches) {
		return "\r\nKeine Regeln stimmen mit den angegebenen Kriterien \xfcberein.\r\n\r\n", 1, nil
	}
	if verb != "show" && n.denied {
		return "\r\nDer angeforderte Vorgang erfordert erh\xf6hte Rechte.\r\n", 1, nil
	}
	switch verb {
	case "delete":
		n.rules = slices.DeleteFunc(n.rules, matches)
	case "add":
		n.rules = append(n.rules, strings.Join(args[4:], "|"))
	}
	return "OK.\r\n", 0, nil
}

var rule = firewall.Rule{Name: firewall.DefaultName, Port: 10352, Remotes: []string{"10.244.0.0/16", "fd00::7", "192.0.2.1/32"}}

const (
	added = "name=hnsguard-metrics|dir=in|action=allow|enable=yes|profile=any|protocol=TCP|localport=10352|" +
		"remoteip=10.244.0.0/16,fd00::7,192.0.2.1"
	others = "name=Kubelet|dir=in|action=allow"
)

// Invariants 1 and 2.
func TestThereIsOneRuleHoweverOftenItIsEnsured(t *testing.T) {
	g := NewWithT(t)
	system := &netsh{rules: []string{others}}
	f := firewall.New(system.run)
	for range 3 {
		g.Expect(f.Ensure(t.Context(), rule)).To(Succeed())
		g.Expect(system.rules).To(Equal([]string{others, added}))
	}
	changed := rule
	changed.Port, changed.Remotes = 443, []string{"LocalSubnet"}
	g.Expect(f.Ensure(t.Context(), changed)).To(Succeed())
	g.Expect(system.rules).To(Equal([]string{
		others, "name=hnsguard-metrics|dir=in|action=allow|enable=yes|profile=any|protocol=TCP|localport=443|remoteip=localsubnet",
	}))
	g.Expect(f.Remove(t.Context(), rule.Name)).To(BeTrue())
	g.Expect(system.rules).To(Equal([]string{others}))
	g.Expect(f.Remove(t.Context(), rule.Name)).To(BeFalse(), "it is gone")
}

func TestDuplicatesAreReplaced(t *testing.T) {
	g := NewWithT(t)
	system := &netsh{rules: []string{added, added, added}}
	g.Expect(firewall.New(system.run).Ensure(t.Context(), rule)).To(Succeed())
	g.Expect(system.rules).To(Equal([]string{added}))
}

// Invariants 1 and 3.
func TestAWrongRuleChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		rule firewall.Rule
		want []string
	}{
		"all faults": {
			firewall.Rule{Name: "Kubelet", Port: 70000, Remotes: []string{"10.0.0.1/8", "x", "any"}},
			[]string{
				`name "Kubelet": must begin with "hnsguard"`, "port 70000", `"10.0.0.1/8": has bits set`, `"x": must be`,
				`"any": cannot be combined`,
			},
		},
		"all existing rules": {firewall.Rule{Name: "all", Port: 1, Remotes: []string{"any"}}, []string{`name "all"`}},
		"no name":            {firewall.Rule{Port: 1, Remotes: []string{"any"}}, []string{`name ""`}},
		"a quote": {
			firewall.Rule{Name: `hnsguard" name="all`, Port: 1, Remotes: []string{"any"}}, []string{"letters and digits"},
		},
		"a name that only begins like it": {
			firewall.Rule{Name: "hnsguards of others", Port: 1, Remotes: []string{"any"}}, []string{"may continue with"},
		},
		"no addresses":       {firewall.Rule{Name: "hnsguard", Port: 1}, []string{"no remote address", "any for every address"}},
		"every address":      {firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"0.0.0.0/0"}}, []string{"use any to allow every address"}},
		"every IPv6 address": {firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"::/0"}}, []string{"use any to allow every address"}},
		"IPv4 as IPv6": {
			firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"::ffff:10.0.0.1"}}, []string{"use the IPv4 notation"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			system := &netsh{rules: []string{others, added}}
			err := firewall.New(system.run).Ensure(t.Context(), tc.rule)
			for _, want := range tc.want {
				g.Expect(err).To(MatchError(ContainSubstring(want)))
			}
			g.Expect(system.rules).To(Equal([]string{others, added}))
		})
	}
	g := NewWithT(t)
	system := &netsh{rules: []string{others, added}}
	_, err := firewall.New(system.run).Remove(t.Context(), "all")
	g.Expect(err).To(MatchError(ContainSubstring(`name "all"`)))
	g.Expect(system.rules).To(Equal([]string{others, added}))
}

func TestFailuresAreReported(t *testing.T) {
	g := NewWithT(t)
	denied := firewall.New((&netsh{rules: []string{added}, denied: true}).run)
	err := denied.Ensure(t.Context(), rule)
	g.Expect(err).To(MatchError(And(ContainSubstring(`ensuring firewall rule "hnsguard-metrics"`),
		ContainSubstring("erfordert erh?hte Rechte"), ContainSubstring("administrator"))))
	_, err = denied.Remove(t.Context(), rule.Name)
	g.Expect(err).To(MatchError(And(ContainSubstring("removing firewall rule"), ContainSubstring("exit status 1"))))

	missing := errors.New("no netsh")
	broken := firewall.New((&netsh{broken: missing}).run)
	g.Expect(broken.Ensure(t.Context(), rule)).To(MatchError(missing))
	_, err = broken.Remove(t.Context(), rule.Name)
	g.Expect(err).To(MatchError(missing))
}

// Invariant 4.
func TestTheDocumentedRemovalIsThatOfTheRule(t *testing.T) {
	g := NewWithT(t)
	var deletion string
	_, err := firewall.New(func(_ context.Context, args ...string) (string, int, error) {
		deletion = "netsh " + strings.Join(args, " ")
		return "", 0, nil
	}).Remove(t.Context(), firewall.DefaultName)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(firewall.DefaultName).NotTo(ContainSubstring(" "), "it would need quotes, which shells treat differently")

	values, err := os.ReadFile("../../charts/hnsguard/values.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(values)).To(ContainSubstring("  ruleName: "+firewall.DefaultName+"\n"), "the chart has the same default")
	for _, page := range []string{"docs/firewall.md", "charts/hnsguard/README.md"} {
		text, err := os.ReadFile("../../" + page)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(text)).To(ContainSubstring(deletion), page)
		// The name of netsh is the display name of PowerShell, whose Name of such a rule is a GUID.
		g.Expect(string(text)).To(ContainSubstring("Remove-NetFirewallRule -DisplayName "+firewall.DefaultName), page)
		g.Expect(string(text)).NotTo(ContainSubstring("Remove-NetFirewallRule -Name"), page)
	}
}
