// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"iter"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	netutils "k8s.io/utils/net"
)

// Listing is one address in one EndpointSlice. This file is the only place that says what the fields of a slice mean.
type Listing struct {
	Slice types.NamespacedName
	// Service is the name of the slice's Service in the slice's namespace; it may be empty.
	Service string
	// Node is where the endpoint is, or empty if the slice does not say: an address outside the cluster, for example.
	Node                        string
	Ready, Serving, Terminating bool
}

// Elsewhere reports whether the address is that of a remote endpoint for the kube-proxy of the node: the slice names
// another node, or none. Source: newEndpointInfo in pkg/proxy/endpoint.go, which compares the node's name only.
func (l Listing) Elsewhere(node string) bool { return l.Node != node }

// OnAnotherNode reports whether the slice names another node of the cluster. It does not for an address outside of it.
func (l Listing) OnAnotherNode(node string) bool { return l.Node != "" && l.Node != node }

// Claims reports whether traffic may be sent to the address: the endpoint is ready, or terminates and still serves.
func (l Listing) Claims() bool { return l.Ready || l.Serving }

// Listings yields every address that the slice lists. Host names are skipped: such slices exist, and name no HNS
// endpoint. A nil slice lists nothing.
func Listings(slice *discoveryv1.EndpointSlice) iter.Seq2[netip.Addr, Listing] {
	return func(yield func(netip.Addr, Listing) bool) {
		if slice == nil {
			return
		}
		of := Listing{Slice: keyOf(slice), Service: slice.Labels[discoveryv1.LabelServiceName]}
		for i := range slice.Endpoints {
			listing := of.at(&slice.Endpoints[i])
			for _, text := range slice.Endpoints[i].Addresses {
				if addr, ok := parse(text); ok && !yield(addr, listing) {
					return
				}
			}
		}
	}
}

// at returns the listing of an endpoint in the same slice.
func (l Listing) at(endpoint *discoveryv1.Endpoint) Listing {
	// Invariant 4. A serving condition that is missing has the value of ready, as in slices of old controllers.
	l.Ready = endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
	l.Serving = l.Ready
	if endpoint.Conditions.Serving != nil {
		l.Serving = *endpoint.Conditions.Serving
	}
	if endpoint.Conditions.Terminating != nil {
		l.Terminating = *endpoint.Conditions.Terminating
	}
	if endpoint.NodeName != nil {
		l.Node = *endpoint.NodeName
	}
	return l
}

// parse reads an address as leniently as the API server does, which accepts leading zeros in old objects.
func parse(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" { // nearly all, without garbage
		return addr.Unmap(), true
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s))
	return addr.Unmap(), ok
}

// LabelServiceProxyName marks what is for another proxy than kube-proxy.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"
