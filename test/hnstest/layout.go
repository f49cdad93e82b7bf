// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Layout has the networks of a node, as a distribution creates them.
type Layout struct {
	// Name is the name of the distribution, in lower case.
	Name string
	// Pods is the pod network, and Others are the other networks.
	Pods   LayoutNetwork
	Others []LayoutNetwork
}

// LayoutNetwork is a network of a layout.
type LayoutNetwork struct {
	Name string
	// Type is spelled as the network's creator writes it.
	Type hns.NetworkType
}

// Layouts returns the layouts of the largest clouds. They differ where this matters for finding the pod network.
func Layouts() []Layout { return []Layout{AKS(), EKS()} }

// AKS returns a node with Azure CNI. The node's scripts create a network of the same type for its own connection.
func AKS() Layout {
	return Layout{
		Name: "aks", Pods: LayoutNetwork{"azure", hns.NetworkL2Bridge}, Others: []LayoutNetwork{{"ext", hns.NetworkL2Bridge}},
	}
}

// EKS returns a node with the Amazon VPC CNI, which names its network after a hardware address and writes the type in
// lower case.
func EKS() Layout { return Layout{Name: "eks", Pods: LayoutNetwork{"vpcbr0a1b2c3d4e5f", "l2bridge"}} }

// Build creates the networks of a layout and returns the pod network, which has the subnets. It comes last, as on a
// real node, where the others exist before the first pod.
func (h *HNS) Build(l Layout, subnets ...netip.Prefix) hns.Network {
	for _, other := range l.Others {
		h.CreateNetwork(other.Name, other.Type)
	}
	return h.CreateNetwork(l.Pods.Name, l.Pods.Type, subnets...)
}
