// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// sendTo is the URL for reporting results.
const sendTo = "https://github.com/hnsguard/hnsguard/issues/new?template=windows-result.yaml"

// show prints a report.
func show(p Process, output string, r contract.Report) error {
	if output == "json" {
		encoder := json.NewEncoder(p.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	}
	results, count := map[string]contract.Result{}, map[contract.Outcome]int{}
	for _, result := range r.Results {
		results[result.ID] = result
		count[result.Outcome]++
	}
	page := terminal.NewPage(p.Out)
	page.Printf("Windows %s, HNS %s, a network of type %s\n\n", r.Windows, r.HNS, string(r.Network))
	for _, a := range contract.Assumptions() {
		result, tried := results[a.ID]
		if !tried {
			continue
		}
		page.Paragraph(fmt.Sprintf("%-9s  ", result.Outcome), plain(a.Statement))
		page.Paragraph("           ", "Seen: "+result.Saw)
		if result.Outcome != contract.Confirmed {
			page.Paragraph("           ", "What rests on it: "+plain(a.RestsOn))
		}
	}
	page.Printf("\n%d confirmed, %d refuted, %d not tried. Please send us the output of -o json:\n%s\n",
		count[contract.Confirmed], count[contract.Refuted], count[contract.NotTried], sendTo)
	return page.Flush()
}

// plain removes Markdown.
func plain(text string) string {
	text = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(text, "$1")
	return strings.NewReplacer("**", "", "`", "").Replace(text)
}
