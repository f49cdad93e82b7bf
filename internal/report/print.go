// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Print writes the report as text: tables for a scan, and details for an explanation.
func (r Report) Print(w io.Writer) error { return r.print(w, false) }

// PrintWide is Print with whole IDs and all columns.
func (r Report) PrintWide(w io.Writer) error { return r.print(w, true) }

func (r Report) print(w io.Writer, wide bool) error {
	page := terminal.NewPage(w)
	if r.Target == "" {
		r.printTables(page, wide)
	} else {
		r.printDetails(page)
	}
	for _, note := range r.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

func (r Report) printTables(page *terminal.Page, wide bool) {
	network := "-"
	if r.Network != nil {
		network = cmp.Or(r.Network.Name, string(r.Network.ID))
	}
	page.Paragraph("", fmt.Sprintf("Node %s, pod network %s, kube-proxy %s", r.Node, network, r.KubeProxy))
	page.Printf("%s\n\n", capital(r.describeMode()))
	printTable(page, endpointHeadings(wide), r.Endpoints, func(e Endpoint) terminal.Row { return e.row(wide) })
	printTable(page, balancerHeadings(wide), r.LoadBalancers, func(b Balancer) terminal.Row { return b.row(wide) })
	printTable(page, []string{"POD", "IP", "STATE", "STARTED"}, r.Pods, Pod.row)
	page.Paragraph("", r.Summary)
	for _, f := range r.Findings {
		page.Printf("\n")
		page.Heading(terminal.Red, f.String())
		if !f.Since.IsZero() {
			printProperty(page, "since", moment(f.Since)+", for "+duration.HumanDuration(r.Time.Sub(f.Since)))
		}
		printAnswer(page, &f.Answer)
	}
	for _, pod := range r.Pods {
		if !pod.lacks() && pod.State != verdict.PodUnknown { // a finding or a note says more
			page.Paragraph("", pod.describe(r))
		}
	}
	if len(r.Findings) > 0 && len(r.Notes) > 0 {
		page.Printf("\n")
	}
}

// endpointHeadings returns the headings of endpoints. The verdict implies the kind.
func endpointHeadings(wide bool) []string {
	if wide {
		return []string{"ENDPOINT", "IP", "KIND", "OWNER", "VERDICT", "REASON", "POD"}
	}
	return []string{"ENDPOINT", "IP", "VERDICT", "POD"}
}

func (e Endpoint) row(wide bool) terminal.Row {
	addresses, pods := join(e.Addresses, ","), strings.Join(e.Pods, ",")
	cells := []string{short(string(e.ID)), addresses, string(e.Verdict), pods}
	if wide {
		cells = []string{string(e.ID), addresses, e.Kind, cut(e.Owner), string(e.Verdict), string(e.Reason), pods}
	}
	return terminal.Row{Cells: cells, Colour: e.colour()}
}

// colour shows how urgent an endpoint is.
func (e Endpoint) colour() terminal.Colour {
	switch {
	case e.Verdict == verdict.Held || e.removable() && e.Verdict != verdict.Orphan:
		return terminal.Red
	case e.title() != "" || e.undecided():
		return terminal.Yellow
	default:
		return ""
	}
}

// balancerHeadings returns the headings of load balancers.
func balancerHeadings(wide bool) []string {
	if wide {
		return []string{"LOAD BALANCER", "FRONTEND", "SERVICE", "VERDICT", "DEAD", "LACKING"}
	}
	return []string{"FRONTEND", "SERVICE", "VERDICT"}
}

func (b Balancer) row(wide bool) terminal.Row {
	cells := []string{b.Frontend, b.Service, string(b.Verdict)}
	if wide {
		cells = append([]string{string(b.ID)}, append(cells, join(b.Dead, ","), join(b.Lacking, ","))...)
	}
	return terminal.Row{Cells: cells, Colour: b.colour()}
}

func (b Balancer) colour() terminal.Colour {
	if b.Verdict.Broken() {
		return terminal.Red
	}
	return ""
}

// row returns the row of a pod; it is empty if the pod has its network.
func (p Pod) row() (row terminal.Row) {
	if !p.lacks() {
		return row
	}
	started := ""
	if !p.Started.IsZero() {
		started = moment(p.Started)
	}
	return terminal.Row{
		Cells: []string{p.Name, join(p.Addresses, ","), string(p.State), started}, Colour: terminal.Red,
	}
}

// printTable prints a table of the objects that have a row, if any.
func printTable[T any](page *terminal.Page, headings []string, objects []T, row func(T) terminal.Row) {
	var rows []terminal.Row
	for _, o := range objects {
		if r := row(o); len(r.Cells) > 0 {
			rows = append(rows, r)
		}
	}
	if len(rows) > 0 {
		page.Table(headings, rows)
		page.Printf("\n")
	}
}

// describeMode says which endpoints are removed.
func (r Report) describeMode() string {
	described := "mode: " + string(r.Mode)
	for _, kind := range []verdict.Kind{verdict.Conflict, verdict.Orphan} {
		if setting := r.observing(kind); setting != "" && !strings.HasPrefix(described, setting) {
			described += ", " + setting
		}
	}
	return described
}

func (r Report) printDetails(page *terminal.Page) {
	page.Paragraph("", fmt.Sprintf("%s, seen from node %s", capital(r.Target), r.Node))
	page.Paragraph("", fmt.Sprintf("kube-proxy %s, mode: %s", r.KubeProxy, r.Mode))
	page.Printf("\n")
	page.Paragraph("", r.Summary)
	for _, p := range r.Pods {
		if p.NodeOS != "" {
			p.Node += " (" + p.NodeOS + ")"
		}
		page.Printf("\n")
		page.Heading(p.row().Colour, "Pod "+p.Name)
		printProperty(page, "node", p.Node)
		printProperty(page, "phase", p.Phase)
		printProperty(page, "ready", p.Ready)
		printProperty(page, "addresses", join(p.Addresses, ", "))
		printProperty(page, "endpoint", string(p.State))
	}
	for _, row := range r.Endpoints {
		page.Printf("\n")
		page.Heading(row.colour(), fmt.Sprintf("%s endpoint %s", capital(row.Kind), row.ID))
		printProperty(page, "addresses", join(row.Addresses, ", "))
		printProperty(page, "made by", row.Owner)
		printProperty(page, "pods", strings.Join(row.Pods, ", "))
		printProperty(page, "slices", strings.Join(row.Slices, ", "))
		printProperty(page, "kept for", strings.Join(row.Kept, ", "))
		printProperty(page, "same address", join(row.Locals, ", "))
		printProperty(page, "load balancers", join(row.LoadBalancers, ", "))
		printProperty(page, "verdict", fmt.Sprintf("%s (%s)", row.Verdict, row.Reason))
		printAnswer(page, row.Answer)
	}
	for _, b := range r.LoadBalancers {
		page.Printf("\n")
		page.Heading(b.colour(), "Load balancer for "+b.Frontend)
		printProperty(page, "id", string(b.ID))
		printProperty(page, "service", b.Service)
		printProperty(page, "verdict", string(b.Verdict))
		printProperty(page, "gone", join(b.Gone, ", "))
		printProperty(page, "dead", join(b.Dead, ", "))
		printProperty(page, "lacking", join(b.Lacking, ", "))
		printAnswer(page, b.Answer)
	}
	r.printHistory(page)
	if len(r.Notes) > 0 {
		page.Printf("\n")
	}
}

func printAnswer(page *terminal.Page, a *Answer) {
	printProperty(page, "because", a.Because)
	printProperty(page, "next", a.Next)
	printProperty(page, "what to do", a.Do)
}

func (r Report) printHistory(page *terminal.Page) {
	isProxy := func(e history.Entry) bool { return e.Act == history.KubeProxy }
	switch {
	case slices.ContainsFunc(r.History, isProxy):
		page.Printf("\nWhat kube-proxy and the agent have done, the last first\n")
	case len(r.History) > 0:
		page.Printf("\nWhat the agent has decided and done, the last first\n")
	}
	const most = 50
	for _, e := range r.History[:min(len(r.History), most)] {
		page.Paragraph("  "+moment(e.Last)+"  ", sentence(e))
	}
	if more := len(r.History) - most; more > 0 {
		page.Printf("  and %d more: see --output json\n", more)
	}
}

// printProperty prints a property, unless it is empty.
func printProperty(page *terminal.Page, name, value string) {
	if value != "" {
		page.Paragraph(fmt.Sprintf("  %-15s ", name), value)
	}
}

func moment(t time.Time) string { return t.UTC().Format(time.DateTime + "Z") }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// short returns the first part of an ID, which 'hnsguard explain' accepts too.
func short(id string) string {
	first, _, _ := strings.Cut(id, "-")
	return first
}

// cut shortens a name for a table: some CNIs use container IDs of 64 digits.
func cut(s string) string {
	const width = 20
	if len(s) <= width {
		return s
	}
	return s[:width-1] + "…"
}

func join[T any](values []T, separator string) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return strings.Join(texts, separator)
}
