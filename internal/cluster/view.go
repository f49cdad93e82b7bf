// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// PodID names one pod, and not another that gets its name later.
type PodID struct {
	types.NamespacedName
	UID types.UID
}

// Reference returns what an Event on the pod refers to. kubectl describe shows only Events that carry the UID.
func (id PodID) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: id.Namespace, Name: id.Name, UID: id.UID,
	}
}

// Pod is what a decision needs to know of a pod.
type Pod struct {
	Key types.NamespacedName
	UID types.UID
	// Node is the name of the pod's node.
	Node string
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
	// Controller is what would replace the pod; it is zero for a pod that nothing replaces.
	Controller Controller
	Created    time.Time
}

// Controller is the controlling owner of a pod.
type Controller struct {
	Kind string
	UID  types.UID
}

// ID names the pod.
func (p Pod) ID() PodID { return PodID{NamespacedName: p.Key, UID: p.UID} }

// Live reports whether the pod holds the addresses of its status for itself.
func (p Pod) Live() bool { return !p.HostNetwork && !p.Deleting && !p.Terminal }

// Waiting reports whether the pod is about to be given an address.
func (p Pod) Waiting() bool { return p.Live() && len(p.Addresses) == 0 }

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

	picture   picture
	byAddress map[netip.Addr]podsAt
	waiting   []Pod
	vips      sets.Set[netip.Addr]
}

// PodsWith returns the pods of this node whose status has the address, whatever state they are in. They must not be
// changed.
func (v View) PodsWith(addr netip.Addr) []Pod { return v.byAddress[addr].pods }

// PodIDsWith returns the names of [View.PodsWith]. They must not be changed.
func (v View) PodIDsWith(addr netip.Addr) []PodID { return v.byAddress[addr].ids }

// podsAt are the pods of an address.
type podsAt struct {
	pods []Pod
	ids  []PodID
}

// Waiting returns the pods of this node that are about to be given an address. They must not be changed.
func (v View) Waiting() []Pod { return v.waiting }

// WithPods returns the view with other pods of this node in place of its own.
func (v View) WithPods(pods []Pod) View {
	v.Pods, v.byAddress = pods, map[netip.Addr]podsAt{}
	v.waiting = slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return !p.Waiting() })
	for _, p := range pods {
		for at, addr := range p.Addresses {
			if !slices.Contains(p.Addresses[:at], addr) {
				all := v.byAddress[addr]
				v.byAddress[addr] = podsAt{append(all.pods, p), append(all.ids, p.ID())}
			}
		}
	}
	return v
}

// Listings returns where EndpointSlices list the address. They must not be changed.
func (v View) Listings(addr netip.Addr) []Listing { return v.picture.of(addr) }

// VIP reports whether a Service has the address as a virtual one.
func (v View) VIP(addr netip.Addr) bool { return v.vips.Has(addr) }
