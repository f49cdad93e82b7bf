// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Layout is what networks a node has, as a distribution makes them.
type Layout struct {
	// Name is the distribution's, in lower case.
	Name string
	// Pods is the network of the pods, and Others are beside it.
	Pods   LayoutNetwork
	Others []LayoutNetwork
}

// LayoutNetwork is a network of a layout.
type LayoutNetwork struct {
	Name string
	// Type is spelt as the network's maker writes it.
	Type hns.NetworkType
}

// Layouts lists the layouts of the largest clouds. They differ where it matters for finding the network of the pods.
func Layouts() []Layout { return []Layout{AKS(), EKS()} }

// AKS is a node with Azure CNI. The node's scripts make a network of the same type for its own connection.
func AKS() Layout {
	return Layout{
		Name: "aks", Pods: LayoutNetwork{"azure", hns.NetworkL2Bridge}, Others: []LayoutNetwork{{"ext", hns.NetworkL2Bridge}},
	}
}

// EKS is a node with the Amazon VPC CNI, which names its network after a hardware address and writes the type in lower
// case.
func EKS() Layout { return Layout{Name: "eks", Pods: LayoutNetwork{"vpcbr0a1b2c3d4e5f", "l2bridge"}} }

// Build makes the networks of a layout and returns that of the pods, which has the subnets. It comes last, as on a real
// node, where the others are there before the first pod.
func (h *HNS) Build(l Layout, subnets ...netip.Prefix) hns.Network {
	for _, other := range l.Others {
		h.CreateNetwork(other.Name, other.Type)
	}
	return h.CreateNetwork(l.Pods.Name, l.Pods.Type, subnets...)
}
