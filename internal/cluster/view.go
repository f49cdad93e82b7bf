// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"iter"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// View is the state of the cluster for some addresses, at one moment.
type View struct {
	// Node is the name of this node.
	Node string
	// Pods are the pods on this node.
	Pods []Pod
	// Slices is how many EndpointSlices are known. Every cluster has at least the one of its own API, so zero means that
	// the view cannot be trusted.
	Slices int
	// ServicesKnown is set if Services are watched; otherwise [View.VIP] means nothing.
	ServicesKnown bool
	// OversizedServices are the Services with more addresses than the index keeps.
	OversizedServices []types.NamespacedName

	byAddress map[netip.Addr][]Pod
	listings  map[netip.Addr][]Listing
	vips      sets.Set[netip.Addr]
	keeps     map[netip.Addr][]Keep
}

// PodsWith returns the pods on this node whose status has the address, in whatever state. They must not be changed.
func (v View) PodsWith(addr netip.Addr) []Pod { return v.byAddress[addr] }

// Waiting returns the pods on this node that have yet to get an address.
func (v View) Waiting() []Pod {
	var waiting []Pod
	for i := range v.Pods {
		if v.Pods[i].Waiting() {
			waiting = append(waiting, v.Pods[i])
		}
	}
	return waiting
}

// WithPods returns the view with the given pods in place of its own.
func (v View) WithPods(pods []Pod) View {
	v.Pods, v.byAddress = pods, map[netip.Addr][]Pod{}
	for _, p := range pods {
		for _, addr := range p.Addresses {
			v.byAddress[addr] = append(v.byAddress[addr], p)
		}
	}
	return v
}

// Listings returns the listings of the address, which must be one of the view's addresses. They must not be changed.
func (v View) Listings(addr netip.Addr) []Listing { return v.listings[addr] }

// Keeps returns the keep-slices' listings of the address, including those of other nodes. They must not be changed.
func (v View) Keeps(addr netip.Addr) []Keep { return v.keeps[addr] }

// AllKeeps yields the listings of all keep-slices of all nodes.
func (v View) AllKeeps() iter.Seq[Keep] {
	return func(yield func(Keep) bool) {
		for _, keeps := range v.keeps {
			for _, keep := range keeps {
				if !yield(keep) {
					return
				}
			}
		}
	}
}

// VIP reports whether a Service has the address, which must be one of the view's addresses, as a virtual one, or may
// have it (invariant 6).
func (v View) VIP(addr netip.Addr) bool { return len(v.OversizedServices) > 0 || v.vips.Has(addr) }
