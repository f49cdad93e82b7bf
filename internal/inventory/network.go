// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// ErrNoPodNetwork says that it is not known which HNS network the pods are on.
var ErrNoPodNetwork = errors.New("pod network not found")

// PodNetwork finds the network that the pods are on. With a name it is the one network of that name, in any case, or
// of that ID. Without one it is the only network of a type that CNIs use for pods; if there are several, the only one
// of them on which kube-proxy has made endpoints, because it uses no other network than the pods'. It fails with
// [ErrNoPodNetwork].
func PodNetwork(name string, networks []hns.Network, endpoints []Endpoint) (hns.Network, error) {
	var candidates []hns.Network
	if name != "" {
		candidates = filter(networks, func(n hns.Network) bool {
			return strings.EqualFold(n.Name, name) || strings.EqualFold(string(n.ID), name)
		})
	} else {
		candidates = filter(networks, forPods)
		if len(candidates) > 1 {
			candidates = filter(candidates, func(n hns.Network) bool { return usedByKubeProxy(n.ID, endpoints) })
		}
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	return hns.Network{}, fmt.Errorf("%w: %s; HNS has %s",
		ErrNoPodNetwork, complaint(name, len(candidates)), describe(networks))
}

// forPods reports whether CNIs use networks like this one for pods. Two kinds that look alike are left out by the names
// that their makers give them everywhere: "External", which Calico and flannel make to keep the node's own connection,
// and Azure's network for traffic between host and container.
func forPods(n hns.Network) bool {
	switch n.Type {
	case hns.NetworkL2Bridge, hns.NetworkL2Tunnel, hns.NetworkOverlay, "": // recordings may not tell the type
		return !strings.EqualFold(n.Name, "External") && !strings.EqualFold(n.Name, "HostNCApipaNetwork")
	default:
		return false
	}
}

func usedByKubeProxy(id hns.NetworkID, endpoints []Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e Endpoint) bool { return e.Network == id && kubeproxy.Owns(e.Endpoint) })
}

func complaint(name string, found int) string {
	switch {
	case name != "" && found == 0:
		return fmt.Sprintf("there is none called %q", name)
	case name != "":
		return fmt.Sprintf("%d are called %q", found, name)
	default:
		return "it is not clear which network is the pods'; name it with --network or $KUBE_NETWORK"
	}
}

func describe(networks []hns.Network) string {
	if len(networks) == 0 {
		return "no networks at all"
	}
	descriptions := make([]string, 0, len(networks))
	for _, n := range networks {
		descriptions = append(descriptions, fmt.Sprintf("%q (%s, %s)", n.Name, orUnknown(string(n.Type)), n.ID))
	}
	slices.Sort(descriptions)
	return strings.Join(descriptions, ", ")
}

func orUnknown(s string) string {
	if s == "" {
		return "type unknown"
	}
	return s
}

func filter(networks []hns.Network, keep func(hns.Network) bool) []hns.Network {
	return slices.DeleteFunc(slices.Clone(networks), func(n hns.Network) bool { return !keep(n) })
}
