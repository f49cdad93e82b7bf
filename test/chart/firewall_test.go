// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const netsh = `C:\Windows\System32\netsh.exe advfirewall firewall `

// Invariant 6: there is one rule with the name, and neither the init container nor the preStop hook can fail.
func TestTheFirewallRuleIsReplacedAndRemoved(t *testing.T) {
	g := NewWithT(t)
	pod := daemonSet(t, render(t, "--set", "firewall.enabled=true,firewall.ruleName=hnsguard-scrapes,metrics.port=9000,"+
		"firewall.remoteAddresses={10.0.0.0/8,fd00:1::/64,192.168.1.9}")).Spec.Template.Spec
	g.Expect(cmdRuns(t, pod.InitContainers[0].Command)).To(Equal([]string{
		netsh + "delete rule name=hnsguard-scrapes",
		netsh + "add rule name=hnsguard-scrapes dir=in action=allow enable=yes profile=any protocol=TCP localport=9000 " +
			"remoteip=10.0.0.0/8,fd00:1::/64,192.168.1.9",
		"exit /b 0",
	}))
	g.Expect(pod.InitContainers[0].Args).To(BeEmpty())
	g.Expect(cmdRuns(t, pod.Containers[0].Lifecycle.PreStop.Exec.Command)).To(Equal([]string{
		netsh + "delete rule name=hnsguard-scrapes", "exit /b 0",
	}))

	without := daemonSet(t, render(t)).Spec.Template.Spec
	g.Expect(without.InitContainers).To(BeEmpty())
	g.Expect(without.Containers[0].Lifecycle).To(BeNil())
}

// cmdRuns returns the commands that cmd.exe finds in its command line, which the container runtime builds from the
// words.
func cmdRuns(t *testing.T, words []string) []string {
	t.Helper()
	g := NewWithT(t)
	line := commandLine(words)
	rest, is := strings.CutPrefix(line, `C:\Windows\System32\cmd.exe /d /s /c "`)
	g.Expect(is).To(BeTrue(), line)
	text, is := strings.CutSuffix(rest, `"`)
	g.Expect(is).To(BeTrue(), line)
	g.Expect(text).NotTo(MatchRegexp(`["%^|<>()!]`), "cmd.exe takes these for its own")
	return strings.Split(text, " & ")
}

// commandLine joins words like the runtime. They have no quotes and no trailing backslash, which it would escape.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if strings.ContainsAny(word, " \t") {
			quoted[i] = `"` + word + `"`
		}
	}
	return strings.Join(quoted, " ")
}
