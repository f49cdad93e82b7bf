// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"slices"
	"strings"
)

const generated = "Generated from test/system/results/results.json by make generate-results. Do not edit."

// Page returns the page of the documentation with all results.
func Page(all []Result) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, `<!-- %s -->
# What kube-proxy does, without and with hnsguard

%s

The scenarios were played with the real kube-proxy.exe of each version, hnsguard.exe and a real API server. Both
programs ran **under Wine, against a simulated Host Networking Service (HNS)**, not on Windows;
[windows.md](../windows.md) says what the simulation assumes of HNS.
kube-proxy synced every %s; its default is 30 seconds.

## At a glance

The first mark of each cell is the outcome without hnsguard, the second with it. A dash means that the scenario was not
played so: where nothing is wrong and nothing may be deleted, it is played with hnsguard only. Reprogramming
was on only where the name of the scenario says so; [how-it-works.md](../how-it-works.md) explains it.

`, generated, measured(all), periods(all))
	versions := versionsOf(all)
	fmt.Fprintf(out, "| scenario | %s |\n|---|%s\n", join(versions, " | "), strings.Repeat(":-:|", len(versions)))
	for _, sc := range Scenarios() {
		fmt.Fprintf(out, "| [%s](#%s) |", sc.Name, anchor(sc.Name))
		for _, v := range versions {
			fmt.Fprintf(out, " %s %s |", mark(all, sc, v, false), mark(all, sc, v, true))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "\n## What happened")
	for _, sc := range Scenarios() {
		fmt.Fprintf(out, "\n### %s\n\n%s\n\n", sc.Name, sc.Story)
		rows := rowsOf(all, sc)
		if len(rows) == 0 {
			fmt.Fprintln(out, "Not measured yet.")
			continue
		}
		fmt.Fprintln(out, "| kube-proxy | without hnsguard | with hnsguard |\n|---|---|---|")
		for _, row := range rows {
			fmt.Fprintf(out, "| %s | %s | %s |\n", join(row.versions, ", "), row.without, row.with)
		}
	}
	return out.String()
}

// Headline returns the table of the README: the incidents that users report, with the versions in which they end badly,
// and everything that ends badly with hnsguard.
func Headline(all []Result) string {
	out := &strings.Builder{}
	out.WriteString("| what happens | kube-proxy | without hnsguard | with hnsguard |\n|---|---|---|---|\n")
	var shown []Result
	for _, sc := range Scenarios() {
		rows := headlineRows(all, sc)
		for _, r := range rows {
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", sc.headline(), join(r.versions, ", "), r.without, r.with)
		}
		for _, r := range all {
			if r.Scenario == sc.Name && len(rows) > 0 {
				shown = append(shown, r)
			}
		}
	}
	if len(shown) == 0 {
		return "Nothing ends badly."
	}
	fmt.Fprintf(out, "\n%s Real kube-proxy.exe and hnsguard.exe\n**under Wine, against a simulated HNS**; kube-proxy "+
		"synced every %s; its default is 30 seconds.\n", measured(shown), periods(shown))
	return out.String()
}

// headline returns the name of a scenario's rows. Without a headline it is the scenario's section of the page.
func (sc Scenario) headline() string {
	if sc.Headline != "" {
		return sc.Headline
	}
	return fmt.Sprintf("[%s](docs/results/kube-proxy-matrix.md#%s)", sc.Name, anchor(sc.Name))
}

// headlineRows returns the rows of the versions in which a scenario ends badly: without hnsguard for one with a
// headline, or with hnsguard for any. Rows with the same end with hnsguard are merged.
func headlineRows(all []Result, sc Scenario) []row {
	var rows []row
	for _, r := range rowsOf(all, sc) {
		if r.with == none || !r.lost && (!r.bad || sc.Headline == "") {
			continue
		}
		i := slices.IndexFunc(rows, func(o row) bool { return o.with == r.with })
		if i < 0 {
			rows = append(rows, r)
			continue
		}
		rows[i].versions = slices.SortedFunc(slices.Values(append(rows[i].versions, r.versions...)), compareVersions)
		if !strings.Contains(rows[i].without, r.without) {
			rows[i].without += ", or " + r.without
		}
	}
	return rows
}

// row is one line of a scenario's table: the versions with the same end.
type row struct {
	versions      []string
	without, with string
	bad, lost     bool // without hnsguard, and with it
}

func rowsOf(all []Result, sc Scenario) []row {
	var rows []row
	for _, v := range versionsOf(all) {
		r := row{without: outcome(all, sc, v, false), with: outcome(all, sc, v, true)}
		if r.without == none && r.with == none {
			continue
		}
		i := slices.IndexFunc(rows, func(o row) bool { return o.without == r.without && o.with == r.with })
		if i < 0 {
			r.bad, r.lost = !allGood(resultsOf(all, sc, v, false)), !allGood(resultsOf(all, sc, v, true))
			i, rows = len(rows), append(rows, r)
		}
		rows[i].versions = append(rows[i].versions, v)
	}
	return rows
}

// none is the outcome of a scenario that was not played.
const none = "–"

func resultsOf(all []Result, sc Scenario, version string, guarded bool) []Result {
	var found []Result
	for _, r := range all {
		if r.cell() == (cell{sc.Name, version, guarded}) {
			found = append(found, r)
		}
	}
	return found
}

func allGood(found []Result) bool {
	return !slices.ContainsFunc(found, func(r Result) bool { return !r.Good })
}

// mark returns the outcome as one sign.
func mark(all []Result, sc Scenario, version string, guarded bool) string {
	found := resultsOf(all, sc, version, guarded)
	if len(found) == 0 {
		return none
	}
	return sign(allGood(found))
}

func sign(good bool) string {
	if good {
		return "✓"
	}
	return "✗"
}

// outcome returns the outcome in words: for several runs, each outcome with its number of runs.
func outcome(all []Result, sc Scenario, version string, guarded bool) string {
	found, total := resultsOf(all, sc, version, guarded), 0
	for _, r := range found {
		total += r.Runs
	}
	var parts []string
	for _, r := range found {
		part := sign(r.Good) + " " + r.Outcome
		if total > 1 {
			part += fmt.Sprintf(" (%d of %d runs)", r.Runs, total)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, "; ")
}

func versionsOf(all []Result) []string {
	var versions []string
	for _, r := range all {
		versions = append(versions, r.Version)
	}
	slices.SortFunc(versions, compareVersions)
	return slices.Compact(versions)
}

// measured returns when the results were measured, and with which builds.
func measured(all []Result) string {
	days := distinct(all, func(r Result) string { return r.Measured })
	builds := strings.Join(distinct(all, func(r Result) string { return r.Build }), ", ")
	if len(days) == 1 {
		return fmt.Sprintf("Measured on %s with hnsguard %s.", days[0], builds)
	}
	return fmt.Sprintf("Measured between %s and %s with hnsguard %s.", days[0], days[len(days)-1], builds)
}

// periods returns kube-proxy's sync periods.
func periods(all []Result) string {
	return strings.Join(distinct(all, func(r Result) string { return r.SyncPeriod }), " or ")
}

func distinct(all []Result, of func(Result) string) []string {
	var values []string
	for _, r := range all {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return slices.Compact(values)
}

func join(versions []string, separator string) string {
	return strings.ReplaceAll(strings.Join(versions, separator), "v", "")
}

// anchor returns the anchor of a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(heading), ",", ""), " ", "-")
}

// The marks of the table in the README.
const (
	tableBegin = "<!-- " + generated + " -->\n"
	tableEnd   = "<!-- End of the generated table. -->\n"
)

// ReplaceHeadline replaces the table in the text of the README.
func ReplaceHeadline(readme string, all []Result) (string, error) {
	before, rest, begins := strings.Cut(readme, tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return "", fmt.Errorf("replacing the table of results: the README lacks the line %q or %q", tableBegin, tableEnd)
	}
	return before + tableBegin + Headline(all) + tableEnd + after, nil
}
