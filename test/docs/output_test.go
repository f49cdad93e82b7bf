// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/fleet"
	pictures "github.com/hnsguard/hnsguard/test/page"
)

// Invariant 6: commands that read files of the repository print what the page shows.
func TestTheExampleWithoutAClusterIsWhatIsPrinted(t *testing.T) {
	g := NewWithT(t)
	text := readFile(t, "docs/troubleshooting.md")
	blocks := regexp.MustCompile("(?s)```console\n\\$ bin/hnsguard ((?:[^\n]*\\\\\n)*[^\n]*--cluster-dump internal/[^\n]*)\n(.*?)\n```").
		FindAllStringSubmatch(text, -1)
	g.Expect(blocks).To(HaveLen(1), "a scan")
	t.Chdir(root)
	for _, block := range blocks {
		args := strings.Fields(strings.ReplaceAll(block[1], "\\\n", " "))
		var out, errs strings.Builder
		cli.Run(t.Context(), args, cli.Process{
			Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
		})
		g.Expect(errs.String()).To(BeEmpty())
		g.Expect(strings.TrimSpace(out.String())).To(Equal(block[2]), "hnsguard "+args[0])
	}
}

// Invariant 6: the page shows the status of two nodes in the actual format.
func TestTheStatusIsPrintedSo(t *testing.T) {
	g := NewWithT(t)
	row, err := fleet.RowOf("win-1", []byte(`{
		"apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport", "node": "win-1", "state": "guarding", "agent": {},
		"time": "2026-03-01T03:00:02Z", "pass": {"ended": "2026-03-01T03:00:00Z"}, "counts": {"conflict": 3, "held": 4},
		"kubeProxy": {"version": "v1.37.2", "known": true,
			"faults": ["given-up-leak", "loses-load-balancers", "builds-on-leaked-locals"]}
	}`))
	g.Expect(err).NotTo(HaveOccurred())
	var out strings.Builder
	g.Expect(fleet.Report{Nodes: []fleet.Row{row, {Node: "win-2", Problem: "no agent runs on it"}}}.Print(&out)).To(Succeed())
	g.Expect(readFile(t, "docs/troubleshooting.md")).To(ContainSubstring("$ kubectl hnsguard status\n" + out.String() + "```"))
}

// Invariant 7.
func TestThePicturesOfTheNodePageAreCurrent(t *testing.T) {
	g := NewWithT(t)
	sum, err := pictures.Sum(root)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(readFile(t, "docs/images/"+pictures.SumFile)).To(Equal(sum),
		"the page or its story has changed: run make screenshots, and look at the pictures")
}
