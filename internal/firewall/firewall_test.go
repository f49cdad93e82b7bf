// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/firewall"
)

// netsh is a firewall that does with its rules what netsh does.
type netsh struct {
	rules []string // the arguments that they were added with
	// broken is what it fails with, instead of running; denied makes it refuse to change anything.
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
	added = "name=hnsguard metrics|dir=in|action=allow|enable=yes|profile=any|protocol=TCP|localport=10352|" +
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
		others, "name=hnsguard metrics|dir=in|action=allow|enable=yes|profile=any|protocol=TCP|localport=443|remoteip=localsubnet",
	}))
	g.Expect(f.Remove(t.Context(), rule.Name)).To(BeTrue())
	g.Expect(system.rules).To(Equal([]string{others}))
	g.Expect(f.Remove(t.Context(), rule.Name)).To(BeFalse(), "there is none any more")
}

func TestDuplicatesOfEarlierTimesGo(t *testing.T) {
	g := NewWithT(t)
	system := &netsh{rules: []string{added, added, added}}
	g.Expect(firewall.New(system.run).Ensure(t.Context(), rule)).To(Succeed())
	g.Expect(system.rules).To(Equal([]string{added}))
}

// Invariants 1 and 3.
func TestWhatIsNoRuleChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		rule firewall.Rule
		want []string
	}{
		"all faults": {
			firewall.Rule{Name: "Kubelet", Port: 70000, Remotes: []string{"10.0.0.1/8", "x", "any"}},
			[]string{
				`name "Kubelet": has to begin with "hnsguard"`, "port 70000", `"10.0.0.1/8": has bits set`, `"x": must be`,
				`"any": stands alone`,
			},
		},
		"all rules there are": {firewall.Rule{Name: "all", Port: 1, Remotes: []string{"any"}}, []string{`name "all"`}},
		"no name":             {firewall.Rule{Port: 1, Remotes: []string{"any"}}, []string{`name ""`}},
		"a quote": {
			firewall.Rule{Name: `hnsguard" name="all`, Port: 1, Remotes: []string{"any"}}, []string{"letters and digits"},
		},
		"a name that only begins alike": {
			firewall.Rule{Name: "hnsguards of others", Port: 1, Remotes: []string{"any"}}, []string{"may go on with"},
		},
		"nobody":          {firewall.Rule{Name: "hnsguard", Port: 1}, []string{"no remote address", "any for everybody"}},
		"everybody":       {firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"0.0.0.0/0"}}, []string{"say any"}},
		"everybody in v6": {firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"::/0"}}, []string{"say any"}},
		"IPv4 as IPv6": {
			firewall.Rule{Name: "hnsguard", Port: 1, Remotes: []string{"::ffff:10.0.0.1"}}, []string{"write it as the IPv4"},
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

func TestFailuresAreTold(t *testing.T) {
	g := NewWithT(t)
	denied := firewall.New((&netsh{rules: []string{added}, denied: true}).run)
	err := denied.Ensure(t.Context(), rule)
	g.Expect(err).To(MatchError(And(ContainSubstring(`ensuring firewall rule "hnsguard metrics"`),
		ContainSubstring("erfordert erh?hte Rechte"), ContainSubstring("administrator"))))
	_, err = denied.Remove(t.Context(), rule.Name)
	g.Expect(err).To(MatchError(And(ContainSubstring("removing firewall rule"), ContainSubstring("exit status 1"))))

	missing := errors.New("no netsh")
	broken := firewall.New((&netsh{broken: missing}).run)
	g.Expect(broken.Ensure(t.Context(), rule)).To(MatchError(missing))
	_, err = broken.Remove(t.Context(), rule.Name)
	g.Expect(err).To(MatchError(missing))
}
