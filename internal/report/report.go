// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// KindUnknown is the verdict on an endpoint that cannot be judged.
const KindUnknown verdict.Kind = "unknown"

// Report is the judgement of a node. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	// Target is what an explanation is about, such as "pod shop/web". It is empty for a scan.
	Target string `json:"target,omitempty"`
	Node   string `json:"node"`
	// Network is the name of the pod network, or its ID if the dumps do not have the name.
	Network   string    `json:"network"`
	KubeProxy KubeProxy `json:"kubeProxy"`
	// Mode is the upper limit, and Modes what follows for each class of acts.
	Mode  config.Mode            `json:"mode"`
	Modes map[string]config.Mode `json:"modes"`
	// Summary is the whole in a sentence or two.
	Summary string `json:"summary"`
	// Removable and Undecided count reported endpoints: those that would be removed, and those of which it is unknown.
	Removable int `json:"removable"`
	Undecided int `json:"undecided"`
	// Omitted counts the endpoints that the filter does not select.
	Omitted int `json:"omitted"`
	// Attention counts what is wrong although nothing is to be removed, such as "2 held".
	Attention string `json:"attention,omitempty"`
	Endpoints []Row  `json:"endpoints"`
	// LoadBalancers are those that are broken; in an explanation, all that it is about.
	LoadBalancers []Balancer `json:"loadBalancers"`
	// PodsWithoutNetwork are running pods of the node that have no local endpoint.
	PodsWithoutNetwork []Pod `json:"podsWithoutNetwork"`
	// Pods are the pods that the filter names.
	Pods []Pod `json:"pods,omitempty"`
	// History is what the agent has decided and done about the target of an explanation, the last first.
	History []history.Entry `json:"history,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
}

// KubeProxy is what is known of the node's kube-proxy.
type KubeProxy struct {
	Version string `json:"version"`
	// Known is false if the version is unknown. The faults are then those that any version has.
	Known bool `json:"known"`
	// Faults are explained in docs/how-it-works.md.
	Faults []string `json:"faults"`
}

func kubeProxyOf(p kubeproxy.Profile) KubeProxy { return KubeProxy{p.Version, p.Known, p.Faults()} }

func (k KubeProxy) String() string {
	switch {
	case !k.Known:
		return "of unknown version"
	case len(k.Faults) == 0:
		return k.Version + " without known faults"
	default:
		return k.Version + " with " + strings.Join(k.Faults, ", ")
	}
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
	// Answer explains the verdict. Only an explanation has it.
	*Answer
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
		r.Slices = append(r.Slices, fmt.Sprintf("%s (%s)", l.Slice, cmp.Or(l.Node, "no node")))
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

// Compare orders rows: those that need attention come first.
func (r Row) Compare(other Row) int {
	order := []verdict.Kind{
		verdict.Conflict, verdict.EarlyConflict, verdict.Orphan, verdict.Held, verdict.Contested, verdict.LeakedLocal,
		KindUnknown, verdict.OrphanPending, verdict.Protected, verdict.Foreign, verdict.InUse, verdict.Local,
	}
	urgency := func(r Row) int { return slices.Index(order, verdict.Kind(r.Verdict)) }
	return cmp.Or(cmp.Compare(urgency(r), urgency(other)),
		slices.CompareFunc(r.Addresses, other.Addresses, netip.Addr.Compare), cmp.Compare(r.ID, other.ID))
}

// count sums up the rows and the pods.
func (r *Report) count() {
	attention := map[string]int{"pod(s) without network": len(r.PodsWithoutNetwork)}
	for _, row := range r.Endpoints {
		if row.removable() {
			r.Removable++
		}
		if row.undecided() {
			r.Undecided++
		}
		switch kind := verdict.Kind(row.Verdict); {
		case kind == verdict.Contested, kind == verdict.Held:
			attention[row.Verdict]++
		case row.Reason == string(verdict.ReasonLocalLeaked):
			attention["leaked local"]++
		}
	}
	for _, b := range r.LoadBalancers {
		if b.Verdict.Broken() {
			attention["load balancer(s) "+strings.ReplaceAll(string(b.Verdict), "_", " ")]++
		}
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(attention)) {
		if n := attention[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	r.Attention = strings.Join(parts, ", ")
}

// Wrong reports whether anything is wrong with the node.
func (r Report) Wrong() bool { return r.Removable > 0 || r.Attention != "" }

// summarize says what a scan comes to.
func (r Report) summarize() string {
	shown := len(r.Endpoints)
	switch {
	case shown == 0 && r.Omitted > 0:
		return fmt.Sprintf("None of the %d endpoints matches the filter.", r.Omitted)
	case shown == 0:
		return "HNS has no endpoints."
	}
	s := fmt.Sprintf("%d of %d endpoints would be removed", r.Removable, shown)
	if r.Removable > 0 && !slices.ContainsFunc(r.Endpoints, func(row Row) bool {
		return row.removable() && r.observing(verdict.Kind(row.Verdict)) == ""
	}) {
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

// observing returns the setting because of which endpoints with the verdict are never removed, such as "mode: observe".
// It is empty if there is none.
func (r Report) observing(kind verdict.Kind) string {
	class := "conflict"
	if kind == verdict.Orphan || kind == verdict.OrphanPending {
		class = "orphan"
	}
	switch config.Observe {
	case r.Mode:
		return "mode: observe"
	case r.Modes[class]:
		return class + ".mode: observe"
	default:
		return ""
	}
}
