// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"fmt"
	"io"

	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("Node %s, hnsguard %s\n\n", r.Node, r.Version)
	r.print(page)
	conclusion := "This node can be guarded"
	if r.Failed > 0 {
		conclusion = "This node cannot be guarded as it is"
	}
	page.Printf("\n%s: %s.\n", conclusion, r.counts())
	return page.Flush()
}

// print adds a line for each check. What to do stands below what was found.
func (r Results) print(page *terminal.Page) {
	colours := map[Status]terminal.Colour{
		Pass: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red, Skip: terminal.Grey,
	}
	for _, c := range r.Checks {
		page.Lines(fmt.Sprintf("%s  %-13s  ", page.Paint(colours[c.Status], string(c.Status)), c.Check), c.Found)
		if c.Advice != "" {
			page.Lines(fmt.Sprintf("%21s", ""), "To do: "+c.Advice)
		}
	}
}

func (r Results) counts() string {
	return fmt.Sprintf("%d failed, %d warned, %d skipped", r.Failed, r.Warned, r.Skipped)
}

// Print writes the nodes as a table, the evidence, and a line for each check.
func (r ClusterReport) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("Cluster %s, hnsguard %s\n\n", r.Server, r.Version)
	if len(r.Nodes) > 0 {
		r.printNodes(page)
	}
	r.print(page)
	conclusion := "hnsguard can be installed"
	if r.Failed > 0 {
		conclusion = "hnsguard cannot be installed as it is"
	}
	page.Printf("\n%s: %s.\n", conclusion, r.counts())
	return page.Flush()
}

func (r ClusterReport) printNodes(page *terminal.Page) {
	rows := make([]terminal.Row, 0, len(r.Nodes))
	colours := map[Affected]terminal.Colour{
		AffectedYes: terminal.Red, AffectedPartly: terminal.Yellow, AffectedUnknown: terminal.Yellow,
	}
	proxies, addresses := evidence{}, evidence{}
	for _, n := range r.Nodes {
		shown := cmp.Or(n.KubeProxy.Version, "unknown")
		rows = append(rows, terminal.Row{Colour: colours[n.Affected], Cells: []string{
			n.Node, shown, n.KubeProxy.Source, string(n.Addresses.Sharing), string(n.Affected),
		}})
		proxies.add(shown, n.Node, "kube-proxy "+n.KubeProxy.String())
		addresses.add(string(n.Addresses.Sharing), n.Node, "addresses "+string(n.Addresses.Sharing)+": "+n.Addresses.Why)
	}
	page.Table([]string{"NODE", "KUBE-PROXY", "FROM", "ADDRESSES", "AFFECTED"}, rows)
	page.Printf("\n")
	proxies.print(page)
	addresses.print(page)
	page.Paragraph("", "The faults: "+version.DocsURL("how-it-works.md"))
	page.Printf("\n")
}

// evidence is why nodes are judged as they are, by what is said of them.
type evidence struct {
	order []string
	first map[string]string
	nodes map[string][]string
}

// add adds a node. The reason of the first one stands for all that are judged alike.
func (e *evidence) add(what, node, why string) {
	if e.first == nil {
		e.first, e.nodes = map[string]string{}, map[string][]string{}
	}
	if _, known := e.first[what]; !known {
		e.order, e.first[what] = append(e.order, what), why
	}
	e.nodes[what] = append(e.nodes[what], node)
}

func (e *evidence) print(page *terminal.Page) {
	for _, what := range e.order {
		nodes := e.nodes[what]
		who := nodes[0]
		if len(nodes) > 1 {
			who = fmt.Sprintf("%s and %d more", who, len(nodes)-1)
		}
		page.Paragraph(who+": ", e.first[what])
	}
}
