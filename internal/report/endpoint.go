// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// KindUnknown is the verdict on an endpoint that cannot be judged.
const KindUnknown verdict.Kind = "unknown"

// Endpoint is one endpoint of HNS with its verdict.
type Endpoint struct {
	ID        hns.EndpointID `json:"id"`
	Addresses []netip.Addr   `json:"addresses"`
	Network   hns.NetworkID  `json:"network,omitempty"`
	// Attached is set if a container uses the endpoint.
	Attached bool `json:"attached,omitempty"`
	// Kind is local, remote or unknown.
	Kind string `json:"kind"`
	// Owner is "kube-proxy" or "other" for a remote endpoint, and the endpoint's name otherwise.
	Owner   string         `json:"owner"`
	Verdict verdict.Kind   `json:"verdict"`
	Reason  verdict.Reason `json:"reason"`
	Pods    []string       `json:"pods,omitempty"`
	// Slices are the EndpointSlices that list the address, each with the node of the address.
	Slices []string `json:"slices,omitempty"`
	// Kept are the Services for which a keep-slice lists the address, each with the node that needs it.
	Kept          []string             `json:"keptFor,omitempty"`
	Locals        []hns.EndpointID     `json:"localEndpoints,omitempty"`
	LoadBalancers []hns.LoadBalancerID `json:"loadBalancers,omitempty"`
	// StaleSince is when the agent first found the endpoint stale, and Due when the grace period of an orphan ends.
	StaleSince time.Time `json:"staleSince,omitzero"`
	Due        time.Time `json:"due,omitzero"`
	// Answer explains the verdict. It is set only in explanations.
	*Answer
}

// EndpointOf returns the report on a verdict.
func EndpointOf(v verdict.Verdict) Endpoint {
	e := Endpoint{
		ID: v.Endpoint.ID, Addresses: v.Endpoint.Addresses, Kind: "local", Owner: v.Endpoint.Name,
		Verdict: v.Kind, Reason: v.Reason, Locals: v.Locals, LoadBalancers: v.LoadBalancers,
		Network: v.Endpoint.Network, Attached: v.Endpoint.Attached(), Due: v.Due.UTC(),
	}
	if v.Endpoint.Remote() {
		e.Kind, e.Owner = "remote", "other"
		if kubeproxy.Owns(v.Endpoint) {
			e.Owner = "kube-proxy"
		}
	}
	for _, pod := range v.Pods {
		e.Pods = append(e.Pods, pod.String())
	}
	for _, l := range v.Listings {
		e.Slices = append(e.Slices, fmt.Sprintf("%s (%s)", l.Slice, cmp.Or(l.Node, "no node")))
	}
	for _, k := range v.Keeps {
		e.Kept = append(e.Kept, fmt.Sprintf("%s (%s)", k.Service, k.Node))
	}
	return e
}

func unknownEndpoint(e hns.Endpoint, reason string) Endpoint {
	kind := "unknown"
	if e.Remote() {
		kind = "remote"
	}
	return Endpoint{
		ID: e.ID, Addresses: e.Addresses, Kind: kind, Owner: e.Name, Verdict: KindUnknown,
		Reason: verdict.Reason(reason),
	}
}

// removable reports whether the endpoint would be removed.
func (e Endpoint) removable() bool { return e.Verdict.Removes() }

// undecided reports whether the recording is insufficient to tell whether the endpoint would be removed.
func (e Endpoint) undecided() bool {
	switch e.Reason {
	case verdict.ReasonLoadBalancersUnknown, verdict.ReasonServicesUnknown, verdict.ReasonNoSlices:
		return true
	default:
		return e.Verdict == KindUnknown
	}
}

// Compare orders endpoints: those that need attention first.
func (e Endpoint) Compare(other Endpoint) int {
	order := []verdict.Kind{
		verdict.Conflict, verdict.EarlyConflict, verdict.Orphan, verdict.Held, verdict.Contested, verdict.LeakedLocal,
		KindUnknown, verdict.OrphanPending, verdict.Protected, verdict.Foreign, verdict.InUse, verdict.Local,
	}
	urgency := func(e Endpoint) int { return slices.Index(order, e.Verdict) }
	return cmp.Or(cmp.Compare(urgency(e), urgency(other)),
		slices.CompareFunc(e.Addresses, other.Addresses, netip.Addr.Compare), cmp.Compare(e.ID, other.ID))
}

// target returns the argument that explains the endpoint.
func (e Endpoint) target() string {
	if len(e.Addresses) > 0 {
		return e.Addresses[0].String()
	}
	return string(e.ID)
}

// listedElsewhere returns the EndpointSlices that list the address on another node, or on none.
func (e Endpoint) listedElsewhere(node string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(e.Slices), func(listed string) bool {
		return strings.HasSuffix(listed, " ("+node+")")
	}), ", ")
}
