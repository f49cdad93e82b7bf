// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

const generated = "Generated from test/hnstest/contract and test/windows/results by make generate-windows. Do not edit."

// Load reads the results in a folder, and returns all their faults.
func Load(folder string) ([]contract.Report, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("looking for results: %w", err)
	}
	var all []contract.Report
	var faults []error
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a result: %w", err)
		}
		report, err := contract.ReadReport(data)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
		}
		all = append(all, report)
	}
	return all, errors.Join(faults...)
}

// Page returns docs/windows.md.
func Page(reports []contract.Report) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, `<!-- %s -->
# What is not verified on Windows

hnsguard was built and tested without a Windows machine: its Windows programs run under Wine, with real kube-proxy
binaries, on a simulated HNS. It supports Windows Server 2019, 2022 and 2025 on amd64. What it assumes of Windows is
here, with what rests on it. The simulation has a switch for each assumption that a program can check, and tests play
both positions.

**If you have a Windows node, you can change that in some minutes:** [run hnsguard-verify.exe, and send us the
result](first-node.md).

## Seen on real nodes

`, generated)
	fmt.Fprint(out, seen(reports))
	fmt.Fprint(out, `
## What hnsguard-verify checks

| assumption | what rests on it | check | why it is assumed | real nodes |
|---|---|---|---|---|
`)
	for _, a := range contract.Assumptions() {
		if a.Checked() {
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", a.Statement, a.RestsOn, a.Check, a.Source, onNodes(a, reports))
		}
	}
	fmt.Fprint(out, `
## What a person has to check

| assumption | what rests on it | check | why it is assumed |
|---|---|---|---|
`)
	for _, a := range contract.Assumptions() {
		if !a.Checked() {
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", a.Statement, a.RestsOn, a.Check, a.Source)
		}
	}
	return out.String()
}

// seen returns the table of the nodes.
func seen(reports []contract.Report) string {
	if len(reports) == 0 {
		return "Nothing yet.\n"
	}
	out := &strings.Builder{}
	fmt.Fprint(out, "| Windows | HNS | network | LocalSystem | date | hnsguard | confirmed | refuted | not tried |\n"+
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range reports {
		count := map[contract.Outcome]int{}
		for _, result := range r.Results {
			count[result.Outcome]++
		}
		fmt.Fprintf(out, "| %s | %s | %s | %t | %s | %s | %d | %d | %d |\n", r.Windows, cell(r.HNS), r.Network, r.LocalSystem,
			r.Date, cell(r.Build), count[contract.Confirmed], count[contract.Refuted], count[contract.NotTried])
	}
	return out.String()
}

// onNodes returns the results for an assumption.
func onNodes(a contract.Assumption, reports []contract.Report) string {
	var said []string
	for _, r := range reports {
		for _, result := range r.Results {
			if result.ID != a.ID {
				continue
			}
			mark := map[contract.Outcome]string{
				contract.Confirmed: "✓", contract.Refuted: "✗", contract.NotTried: "not tried",
			}[result.Outcome]
			said = append(said, fmt.Sprintf("%s %s, %s: %s", mark, r.Windows, r.Network, cell(result.Saw)))
		}
	}
	if len(said) == 0 {
		return "–"
	}
	return strings.Join(said, "<br>")
}

// cell escapes a stranger's text for a cell of a table, so that nothing in it is Markdown or HTML.
func cell(text string) string {
	var out strings.Builder
	for _, r := range strings.Join(strings.Fields(text), " ") {
		if strings.ContainsRune("\\`*_{}[]<>()#+!|&~", r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
