// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"iter"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// Listing is one address in one EndpointSlice. Only this file interprets the fields of a slice.
type Listing struct {
	Slice types.NamespacedName
	// Service is the name of the slice's Service in the slice's namespace; it may be empty.
	Service string
	// OtherProxy is set if the slice has the label of another proxy than kube-proxy.
	OtherProxy bool
	Backend
}

// ServiceKey returns the namespace and name of the Service.
func (l Listing) ServiceKey() types.NamespacedName {
	return types.NamespacedName{Namespace: l.Slice.Namespace, Name: l.Service}
}

// Backend is what an EndpointSlice says about an address.
type Backend struct {
	// Node is the node of the backend, or empty if the slice names none: an address outside the cluster, for example.
	Node                        string
	Ready, Serving, Terminating bool
	// Spare is set if the address is not the first one of its endpoint: kube-proxy does not use it.
	Spare bool
}

// Elsewhere reports whether kube-proxy on the node treats the address as remote: the slice names another node, or none.
// Source: newEndpointInfo in pkg/proxy/endpoint.go, which compares only the node's name.
func (b Backend) Elsewhere(node string) bool { return b.Node != node }

// OnAnotherNode reports whether the slice names another node; it names none for an address outside the cluster.
func (b Backend) OnAnotherNode(node string) bool { return b.Node != "" && b.Node != node }

// Claims reports whether the address may receive traffic: the backend is ready, or terminating and still serving.
func (b Backend) Claims() bool { return b.Ready || b.Serving }

// Listings yields every address that a view shows the slice to list (invariant 7), in the order of addresses. It skips
// host names: such slices exist, but do not name HNS endpoints. A nil slice lists nothing.
func Listings(slice *discoveryv1.EndpointSlice) iter.Seq2[netip.Addr, Listing] {
	s := SliceOf(slice)
	return func(yield func(netip.Addr, Listing) bool) {
		for addr, listing := range s.Listings() {
			if s.shows(listing) && !yield(addr, listing) {
				return
			}
		}
	}
}

// backendOf returns what an endpoint of a slice says about its addresses (invariant 4).
func backendOf(endpoint *discoveryv1.Endpoint) Backend {
	ready := ptr.Deref(endpoint.Conditions.Ready, true)
	return Backend{
		Node: ptr.Deref(endpoint.NodeName, ""), Ready: ready,
		Serving:     ptr.Deref(endpoint.Conditions.Serving, ready), // old controllers omit it
		Terminating: ptr.Deref(endpoint.Conditions.Terminating, false),
	}
}

// parse parses an address as leniently as the API server, which accepts leading zeros in old objects.
func parse(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" { // nearly all addresses, without garbage
		return addr.Unmap(), true
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s))
	return addr.Unmap(), ok
}
