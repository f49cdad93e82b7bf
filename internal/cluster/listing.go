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

// Listing is one address in one EndpointSlice. This file is the only place that says what the fields of a slice mean.
type Listing struct {
	Slice types.NamespacedName
	// Service is the name of the slice's Service in the slice's namespace; it may be empty.
	Service string
	// OtherProxy is set if the slice is labelled for another proxy than kube-proxy.
	OtherProxy bool
	Backend
}

// ServiceKey is the name of the Service with its namespace.
func (l Listing) ServiceKey() types.NamespacedName {
	return types.NamespacedName{Namespace: l.Slice.Namespace, Name: l.Service}
}

// Backend is what an EndpointSlice says about an address.
type Backend struct {
	// Node is where the backend is, or empty if the slice does not say: an address outside the cluster, for example.
	Node                        string
	Ready, Serving, Terminating bool
	// Spare is set if the address is not the first one of its endpoint: kube-proxy does not use it.
	Spare bool
}

// Elsewhere reports whether the address is that of a remote endpoint for the kube-proxy on the node: the slice names
// another node, or none. Source: newEndpointInfo in pkg/proxy/endpoint.go, which compares the node's name only.
func (b Backend) Elsewhere(node string) bool { return b.Node != node }

// OnAnotherNode reports whether the slice names another node of the cluster. It does not for an address outside of it.
func (b Backend) OnAnotherNode(node string) bool { return b.Node != "" && b.Node != node }

// Claims reports whether traffic may be sent to the address: the backend is ready, or terminates and still serves.
func (b Backend) Claims() bool { return b.Ready || b.Serving }

// Listings yields every address that the slice lists, in the order of addresses. Host names are skipped: such slices
// exist, and name no HNS endpoint. A nil slice lists nothing.
func Listings(slice *discoveryv1.EndpointSlice) iter.Seq2[netip.Addr, Listing] {
	return SliceOf(slice).Listings()
}

// backendOf returns what an endpoint of a slice says about its addresses (invariant 4).
func backendOf(endpoint *discoveryv1.Endpoint) Backend {
	ready := ptr.Deref(endpoint.Conditions.Ready, true)
	return Backend{
		Node: ptr.Deref(endpoint.NodeName, ""), Ready: ready,
		Serving:     ptr.Deref(endpoint.Conditions.Serving, ready), // old controllers leave it out
		Terminating: ptr.Deref(endpoint.Conditions.Terminating, false),
	}
}

// parse reads an address as leniently as the API server does, which accepts leading zeros in old objects.
func parse(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" { // nearly all, without garbage
		return addr.Unmap(), true
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s))
	return addr.Unmap(), ok
}
