// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

// Print writes the report as a table. What to do stands below what was found.
func (r Report) Print(w io.Writer) error {
	colours := map[Status]terminal.Colour{
		Pass: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red, Skip: terminal.Grey,
	}
	page := terminal.NewPage(w)
	page.Printf("Node %s, hnsguard %s\n\n", r.Node, r.Version)
	for _, c := range r.Checks {
		label := fmt.Sprintf("%s  %-13s  ", page.Paint(colours[c.Status], string(c.Status)), c.Check)
		page.Lines(label, c.Found)
		if c.Advice != "" {
			page.Lines(fmt.Sprintf("%21s", ""), "To do: "+c.Advice)
		}
	}
	page.Printf("\n%s\n", r.summary())
	return page.Flush()
}

func (r Report) summary() string {
	conclusion := "This node can be guarded"
	if r.Failed > 0 {
		conclusion = "This node cannot be guarded as it is"
	}
	return fmt.Sprintf("%s: %s failed, %s, %d skipped.", conclusion, count(r.Failed, "check"), count(r.Warned, "warning"),
		r.Skipped)
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
