// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Pod is what a decision needs to know of a pod of this node.
type Pod struct {
	Key types.NamespacedName
	UID types.UID
	// Addresses are the IPs of its status; there are none until the kubelet has reported them.
	Addresses []netip.Addr
	// HostNetwork is set for pods in the host's network, HostProcess pods among them. Their addresses are the node's.
	HostNetwork bool
	// Deleting is set from the moment the API was asked to delete the pod. The status keeps its addresses until the end.
	Deleting bool
	// Terminal is set once the pod has succeeded or failed. The status keeps its addresses, which may be in use again.
	Terminal bool
	// Running is set while the pod's phase is Running.
	Running bool
	// Controlled is set when a controller would replace the pod.
	Controlled bool
	Created    time.Time
}

// Live reports whether the pod holds the addresses of its status for itself.
func (p Pod) Live() bool { return !p.HostNetwork && !p.Deleting && !p.Terminal }

// Waiting reports whether the pod is about to be given an address.
func (p Pod) Waiting() bool { return p.Live() && len(p.Addresses) == 0 }

// Listing is one address in one EndpointSlice.
type Listing struct {
	Slice types.NamespacedName
	// Service is the name of the slice's Service in the slice's namespace; it may be empty.
	Service string
	// Node is where the endpoint is, or empty if the slice does not say: an address outside the cluster, for example.
	Node string
	// Pod is the UID of the pod behind the address, or empty.
	Pod                         types.UID
	Ready, Serving, Terminating bool
}

// View is what the cluster says about some addresses at one moment.
type View struct {
	// Node is the name of this node.
	Node string
	// Pods are the pods of this node.
	Pods []Pod
	// Slices is how many EndpointSlices are known. A cluster has at least that of its own API, so that zero means that
	// the view is not to be trusted.
	Slices int
	// ServicesKnown is set when Services are watched; VIPs is complete only then.
	ServicesKnown bool

	listings map[netip.Addr][]Listing
	vips     map[netip.Addr]bool
}

// PodsWith returns the pods of this node whose status has the address, whatever state they are in.
func (v View) PodsWith(addr netip.Addr) []Pod {
	var found []Pod
	for _, p := range v.Pods {
		if slices.Contains(p.Addresses, addr) {
			found = append(found, p)
		}
	}
	return found
}

// Waiting returns the pods of this node that are about to be given an address.
func (v View) Waiting() []Pod {
	return slices.DeleteFunc(slices.Clone(v.Pods), func(p Pod) bool { return !p.Waiting() })
}

// Listings returns where EndpointSlices list the address.
func (v View) Listings(addr netip.Addr) []Listing { return v.listings[addr] }

// VIP reports whether a Service has the address as a virtual one.
func (v View) VIP(addr netip.Addr) bool { return v.vips[addr] }
