// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// Record describes what this node's kube-proxy may hold in its record of terminated endpoints. It only matters for a
// profile with [kubeproxy.Profile.StaleRecord]. The zero Record may hold every address.
type Record struct {
	// KnownIPv4 and KnownIPv6 are set if kube-proxy's record of the family is known to hold no addresses but Dropped.
	KnownIPv4, KnownIPv6 bool
	// Dropped are the addresses that EndpointSlices have dropped and that kube-proxy is not known to have forgotten since.
	// It must not be changed.
	Dropped sets.Set[netip.Addr]
}

// MayHold reports whether the record may hold the address.
func (r Record) MayHold(addr netip.Addr) bool {
	known := r.KnownIPv4
	if addr.Is6() {
		known = r.KnownIPv6
	}
	return !known || r.Dropped.Has(addr)
}

// WantedKeeps returns the keep-slices that this node needs: while a pod on this node has an address, or a new local
// endpoint with it can only belong to a waiting pod, no Service that lists the address elsewhere may drop it. An
// affected kube-proxy answers the drop by deleting the pod's endpoint.
//
// A keep-slice counts as such a listing: its deletion is a drop as well. This node's own stays wanted even while any
// local endpoint has the address, unless it was left behind: whose endpoint it is may show later. On an overlay network
// no keep-slices are wanted: the remote endpoints that they keep on other nodes have the provider address of the former
// node.
func WantedKeeps(e Evidence) sets.Set[cluster.Keep] {
	wanted := sets.New[cluster.Keep]()
	if !e.KubeProxy.StaleRecord || e.Snapshot.Network.Type == hns.NetworkOverlay {
		return wanted
	}
	d := prepareLocals(e)
	for addr, locals := range d.locals {
		if d.inUseHere(addr, locals) {
			for _, service := range d.servicesThatMayDrop(addr) {
				wanted.Insert(cluster.Keep{Service: service, Node: d.Cluster.Node, Address: addr})
			}
		} else if slices.ContainsFunc(locals, func(l *Endpoint) bool { return !d.left.Has(l.ID) }) {
			wanted.Insert(d.ownKeeps(addr)...)
		}
	}
	return wanted
}

func (d *decision) ownKeeps(addr netip.Addr) []cluster.Keep {
	others := func(k cluster.Keep) bool { return k.Node != d.Cluster.Node }
	return slices.DeleteFunc(slices.Clone(d.Cluster.Keeps(addr)), others)
}

// inUseHere reports whether a pod on this node may use the address of the local endpoints. A pod that is being deleted
// still may.
func (d *decision) inUseHere(addr netip.Addr, locals []*Endpoint) bool {
	pods := d.podsUsing(addr)
	if slices.ContainsFunc(pods, func(p cluster.Pod) bool { return p.HostNetwork }) || d.Cluster.VIP(addr) {
		return false
	}
	return len(pods) > 0 && slices.ContainsFunc(locals, attached) ||
		slices.ContainsFunc(locals, func(l *Endpoint) bool { return d.arrivals.Has(l.ID) })
}

// servicesThatMayDrop returns the Services whose EndpointSlices list the address elsewhere, or keep it.
func (d *decision) servicesThatMayDrop(addr netip.Addr) []types.NamespacedName {
	var services []types.NamespacedName
	for _, l := range d.Cluster.Listings(addr) {
		if d.isElsewhere(l) && keepable(l) {
			services = append(services, l.ServiceKey())
		}
	}
	for _, keep := range d.Cluster.Keeps(addr) {
		services = append(services, keep.Service)
	}
	return services
}

// keepable reports whether a keep-slice can keep kube-proxy from recording that the slice drops its address.
func keepable(l cluster.Listing) bool { return l.Service != "" && !l.OtherProxy }

// mayBeDropped reports whether dropping the listing may reach kube-proxy's record: not if the Service has a keep-slice
// of this node for the address.
func (d *decision) mayBeDropped(l cluster.Listing, addr netip.Addr) bool {
	return d.isElsewhere(l) && !slices.Contains(d.Cluster.Keeps(addr),
		cluster.Keep{Service: l.ServiceKey(), Node: d.Cluster.Node, Address: addr})
}
