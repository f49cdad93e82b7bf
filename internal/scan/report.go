// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
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
	// KubeProxyFaults are the faults of the version, or all if it is unknown. docs/kube-proxy.md explains them.
	KubeProxyFaults []string `json:"kubeProxyFaults"`
	Mode            string   `json:"mode"`
	// Removable and Undecided count reported endpoints: those that would be removed, and those of which it is unknown.
	Removable int `json:"removable"`
	Undecided int `json:"undecided"`
	// Omitted counts the endpoints that the filter does not select.
	Omitted   int      `json:"omitted"`
	Endpoints []Row    `json:"endpoints"`
	Notes     []string `json:"notes,omitempty"`
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

func rowOf(v verdict.Verdict) Row {
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
		where := l.Node
		if where == "" {
			where = "no node"
		}
		r.Slices = append(r.Slices, fmt.Sprintf("%s (%s)", l.Slice, where))
	}
	return r
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
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(urgency(a.Verdict), urgency(b.Verdict)), compareAddresses(a, b), cmp.Compare(a.ID, b.ID))
	})
	selected, notes := in.Filter.apply(rows, in.Cluster)
	r := Report{
		Node: in.Node, Network: cmp.Or(network.Name, string(network.ID)), KubeProxy: in.KubeProxy.Version,
		KubeProxyKnown:  in.KubeProxy.Known,
		KubeProxyFaults: in.KubeProxy.Faults(), Mode: string(in.Config.Mode),
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
	out := &strings.Builder{}
	fmt.Fprintf(out, "Node %s, pod network %s, kube-proxy %s\n\n", r.Node, orDash(r.Network), r.DescribeKubeProxy())
	if len(r.Endpoints) > 0 {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "ENDPOINT\tIP\tKIND\tOWNER\tVERDICT\tREASON\tPOD")
		for _, row := range r.Endpoints {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
				row.ID, join(row.Addresses), row.Kind, cut(orDash(row.Owner)), row.Verdict, row.Reason,
				orDash(strings.Join(row.Pods, ",")))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(out)
	}
	fmt.Fprintln(out, r.summary())
	for _, note := range r.Notes {
		fmt.Fprintf(out, "Note: %s.\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
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
	if r.Undecided > 0 {
		s += fmt.Sprintf("; %d cannot be judged", r.Undecided)
	}
	if r.Omitted > 0 {
		s += fmt.Sprintf("; %d do not match the filter", r.Omitted)
	}
	return s + "."
}

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
	return orDash(strings.Join(slices.Clip(texts), ","))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
