// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	out := &strings.Builder{}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NODE\tAGENT\tMODE\tSTATE\tKUBE-PROXY\tENDPOINTS\tSTALE\tHELD\tLAST PASS\tPROBLEM")
	for _, row := range r.Nodes {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Node, orDash(row.Version), orDash(row.Mode),
			orDash(row.State), orDash(row.KubeProxy), number(row.Endpoints), number(row.Stale), number(row.Held), row.age(),
			orDash(row.Problem))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(r.Nodes) == 0 {
		out.Reset()
		_, _ = fmt.Fprintln(out, "There is no Windows node, and no agent.")
	}
	for _, note := range r.Notes {
		_, _ = fmt.Fprintf(out, "Note: %s.\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Row) age() string {
	if r.PassAge == nil {
		return "-"
	}
	return time.Duration(*r.PassAge*float64(time.Second)).Round(time.Second).String() + " ago"
}

func number(n *int) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func orDash(s string) string { return cmp.Or(s, "-") }
