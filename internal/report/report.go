// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// KindUnknown is the verdict on an endpoint that cannot be judged.
const KindUnknown verdict.Kind = "unknown"

// Report is what a scan found. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	Node string `json:"node"`
	// Network is the name of the pod network, or its ID if the dumps do not have the name.
	Network        string `json:"network"`
	KubeProxy      string `json:"kubeProxyVersion"`
	KubeProxyKnown bool   `json:"kubeProxyKnown"`
	// KubeProxyFaults are the faults of the version, or all if it is unknown. docs/how-it-works.md explains them.
	KubeProxyFaults []string `json:"kubeProxyFaults"`
	// Mode is the upper limit, and Modes what follows for each class of acts.
	Mode  string            `json:"mode"`
	Modes map[string]string `json:"modes"`
	// Removable and Undecided count reported endpoints: those that would be removed, and those of which it is unknown.
	Removable int `json:"removable"`
	Undecided int `json:"undecided"`
	// Omitted counts the endpoints that the filter does not select.
	Omitted int `json:"omitted"`
	// Attention counts what needs a person's attention although nothing is to be removed.
	Attention Attention `json:"attention"`
	Endpoints []Row     `json:"endpoints"`
	// PodsWithoutNetwork are running pods of the node that have no local endpoint.
	PodsWithoutNetwork []Pod `json:"podsWithoutNetwork"`
	// Pods are the pods that the filter names.
	Pods  []Pod    `json:"pods,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// Row is one endpoint.
type Row struct {
	ID        hns.EndpointID `json:"id"`
	Addresses []netip.Addr   `json:"addresses"`
	// Kind is local, remote or unknown.
	Kind string `json:"kind"`
	// Owner is kube-proxy or other for a remote endpoint, and the name of any other.
	Owner   string   `json:"owner"`
	Verdict string   `json:"verdict"`
	Reason  string   `json:"reason"`
	Pods    []string `json:"pods,omitempty"`
	// Slices are the EndpointSlices that list the address, each with the node of the address.
	Slices        []string             `json:"slices,omitempty"`
	Locals        []hns.EndpointID     `json:"localEndpoints,omitempty"`
	LoadBalancers []hns.LoadBalancerID `json:"loadBalancers,omitempty"`
}

// RowOf returns the row of an endpoint with its verdict.
func RowOf(v verdict.Verdict) Row {
	r := Row{
		ID: v.Endpoint.ID, Addresses: v.Endpoint.Addresses, Kind: "local", Owner: v.Endpoint.Name,
		Verdict: string(v.Kind), Reason: string(v.Reason), Locals: v.Locals, LoadBalancers: v.LoadBalancers,
	}
	if v.Endpoint.Remote() {
		r.Kind, r.Owner = "remote", "other"
		if kubeproxy.Owns(v.Endpoint) {
			r.Owner = "kube-proxy"
		}
	}
	for _, pod := range v.Pods {
		r.Pods = append(r.Pods, pod.String())
	}
	for _, l := range v.Listings {
		r.Slices = append(r.Slices, fmt.Sprintf("%s (%s)", l.Slice, cmp.Or(l.Node, noNode)))
	}
	return r
}

// noNode is what an EndpointSlice shows that lists an address without a node.
const noNode = "no node"

// PlaceOf takes an element of [Row.Slices] apart. The node is empty if the slice names none.
func PlaceOf(listed string) (slice, node string) {
	slice, node, _ = strings.Cut(strings.TrimSuffix(listed, ")"), " (")
	if node == noNode {
		node = ""
	}
	return slice, node
}

func unknownRow(e hns.Endpoint, reason string) Row {
	kind := "unknown"
	if e.Remote() {
		kind = "remote"
	}
	return Row{
		ID: e.ID, Addresses: e.Addresses, Kind: kind, Owner: e.Name, Verdict: string(KindUnknown), Reason: reason,
	}
}

// removable reports whether the endpoint would be removed.
func (r Row) removable() bool { return verdict.Kind(r.Verdict).Removes() }

// undecided reports whether it is unknown if the endpoint would be removed, because the dumps lack something.
func (r Row) undecided() bool {
	switch verdict.Reason(r.Reason) {
	case verdict.ReasonLoadBalancersUnknown, verdict.ReasonServicesUnknown, verdict.ReasonNoSlices:
		return true
	default:
		return r.Verdict == string(KindUnknown)
	}
}

// report puts the rows together, those that need attention first.
func (in Input) report(network hns.Network, rows []Row) Report {
	slices.SortStableFunc(rows, Row.Compare)
	without, named, podNotes := in.pods()
	selected, notes := in.Filter.apply(rows, in.Cluster, named)
	notes = append(notes, podNotes...)
	r := Report{
		Node: in.Node, Network: cmp.Or(network.Name, string(network.ID)), KubeProxy: in.KubeProxy.Version,
		KubeProxyKnown:  in.KubeProxy.Known,
		KubeProxyFaults: in.KubeProxy.Faults(), Mode: string(in.Config.Mode), Modes: modesOf(in.Config),
		Attention: attentionOf(selected, without), PodsWithoutNetwork: without, Pods: named,
		Omitted: len(rows) - len(selected), Endpoints: selected, Notes: append(notes, in.notes(selected)...),
	}
	for _, row := range selected {
		if row.removable() {
			r.Removable++
		}
		if row.undecided() {
			r.Undecided++
		}
	}
	return r
}

// Compare orders rows: those that need attention come first.
func (r Row) Compare(other Row) int {
	return cmp.Or(cmp.Compare(urgency(r.Verdict), urgency(other.Verdict)), compareAddresses(r, other),
		cmp.Compare(r.ID, other.ID))
}

func urgency(kind string) int {
	order := []verdict.Kind{
		verdict.Conflict, verdict.EarlyConflict, verdict.Orphan, verdict.Held, verdict.Contested, verdict.LeakedLocal,
		KindUnknown, verdict.OrphanPending, verdict.Protected, verdict.Foreign, verdict.InUse, verdict.Local,
	}
	return slices.Index(order, verdict.Kind(kind))
}

func compareAddresses(a, b Row) int {
	first := func(r Row) netip.Addr {
		if len(r.Addresses) == 0 {
			return netip.Addr{}
		}
		return r.Addresses[0]
	}
	return first(a).Compare(first(b))
}

// Print writes the report as text.
func (r Report) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("Node %s, pod network %s, kube-proxy %s\n%s\n\n", r.Node, cmp.Or(r.Network, "-"), r.DescribeKubeProxy(),
		capital(r.describeMode()))
	r.printEndpoints(page)
	r.printPods(page)
	page.Paragraph("", r.summary())
	if r.Attention.Needed() {
		page.Paragraph("", fmt.Sprintf("Needs attention: %s.", r.Attention))
	}
	for _, note := range r.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

func (r Report) printEndpoints(page *terminal.Page) {
	if len(r.Endpoints) == 0 {
		return
	}
	var rows [][]string
	for _, row := range r.Endpoints {
		rows = append(rows, []string{
			string(row.ID), join(row.Addresses), row.Kind, cut(row.Owner), row.Verdict, row.Reason, strings.Join(row.Pods, ","),
		})
	}
	page.Table([]string{"ENDPOINT", "IP", "KIND", "OWNER", "VERDICT", "REASON", "POD"}, rows)
	page.Printf("\n")
}

// printPods lists the pods without network.
func (r Report) printPods(page *terminal.Page) {
	if len(r.PodsWithoutNetwork) == 0 {
		return
	}
	page.Printf("These pods run on this node, and no local endpoint has their address: they have no network.\n" +
		"'hnsguard explain NAMESPACE/POD' says what to do.\n")
	var rows [][]string
	for _, pod := range r.PodsWithoutNetwork {
		started := ""
		if !pod.Started.IsZero() {
			started = pod.Started.Format(time.DateTime + "Z")
		}
		rows = append(rows, []string{pod.Name, join(pod.Addresses), started})
	}
	page.Table([]string{"POD", "IP", "STARTED"}, rows)
	page.Printf("\n")
}

// DescribeKubeProxy says in words which version the node's kube-proxy has, and which faults.
func (r Report) DescribeKubeProxy() string {
	faults := strings.Join(r.KubeProxyFaults, ", ")
	switch {
	case !r.KubeProxyKnown:
		return "of unknown version"
	case faults == "":
		return r.KubeProxy + " without known faults"
	default:
		return r.KubeProxy + " with " + faults
	}
}

func (r Report) summary() string {
	shown := len(r.Endpoints)
	switch {
	case shown == 0 && r.Omitted > 0:
		return fmt.Sprintf("None of the %d endpoints matches the filter.", r.Omitted)
	case shown == 0:
		return "HNS has no endpoints."
	}
	s := fmt.Sprintf("%d of %d endpoints would be removed", r.Removable, shown)
	if r.Removable > 0 && r.onlyObserves() {
		s += ", but hnsguard only observes"
	}
	if r.Undecided > 0 {
		s += fmt.Sprintf("; %d cannot be judged", r.Undecided)
	}
	if r.Omitted > 0 {
		s += fmt.Sprintf("; %d do not match the filter", r.Omitted)
	}
	return s + "."
}

// onlyObserves reports whether none of the removable endpoints is removed in this mode.
func (r Report) onlyObserves() bool {
	return !slices.ContainsFunc(r.Endpoints, func(row Row) bool {
		return row.removable() && r.Observes(verdict.Kind(row.Verdict)) == ""
	})
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// ownerWidth is how much of a name the table shows: CNIs use container IDs of 64 digits.
const ownerWidth = 20

func cut(s string) string {
	if len(s) <= ownerWidth {
		return s
	}
	return s[:ownerWidth-1] + "…"
}

func join(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, addr := range addresses {
		texts = append(texts, addr.String())
	}
	return strings.Join(texts, ",")
}
