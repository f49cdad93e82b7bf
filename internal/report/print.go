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
func (r Report) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	if r.Target == "" {
		r.printTables(page)
	} else {
		r.printDetails(page)
	}
	for _, note := range r.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

func (r Report) printTables(page *terminal.Page) {
	network := "-"
	if r.Network != nil {
		network = cmp.Or(r.Network.Name, string(r.Network.ID))
	}
	page.Printf("Node %s, pod network %s, kube-proxy %s\n%s\n\n", r.Node, network, r.KubeProxy,
		capital(r.describeMode()))
	var rows [][]string
	for _, e := range r.Endpoints {
		rows = append(rows, []string{
			string(e.ID), join(e.Addresses, ","), e.Kind, cut(e.Owner), e.Verdict, e.Reason, strings.Join(e.Pods, ","),
		})
	}
	printTable(page, []string{"ENDPOINT", "IP", "KIND", "OWNER", "VERDICT", "REASON", "POD"}, rows)
	printTable(page, []string{"LOAD BALANCER", "FRONTEND", "SERVICE", "VERDICT", "DEAD", "LACKING"},
		balancerRows(r.LoadBalancers))
	printTable(page, []string{"POD", "IP", "STATE", "STARTED"}, podRows(r.Pods))
	page.Paragraph("", r.Summary)
	for _, f := range r.Findings {
		page.Printf("\n")
		page.Paragraph("", f.String())
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

// podRows are the rows of the table of a scan.
func podRows(pods []Pod) (rows [][]string) {
	for _, pod := range pods {
		if !pod.lacks() {
			continue
		}
		started := ""
		if !pod.Started.IsZero() {
			started = moment(pod.Started)
		}
		rows = append(rows, []string{pod.Name, join(pod.Addresses, ","), string(pod.State), started})
	}
	return rows
}

// printTable prints a table that is not empty.
func printTable(page *terminal.Page, headings []string, rows [][]string) {
	if len(rows) > 0 {
		page.Table(headings, rows)
		page.Printf("\n")
	}
}

// describeMode says whether endpoints are removed.
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
	page.Printf("%s, seen from node %s\nkube-proxy %s, mode: %s\n\n", capital(r.Target), r.Node, r.KubeProxy, r.Mode)
	page.Paragraph("", r.Summary)
	for _, p := range r.Pods {
		if p.NodeOS != "" {
			p.Node += " (" + p.NodeOS + ")"
		}
		page.Printf("\nPod %s\n", p.Name)
		printProperty(page, "node", p.Node)
		printProperty(page, "phase", p.Phase)
		printProperty(page, "ready", p.Ready)
		printProperty(page, "addresses", join(p.Addresses, ", "))
		printProperty(page, "endpoint", string(p.State))
	}
	for _, row := range r.Endpoints {
		page.Printf("\n%s endpoint %s\n", capital(row.Kind), row.ID)
		printProperty(page, "addresses", join(row.Addresses, ", "))
		printProperty(page, "made by", row.Owner)
		printProperty(page, "pods", strings.Join(row.Pods, ", "))
		printProperty(page, "slices", strings.Join(row.Slices, ", "))
		printProperty(page, "kept for", strings.Join(row.Kept, ", "))
		printProperty(page, "same address", join(row.Locals, ", "))
		printProperty(page, "load balancers", join(row.LoadBalancers, ", "))
		printProperty(page, "verdict", row.Verdict+" ("+row.Reason+")")
		printAnswer(page, row.Answer)
	}
	for _, b := range r.LoadBalancers {
		page.Printf("\nLoad balancer for %s\n", b.Frontend)
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

// printProperty prints a property of a pod or an endpoint. An empty one is left out.
func printProperty(page *terminal.Page, name, value string) {
	if value != "" {
		page.Paragraph(fmt.Sprintf("  %-15s ", name), value)
	}
}

func moment(t time.Time) string { return t.UTC().Format(time.DateTime + "Z") }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// cut shortens a name for a table: CNIs use container IDs of 64 digits.
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
