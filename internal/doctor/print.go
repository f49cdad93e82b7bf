// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

// Print writes the report as a table. What to do stands below what was found.
func (r Report) Print(w io.Writer, palette terminal.Palette) error {
	const indent = 21 // the widths of both columns before the text
	colours := map[Status]terminal.Colour{
		Pass: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red, Skip: terminal.Grey,
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "Node %s, hnsguard %s\n\n", r.Node, r.Version)
	for _, c := range r.Checks {
		// The padding stays outside of the colour: the codes of a colour have no width, but Fprintf counts them.
		fmt.Fprintf(out, "%s  %-13s  %s\n", palette.Paint(colours[c.Status], string(c.Status)), c.Check,
			terminal.WrapLines(c.Found, indent))
		if c.Advice != "" {
			fmt.Fprintf(out, "%*s%s\n", indent, "", terminal.Wrap("To do: "+c.Advice, indent))
		}
	}
	fmt.Fprintf(out, "\n%s\n", r.summary())
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Report) summary() string {
	count := func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	text := "This node can be guarded"
	if r.Failed > 0 {
		text = "This node cannot be guarded as it is"
	}
	return fmt.Sprintf("%s: %s failed, %s, %d skipped.", text, count(r.Failed, "check", "checks"),
		count(r.Warned, "warning", "warnings"), r.Skipped)
}
