// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// Sharing says whether pods on other nodes may have had the addresses of a node's pods.
type Sharing string

// The values, from the strongest evidence to none.
const (
	// Moved: a pod on the node has an address that is still known on another node, from a pod or an EndpointSlice.
	Moved Sharing = "moved"
	// Shared: the node's pods and those of other nodes get addresses from one pool.
	Shared Sharing = "shared"
	// OwnRange: the node's pods get addresses from a range that only this node has.
	OwnRange Sharing = "own range"
	// SharingUnknown: there is no evidence.
	SharingUnknown Sharing = "unknown"
)

// Addresses describes where a node's pods get their addresses from.
type Addresses struct {
	Sharing Sharing `json:"sharing"`
	// Why is the evidence.
	Why string `json:"why"`
}

// holder is an object that has, or had, an address.
type holder struct {
	addr       netip.Addr
	node, kind string
	key        types.NamespacedName
}

func (h holder) sameNode(other holder) bool { return h.node == other.node }

func (h holder) object() string { return h.kind + " " + h.key.String() }

func (h holder) String() string { return h.object() + " on node " + h.node }

// addressBook has the addresses of the cluster's pods. It does not have the addresses of nodes.
type addressBook struct {
	// ranges are the address ranges of each node, and blocks those that Calico has assigned to it.
	ranges, blocks map[string][]netip.Prefix
	// living are the pods that have not ended, by node.
	living map[string][]holder
	// holders also has pods that have ended, and endpoints of EndpointSlices.
	holders map[netip.Addr][]holder
	// neighbours has one living pod per node in each subnet.
	neighbours map[netip.Prefix][]holder
	// unread says what could not be read. If it is set, a lack of evidence proves nothing (invariant 1).
	unread string
}

func newAddressBook() *addressBook {
	return &addressBook{
		ranges: map[string][]netip.Prefix{}, blocks: map[string][]netip.Prefix{},
		living: map[string][]holder{}, holders: map[netip.Addr][]holder{}, neighbours: map[netip.Prefix][]holder{},
	}
}

// hybridSubnet is the annotation for the range of a node that OVN-Kubernetes does not manage itself.
const hybridSubnet = "k8s.ovn.org/hybrid-overlay-node-subnet"

func (b *addressBook) addNode(n *corev1.Node) {
	cidrs := n.Spec.PodCIDRs
	if subnet := n.Annotations[hybridSubnet]; subnet != "" {
		cidrs = append(cidrs, subnet)
	}
	for _, cidr := range cidrs {
		addPrefix(b.ranges, n.Name, cidr)
	}
}

// addPrefix adds a prefix to those of a node. It ignores a prefix that cannot be parsed.
func addPrefix(to map[string][]netip.Prefix, node, cidr string) {
	if prefix, err := netip.ParsePrefix(cidr); err == nil {
		to[node] = append(to[node], prefix)
	}
}

func (b *addressBook) addPod(p *corev1.Pod) {
	pod := cluster.PodOf(p)
	if pod.HostNetwork || pod.Node == "" {
		return
	}
	for _, addr := range pod.Addresses {
		h := holder{addr, pod.Node, "pod", pod.Key}
		b.holders[addr] = append(b.holders[addr], h)
		if pod.Terminal {
			continue
		}
		b.living[h.node] = append(b.living[h.node], h)
		if subnet := subnetAround(addr); !slices.ContainsFunc(b.neighbours[subnet], h.sameNode) {
			b.neighbours[subnet] = append(b.neighbours[subnet], h)
		}
	}
}

func (b *addressBook) addSlice(s *discoveryv1.EndpointSlice) {
	for _, e := range s.Endpoints {
		if e.NodeName == nil {
			continue
		}
		for _, text := range e.Addresses {
			if addr, err := hns.ParseAddr(text); err == nil {
				h := holder{addr, *e.NodeName, "an endpoint of EndpointSlice", client.ObjectKeyFromObject(s)}
				b.holders[addr] = append(b.holders[addr], h)
			}
		}
	}
}

// subnetAround returns the subnet in which addresses count as neighbours: as large as the usual range of a node.
func subnetAround(addr netip.Addr) netip.Prefix {
	bits := 24
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // the length fits
	return prefix
}

// of judges a node by the strongest evidence.
func (b *addressBook) of(node string) Addresses {
	pods, ranges, blocks := b.living[node], b.ranges[node], b.blocks[node]
	here, there := b.moved(pods)
	if there != nil {
		return Addresses{Moved, fmt.Sprintf("%s of %s is also that of %s", here.addr, here.object(), there)}
	}
	switch {
	case len(pods) == 0 && b.unread != "":
		return Addresses{SharingUnknown, b.unread}
	case len(pods) == 0:
		return Addresses{SharingUnknown, "no pod with an address of its own runs on it"}
	case len(blocks) > 0 && len(b.blocks) > 1:
		return Addresses{Shared, fmt.Sprintf("Calico lends it blocks such as %s, and others to %d more nodes; a block that "+
			"is released may go to any node", blocks[0], len(b.blocks)-1)}
	case !slices.ContainsFunc(pods, func(h holder) bool { return !within(ranges, h.addr) }):
		return Addresses{OwnRange, fmt.Sprintf("its pods have addresses of its own range, %s", ranges[0])}
	}
	if here, there = b.neighbouring(pods); there != nil {
		return Addresses{Shared, fmt.Sprintf("%s has %s, and %s has %s", here.object(), here.addr, there, there.addr)}
	}
	return Addresses{SharingUnknown, "the addresses of its pods are in no range that is the node's, and no pod on " +
		"another node has one of the same subnet"}
}

// moved finds a pod whose address is also known on another node.
func (b *addressBook) moved(pods []holder) (here holder, there *holder) {
	for _, here := range pods {
		for _, there := range b.holders[here.addr] {
			if !here.sameNode(there) {
				return here, &there
			}
		}
	}
	return holder{}, nil
}

// neighbouring finds a pod with a neighbour on another node.
func (b *addressBook) neighbouring(pods []holder) (here holder, there *holder) {
	for _, here := range pods {
		for _, there := range b.neighbours[subnetAround(here.addr)] {
			if !here.sameNode(there) {
				return here, &there
			}
		}
	}
	return holder{}, nil
}

func within(ranges []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
}
