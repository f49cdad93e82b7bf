// SPDX-License-Identifier: Apache-2.0

package results_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/test/system/results"
)

var update = flag.Bool("update", false, "write the pages")

const (
	kept   = "results.json"
	page   = "../../../docs/results/kube-proxy-matrix.md"
	readme = "../../../README.md"
)

func TestThePagesShowTheResults(t *testing.T) {
	g := NewWithT(t)
	all, err := results.Load(kept)
	g.Expect(err).NotTo(HaveOccurred())
	before, err := os.ReadFile(readme)
	g.Expect(err).NotTo(HaveOccurred())
	after, err := results.ReplaceHeadline(string(before), all)
	g.Expect(err).NotTo(HaveOccurred())
	for path, want := range map[string]string{page: results.Page(all), readme: after} {
		if *update {
			g.Expect(os.WriteFile(path, []byte(want), 0o644)).To(Succeed())
		}
		got, err := os.ReadFile(path)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(got)).To(Equal(want), "%s is out of date; run: make generate-results", path)
	}
}

// Invariant 1: everything on the page was measured, and every measurement is on the page.
func TestEveryResultIsOnThePage(t *testing.T) {
	g := NewWithT(t)
	all, err := results.Load(kept)
	g.Expect(err).NotTo(HaveOccurred())
	text := results.Page(all)
	for _, r := range all {
		g.Expect(r.HNS).To(BeEmpty(), "the page is about a simulated HNS")
		_, section, found := strings.Cut(text, "\n### "+r.Scenario+"\n")
		g.Expect(found).To(BeTrue(), "the page has no section %q", r.Scenario)
		section, _, _ = strings.Cut(section, "\n### ")
		g.Expect(section).To(And(ContainSubstring(r.Outcome), ContainSubstring(strings.TrimPrefix(r.Version, "v"))), "%+v", r)
	}
	g.Expect(results.Page(all[:1])).To(ContainSubstring("| [healthy churn](#healthy-churn) | – – |"))
}

func TestMerge(t *testing.T) {
	g := NewWithT(t)
	one := results.Result{
		Scenario: "stale record", Version: "v1.31.0", Guarded: true, Outcome: "survives", Good: true, Runs: 1,
		Measured: "2026-01-01", SyncPeriod: "5s", Build: "v1",
	}
	lost, other, plain := one, one, one
	lost.Outcome, lost.Good = "lost", false
	other.Version = "v1.9.0"
	plain.Guarded = false
	// Equal outcomes of a cell are counted together, and versions are sorted as versions.
	first := results.Merge(nil, []results.Result{one, plain, lost, one, other})
	twice := one
	twice.Runs = 2
	g.Expect(first).To(Equal([]results.Result{other, plain, lost, twice}))
	g.Expect(results.Page(first)).To(ContainSubstring("✗ lost (1 of 3 runs); ✓ survives (2 of 3 runs)"))
	// Invariants 2 and 3: a new measurement replaces its cell, with its date.
	later := one
	later.Measured, later.SyncPeriod, later.Build = "2026-02-02", "30s", "v2"
	second := results.Merge(first, []results.Result{later})
	g.Expect(second).To(Equal([]results.Result{other, plain, later}))
	g.Expect(results.Page(second)).To(And(
		ContainSubstring("Measured between 2026-01-01 and 2026-02-02 with hnsguard v1, v2."), ContainSubstring("every 30s or 5s")))
}

// Invariant 4.
func TestTheReadmeHasWhatEndsBadlyWithHnsguard(t *testing.T) {
	g := NewWithT(t)
	of := func(scenario string, guarded, good bool) results.Result {
		return results.Result{
			Scenario: scenario, Version: "v1.31.0", Guarded: guarded, Outcome: "done", Good: good, Runs: 1,
			Measured: "2026-01-01", SyncPeriod: "5s", Build: "v1",
		}
	}
	for _, c := range []struct {
		scenario      string
		without, with bool
		row           string
	}{
		{"stale record", false, true, "| ✗ done | ✓ done |"},
		{"stale record", true, true, ""},
		{"stale record", true, false, "| ✓ done | ✗ done |"},
		{"slice lag", false, true, ""},
		{"slice lag", false, false, "| [slice lag](docs/results/kube-proxy-matrix.md#slice-lag) | 1.31.0 | ✗ done | ✗ done |"},
	} {
		table := results.Headline([]results.Result{of(c.scenario, false, c.without), of(c.scenario, true, c.with)})
		if c.row == "" {
			g.Expect(table).NotTo(ContainSubstring("done"), "%+v", c)
		} else {
			g.Expect(table).To(ContainSubstring(c.row), "%+v", c)
		}
	}
}

func TestResultsSurviveTheFile(t *testing.T) {
	g := NewWithT(t)
	all, err := results.Load(kept)
	g.Expect(err).NotTo(HaveOccurred())
	copied := filepath.Join(t.TempDir(), kept)
	g.Expect(results.Save(copied, results.Merge(nil, all))).To(Succeed())
	again, err := results.Load(copied)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).To(Equal(all), "it is sorted, and counted together")
	g.Expect(os.WriteFile(copied, []byte(`[{"scenario": "x", "colour": "red"}]`), 0o600)).To(Succeed())
	_, err = results.Load(copied)
	g.Expect(err).To(MatchError(ContainSubstring("colour")))
}

func TestAReadmeWithoutItsMarksIsAnError(t *testing.T) {
	_, err := results.ReplaceHeadline("# hnsguard\n", nil)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("lacks the line")))
}
