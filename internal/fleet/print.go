// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"io"
	"time"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	if len(r.Nodes) == 0 {
		page.Printf("There is no Windows node, and no agent.\n")
	} else {
		page.Table([]string{
			"NODE", "AGENT", "MODE", "STATE", "KUBE-PROXY", "ENDPOINTS", "STALE", "HELD", "LAST PASS", "PROBLEM",
		}, r.rows())
	}
	for _, note := range r.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

func (r Report) rows() [][]string {
	var rows [][]string
	for _, row := range r.Nodes {
		rows = append(rows, []string{
			row.Node, row.Version, row.Mode, row.State, row.KubeProxy, number(row.Endpoints), number(row.Stale),
			number(row.Held), row.age(), row.Problem,
		})
	}
	return rows
}

func (r Row) age() string {
	if r.PassAge == nil {
		return ""
	}
	return time.Duration(*r.PassAge*float64(time.Second)).Round(time.Second).String() + " ago"
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}
