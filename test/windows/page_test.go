// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/test/hnstest/contract"
	"github.com/hnsguard/hnsguard/test/tempdir"
	"github.com/hnsguard/hnsguard/test/windows"
)

var update = flag.Bool("update", false, "write the page")

const page = "../../docs/windows.md"

// Invariant 2, for the stored results.
func TestThePageShowsTheResults(t *testing.T) {
	g := NewWithT(t)
	reports, err := windows.Load("results")
	g.Expect(err).NotTo(HaveOccurred())
	want := windows.Page(reports)
	if *update {
		g.Expect(os.WriteFile(page, []byte(want), 0o644)).To(Succeed())
	}
	got, err := os.ReadFile(page)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(got)).To(Equal(want), "%s is out of date; run: make generate-windows", page)
}

// good returns a result like that of a real node.
func good() contract.Report {
	return contract.Report{
		Format: contract.ReportFormat, Build: "v1.2.3", Date: "2026-12-01", Windows: "10.0.20348.2340", HNS: "13.3",
		Network: "Private", Results: []contract.Result{
			{ID: "oldest-first", Outcome: contract.Refuted, Saw: "in no fixed order | <b>"},
			{ID: "remote-beside-local", Outcome: contract.Confirmed, Saw: "both are there"},
		},
	}
}

// Invariant 1.
func TestEverythingIsOnThePage(t *testing.T) {
	g := NewWithT(t)
	text := windows.Page([]contract.Report{good()})
	for _, a := range contract.Assumptions() {
		g.Expect(text).To(ContainSubstring("| " + a.Statement + " | " + a.RestsOn + " | " + a.Check + " |"))
	}
	g.Expect(text).To(And(
		ContainSubstring("| 10.0.20348.2340 | 13.3 | Private | false | 2026-12-01 | v1.2.3 | 1 | 1 | 0 |"),
		ContainSubstring(`| ✗ 10.0.20348.2340, Private: in no fixed order \| \<b\> |`),
		ContainSubstring("| ✓ 10.0.20348.2340, Private: both are there |")))
}

// Invariant 2.
func TestMalformedResultsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*contract.Report)
		fault string
	}{
		"format":          {func(r *contract.Report) { r.Format = 2 }, "format 2: must be 1"},
		"build":           {func(r *contract.Report) { r.Build = "" }, "build: must be there"},
		"date":            {func(r *contract.Report) { r.Date = "yesterday" }, `date "yesterday"`},
		"Wine":            {func(r *contract.Report) { r.Windows = "10.0.18362 Wine" }, "must be the version of a real Windows"},
		"HNS":             {func(r *contract.Report) { r.HNS = "" }, "hns: must be there"},
		"network":         {func(r *contract.Report) { r.Network = "a|b" }, "must be a type"},
		"no results":      {func(r *contract.Report) { r.Results = nil }, "results: must be there"},
		"unknown":         {func(r *contract.Report) { r.Results[0].ID = "x" }, `result "x": no such assumption is checked`},
		"of a person":     {func(r *contract.Report) { r.Results[0].ID = "netsh" }, `result "netsh": no such assumption is checked`},
		"twice":           {func(r *contract.Report) { r.Results = append(r.Results, r.Results[0]) }, "is there twice"},
		"outcome":         {func(r *contract.Report) { r.Results[0].Outcome = "maybe" }, `outcome "maybe"`},
		"nothing is said": {func(r *contract.Report) { r.Results[0].Saw = "" }, "saw: must be there"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := good()
			tc.spoil(&r)
			g.Expect(load(t, r)).To(MatchError(And(ContainSubstring("result.json: "), ContainSubstring(tc.fault))))
		})
	}
	g := NewWithT(t)
	g.Expect(load(t, good())).To(Succeed())
	g.Expect(load(t, contract.Report{})).To(MatchError(And(ContainSubstring("format 0"), ContainSubstring("results: must"))), "all at once")
	g.Expect(load(t, map[string]any{"host": "win-1"})).To(MatchError(ContainSubstring("host")), "nothing else is kept")
	g.Expect(load(t, []string{})).To(MatchError(ContainSubstring("decoding the report")))
}

// load stores one result and loads it.
func load(t *testing.T, result any) error {
	t.Helper()
	folder := tempdir.New(t)
	data, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "result.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = windows.Load(folder)
	return err
}
