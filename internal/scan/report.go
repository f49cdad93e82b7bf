// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hnsguard/hnsguard/internal/hns"
	hnsdump "github.com/hnsguard/hnsguard/internal/hns/recorded"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// KindUnknown is the verdict on an endpoint of which too little was recorded to judge it.
const KindUnknown verdict.Kind = "unknown"

// Report is what a scan found. Its JSON form is for scripts; fields are added to it, but not changed.
type Report struct {
	Node           string `json:"node"`
	Network        string `json:"network"`
	KubeProxy      string `json:"kubeProxyVersion"`
	KubeProxyKnown bool   `json:"kubeProxyKnown"`
	// KubeProxyFaults are those that the version has, all if it is unknown; docs/kube-proxy.md explains them.
	KubeProxyFaults []string `json:"kubeProxyFaults"`
	Mode            string   `json:"mode"`
	Removable       int      `json:"removable"`
	Endpoints       []Row    `json:"endpoints"`
	Notes           []string `json:"notes,omitempty"`
}

// Row is one endpoint.
type Row struct {
	ID        hns.EndpointID `json:"id"`
	Addresses []netip.Addr   `json:"addresses"`
	// Kind is local, remote or unknown.
	Kind string `json:"kind"`
	// Owner is who made the endpoint, as far as that can be told: kube-proxy, other, or the name of a local endpoint.
	Owner   string   `json:"owner"`
	Verdict string   `json:"verdict"`
	Reason  string   `json:"reason"`
	Pods    []string `json:"pods,omitempty"`
	// Slices are the EndpointSlices that list the address, with the node that they give it.
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
		r.Pods = append(r.Pods, pod.NamespacedName.String())
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

func unknownRow(e hns.Endpoint, gap hnsdump.Gap) Row {
	kind := "local"
	switch {
	case gap.Has(hnsdump.GapKind):
		kind = "unknown"
	case e.Remote():
		kind = "remote"
	}
	return Row{
		ID: e.ID, Addresses: e.Addresses, Kind: kind, Owner: e.Name, Verdict: string(KindUnknown),
		Reason: "not recorded: " + gap.String(),
	}
}

// Print writes the report for people.
func (r Report) Print(w io.Writer) error {
	version := r.KubeProxy
	if !r.KubeProxyKnown {
		version = "unknown"
	}
	out := &strings.Builder{}
	faults := "without known faults"
	if len(r.KubeProxyFaults) > 0 {
		faults = "with " + strings.Join(r.KubeProxyFaults, ", ")
	}
	fmt.Fprintf(out, "Node %s, pod network %s, kube-proxy %s %s\n\n", r.Node, orDash(r.Network), version, faults)
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
	fmt.Fprintf(out, "\n%s\n", r.summary())
	for _, note := range r.Notes {
		fmt.Fprintf(out, "Note: %s.\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Report) summary() string {
	if r.Removable == 0 {
		return fmt.Sprintf("None of %d endpoints would be removed.", len(r.Endpoints))
	}
	return fmt.Sprintf("%d of %d endpoints would be removed.", r.Removable, len(r.Endpoints))
}

// ownerWidth is how much of a name the table shows: CNIs put container IDs of 64 digits into them.
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
