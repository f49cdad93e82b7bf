// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

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
	// Time is the moment for which the node was judged.
	Time time.Time `json:"time"`
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
	// NetworkGone is set if HNS has no pod network. No pod needs one if none lacks it.
	NetworkGone bool `json:"networkGone,omitempty"`
	// PodsWithoutNetwork are pods of the node that lack their network: those that run without an endpoint or with one that
	// is not attached, and those that have been ending for too long. PodsUnknown are those that may.
	PodsWithoutNetwork []Pod `json:"podsWithoutNetwork"`
	PodsUnknown        []Pod `json:"podsUnknown,omitempty"`
	// LeftBehind counts the local endpoints of the node that no pod uses and nothing is attached to.
	LeftBehind int `json:"leftBehind,omitempty"`
	// Duplicates are addresses that several endpoints of the node itself have.
	Duplicates []Duplicate `json:"duplicates,omitempty"`
	// Pods are the pods that the filter names.
	Pods []Pod `json:"pods,omitempty"`
	// History is what the agent has decided and done about the target of an explanation, the last first.
	History []history.Entry `json:"history,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
}

// Duplicate is an address that several endpoints of the node itself have: local ones, or the node's own.
type Duplicate struct {
	Address   netip.Addr       `json:"address"`
	Endpoints []hns.EndpointID `json:"endpoints"`
	// Unused are those that no pod uses.
	Unused []hns.EndpointID `json:"unused,omitempty"`
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
	if !k.Known {
		return "of unknown version"
	}
	return k.Version + " with " + strings.Join(k.Faults, ", ")
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
	Slices []string `json:"slices,omitempty"`
	// Kept are the Services for which hnsguard keeps the address listed, each with the node that needs it.
	Kept          []string             `json:"keptFor,omitempty"`
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
	for _, k := range v.Keeps {
		r.Kept = append(r.Kept, fmt.Sprintf("%s (%s)", k.Service, k.Node))
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
	attention := map[string]int{}
	for _, pod := range r.PodsWithoutNetwork {
		attention[pod.attention()]++
	}
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
		case verdict.Reason(row.Reason).LeftBehind():
			attention["local endpoint~ left behind"]++
		}
	}
	for _, b := range r.LoadBalancers {
		if b.Verdict.Broken() {
			attention["load balancer~ "+strings.ReplaceAll(string(b.Verdict), "_", " ")]++
		}
	}
	r.Duplicates = duplicatesOf(r.Endpoints)
	attention["address~ of several endpoints"] = len(r.Duplicates)
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(attention)) {
		if n := attention[what]; n > 0 {
			parts = append(parts, plural(n, what))
		}
	}
	r.Attention = strings.Join(parts, ", ")
}

// attention is what pods that lack their network are counted as.
func (p Pod) attention() string {
	switch p.State {
	case verdict.PodNotAttached:
		return "pod~ with an endpoint that is not attached"
	case verdict.PodEndingTooLong:
		return "pod~ ending for too long"
	default:
		return "pod~ without network"
	}
}

// plural is a number of things. Their name has a tilde where the ending of the plural belongs.
func plural(n int, name string) string {
	ending := ""
	if n != 1 {
		ending = "s"
		if strings.Contains(name, "s~") {
			ending = "es"
		}
	}
	return fmt.Sprintf("%d %s", n, strings.Replace(name, "~", ending, 1))
}

// duplicatesOf returns the addresses that several endpoints of the node have. What kube-proxy has made is not of it.
func duplicatesOf(rows []Row) []Duplicate {
	all := map[netip.Addr]Duplicate{}
	for _, row := range rows {
		reason := verdict.Reason(row.Reason)
		if reason != verdict.ReasonOfNode && (row.Verdict != string(verdict.Local) || reason == verdict.ReasonOtherNetwork) {
			continue
		}
		for _, addr := range row.Addresses {
			d := all[addr]
			d.Address, d.Endpoints = addr, append(d.Endpoints, row.ID)
			if reason != verdict.ReasonLocalPod {
				d.Unused = append(d.Unused, row.ID)
			}
			all[addr] = d
		}
	}
	maps.DeleteFunc(all, func(_ netip.Addr, d Duplicate) bool { return len(d.Endpoints) < 2 })
	return slices.SortedFunc(maps.Values(all), func(a, b Duplicate) int { return a.Address.Compare(b.Address) })
}

// String says which endpoints share an address.
func (d Duplicate) String() string {
	said := fmt.Sprintf("the endpoints %s all have the address %s, and packets to it may reach the wrong one",
		join(d.Endpoints, ", "), d.Address)
	switch len(d.Unused) {
	case 0:
		return said + "; which of them its pod uses is unknown"
	case len(d.Endpoints):
		return said + "; no pod uses any of them"
	default:
		return said + "; no pod uses " + join(d.Unused, ", ")
	}
}

// Wrong reports whether anything is wrong with the node.
func (r Report) Wrong() bool { return r.Removable > 0 || r.Attention != "" }

// Judged reports whether all that was asked about could be judged.
func (r Report) Judged() bool { return r.Undecided == 0 && len(r.PodsUnknown) == 0 }

// summarize says what a scan comes to.
func (r Report) summarize() string {
	shown := len(r.Endpoints)
	switch {
	case shown == 0 && r.Omitted > 0:
		return fmt.Sprintf("None of the %d endpoints matches the filter.", r.Omitted)
	case shown == 0:
		return "HNS has no endpoints."
	case r.NetworkGone && len(r.PodsWithoutNetwork) == 0:
		return "HNS has no pod network, and no pod on this node needs one: there is nothing to guard."
	case r.NetworkGone:
		return "HNS has no pod network, and pods on this node need one."
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
