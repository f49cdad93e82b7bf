// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
	"time"

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
	network := r.Network
	if network == "" {
		network = "-"
	}
	page.Printf("Node %s, pod network %s, kube-proxy %s\n%s\n\n", r.Node, network, r.KubeProxy,
		capital(r.describeMode()))
	var rows [][]string
	for _, row := range r.Endpoints {
		rows = append(rows, []string{
			string(row.ID), join(row.Addresses, ","), row.Kind, cut(row.Owner), row.Verdict, row.Reason,
			strings.Join(row.Pods, ","),
		})
	}
	printTable(page, []string{"ENDPOINT", "IP", "KIND", "OWNER", "VERDICT", "REASON", "POD"}, rows)
	printTable(page, []string{"LOAD BALANCER", "FRONTEND", "SERVICE", "VERDICT", "DEAD", "LACKING"},
		balancerRows(r.LoadBalancers))
	if rows = nil; len(r.PodsWithoutNetwork) > 0 {
		page.Printf("These pods of this node have no network.\n'hnsguard explain NAMESPACE/POD' says what to do.\n")
	}
	for _, pod := range r.PodsWithoutNetwork {
		started := ""
		if !pod.Started.IsZero() {
			started = moment(pod.Started)
		}
		rows = append(rows, []string{pod.Name, join(pod.Addresses, ","), string(pod.State), started})
	}
	printTable(page, []string{"POD", "IP", "STATE", "STARTED"}, rows)
	page.Paragraph("", r.Summary)
	if r.Attention != "" {
		page.Paragraph("", fmt.Sprintf("Needs attention: %s.", r.Attention))
	}
	for _, d := range r.Duplicates {
		page.Paragraph("", capital(d.String())+".")
	}
	for _, pod := range r.Pods {
		if message := pod.describe(r); message != "" {
			page.Paragraph("", message)
		}
	}
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
	for _, p := range r.targetPods() {
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
		printProperty(page, "because", row.Because)
		printProperty(page, "next", row.Next)
		printProperty(page, "what to do", row.Do)
	}
	for _, b := range r.LoadBalancers {
		page.Printf("\nLoad balancer for %s\n", b.Frontend)
		printProperty(page, "id", string(b.ID))
		printProperty(page, "service", b.Service)
		printProperty(page, "verdict", string(b.Verdict))
		printProperty(page, "because", b.Because)
		printProperty(page, "next", b.Next)
		printProperty(page, "what to do", b.Do)
	}
	if len(r.History) > 0 {
		page.Printf("\nWhat the agent has decided and done, the last first\n")
	}
	for _, e := range r.History {
		page.Paragraph("  "+moment(e.Last)+"  ", sentence(e))
	}
	if len(r.Notes) > 0 {
		page.Printf("\n")
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
