// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("Node %s, hnsguard %s\n\n", r.Node, r.Version)
	return r.print(page, "This node can be guarded", "This node cannot be guarded as it is")
}

// print writes a line for each check, with the advice below it, and the conclusion.
func (r Results) print(page *terminal.Page, good, bad string) error {
	colours := map[Status]terminal.Colour{
		Pass: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red, Skip: terminal.Grey,
	}
	for _, c := range r.Checks {
		page.Lines(fmt.Sprintf("%s  %-13s  ", page.Paint(colours[c.Status], string(c.Status)), c.Check), c.Found)
		if c.Advice != "" {
			page.Lines(fmt.Sprintf("%21s", ""), "To do: "+c.Advice)
		}
	}
	conclusion := good
	if r.Failed > 0 {
		conclusion = bad
	}
	page.Printf("\n%s: %d failed, %d warned, %d skipped.\n", conclusion, r.Failed, r.Warned, r.Skipped)
	return page.Flush()
}

// Print writes the nodes as a table, the evidence, and a line for each check.
func (r ClusterReport) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("Cluster %s, hnsguard %s\n\n", r.Server, r.Version)
	if len(r.Nodes) > 0 {
		r.printNodes(page)
	}
	return r.print(page, "hnsguard can be installed", "hnsguard cannot be installed as it is")
}

func (r ClusterReport) printNodes(page *terminal.Page) {
	rows := make([]terminal.Row, 0, len(r.Nodes))
	colours := map[Affected]terminal.Colour{
		AffectedYes: terminal.Red, AffectedPartly: terminal.Yellow, AffectedUnknown: terminal.Yellow,
	}
	var proxies, addresses []evidence
	for _, n := range r.Nodes {
		shown := cmp.Or(n.KubeProxy.Version, "unknown")
		rows = append(rows, terminal.Row{Colour: colours[n.Affected], Cells: []string{
			n.Node, shown, n.KubeProxy.Source, string(n.Addresses.Sharing), string(n.Affected),
		}})
		sharing := string(n.Addresses.Sharing)
		proxies = addEvidence(proxies, shown, n.Node, "kube-proxy "+n.KubeProxy.String())
		addresses = addEvidence(addresses, sharing, n.Node, "addresses "+sharing+": "+n.Addresses.Why)
	}
	page.Table([]string{"NODE", "KUBE-PROXY", "FROM", "ADDRESSES", "AFFECTED"}, rows)
	page.Printf("\n")
	for _, e := range slices.Concat(proxies, addresses) {
		e.print(page)
	}
	page.Paragraph("", "The faults: "+version.DocsURL("how-it-works.md"))
	page.Printf("\n")
}

// evidence is the reason for the same judgement on several nodes. It is the reason of the first node.
type evidence struct {
	what, why string
	nodes     []string
}

// addEvidence adds a node to those with the same judgement.
func addEvidence(all []evidence, what, node, why string) []evidence {
	at := slices.IndexFunc(all, func(e evidence) bool { return e.what == what })
	if at < 0 {
		return append(all, evidence{what, why, []string{node}})
	}
	all[at].nodes = append(all[at].nodes, node)
	return all
}

func (e evidence) print(page *terminal.Page) {
	who := e.nodes[0]
	if more := len(e.nodes) - 1; more > 0 {
		who = fmt.Sprintf("%s and %d more", who, more)
	}
	page.Paragraph(who+": ", e.why)
}
