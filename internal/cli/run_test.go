// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"runtime/debug"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/cli"
)

func TestTheMemoryLimitLeavesRoom(t *testing.T) {
	before, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetMemoryLimit(before)
		debug.SetGCPercent(percent)
	})
	const container = 256 << 20
	for name, tc := range map[string]struct {
		container int64
		env       string
		want      int64
	}{
		"of a container":            {container, "", container / 10 * 9},
		"without one":               {0, "", before},
		"where GOMEMLIMIT says it":  {container, "GOMEMLIMIT", before},
		"where it is no such thing": {-1, "", before},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			cli.SaveMemory(tc.container, func(name string) (string, bool) { return "1GiB", name == tc.env })
			NewWithT(t).Expect(debug.SetMemoryLimit(-1)).To(Equal(tc.want))
		})
	}
}

func TestGarbageIsCollectedOften(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for env, want := range map[string]int{"": agent.GCPercent, "GOGC": 100} {
		debug.SetGCPercent(100)
		cli.SaveMemory(0, func(name string) (string, bool) { return "100", name == env })
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("with $%s: %d, want %d", env, got, want)
		}
	}
}

// As a plugin of kubectl the command has another name, and must show it.
func TestThePluginsNameIsTheSubcommand(t *testing.T) {
	for name, want := range map[string]string{
		"/usr/local/bin/hnsguard": "hnsguard scan", "/home/me/.krew/bin/kubectl-hnsguard": "kubectl hnsguard scan",
		`kubectl-hnsguard.exe`: "kubectl hnsguard scan",
	} {
		var out strings.Builder
		code := cli.Run(t.Context(), []string{"scan", "--help"}, cli.Process{
			Name: name, Out: &out, Err: &out, Env: func(string) (string, bool) { return "", false },
		})
		g := NewWithT(t)
		g.Expect(code).To(Equal(cli.ExitOK))
		g.Expect(out.String()).To(ContainSubstring("Usage:\n  " + want + " "))
	}
}
