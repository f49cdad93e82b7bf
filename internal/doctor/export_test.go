// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Judge judges where the pods on a node get their addresses from. blocks are Calico's, by node.
func Judge(
	node string, nodes []*corev1.Node, pods []*corev1.Pod, endpointSlices []*discoveryv1.EndpointSlice,
	blocks map[string]string,
) Addresses {
	book := newAddressBook()
	for _, n := range nodes {
		book.addNode(n)
	}
	for _, p := range pods {
		book.addPod(p)
	}
	for _, s := range endpointSlices {
		book.addSlice(s)
	}
	for node, cidr := range blocks {
		addPrefix(book.blocks, node, cidr)
	}
	return book.of(node)
}

// Unfit returns why a node cannot run the agent.
var Unfit = unfit

// IsAffected returns whether a node is affected.
var IsAffected = affected
