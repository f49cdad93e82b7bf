// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"runtime"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
)

func TestFirewallFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"all at once": {
			[]string{"ensure", "--name", "all", "--port", "0", "--remote-address", "x"},
			[]string{`name "all"`, "port 0", `remote address "x"`},
		},
		"nobody may connect":   {[]string{"ensure"}, []string{"no remote address"}},
		"somebody else's rule": {[]string{"remove", "--name", "Kubelet"}, []string{`has to begin with "hnsguard"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			args := append([]string{"firewall"}, tc.args...)
			got := invoke(t, nil, args...)
			g.Expect(got.code).To(Equal(cli.ExitError))
			lenient := invoke(t, nil, append(args, "--best-effort")...)
			g.Expect(lenient.code).To(Equal(cli.ExitOK))
			for _, want := range tc.want {
				g.Expect(got.err).To(ContainSubstring(want))
				g.Expect(lenient.err).To(ContainSubstring(want), "it is told all the same")
			}
			g.Expect(got.out + lenient.out).To(BeEmpty())
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
