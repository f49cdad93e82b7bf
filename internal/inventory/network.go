// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons why the pod network is unknown.
var (
	// ErrNoPodNetwork says that HNS has no network that pods could be on. Then there is nothing to guard: a node gets its
	// pod network with its first pod, and some CNIs use a network on which kube-proxy creates no endpoints.
	ErrNoPodNetwork = errors.New("no pod network")
	// ErrAmbiguousPodNetwork says that HNS has networks that pods could be on, but either several of them, or none with
	// the configured name.
	ErrAmbiguousPodNetwork = errors.New("pod network is ambiguous")
)

// PodNetwork finds the network that the pods are on.
//
// With a name it is the one network with that name or ID, ignoring case; the name may be a pattern as in [path.Match],
// such as "vpcbr*". Without a name it is chosen among the networks of the types that CNIs use for pods: the only one;
// else the only one with a name that a known CNI uses; else the only one on which kube-proxy has created endpoints,
// because kube-proxy uses only the pod network. It fails with [ErrNoPodNetwork] or [ErrAmbiguousPodNetwork].
func PodNetwork(name string, networks []hns.Network, endpoints []verdict.Endpoint) (hns.Network, error) {
	candidates := filter(networks, forPods)
	none := len(candidates) == 0
	if name != "" {
		candidates = filter(networks, func(n hns.Network) bool {
			return matches(name, n.Name) || strings.EqualFold(string(n.ID), name)
		})
	}
	found := len(candidates)
	for _, narrow := range []func(hns.Network) bool{
		knownCNI, func(n hns.Network) bool { return usedByKubeProxy(n.ID, endpoints) },
	} {
		if some := filter(candidates, narrow); len(candidates) > 1 && len(some) > 0 {
			candidates = some
		}
	}
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case found == 0 && name != "" && !none:
		return hns.Network{}, notFoundError{name, describe(networks)}
	case none:
		return hns.Network{}, fmt.Errorf("%w: %s; HNS has %s", ErrNoPodNetwork, complaint(name, found), describe(networks))
	default:
		return hns.Network{}, fmt.Errorf("%w: %s; HNS has %s",
			ErrAmbiguousPodNetwork, complaint(name, found), describe(networks))
	}
}

// refreshNetworks lists networks again if they may have changed. Their IDs change when HNS restarts and when a network
// is recreated.
func (i *Inventory) refreshNetworks(ctx context.Context, now time.Time) error {
	good := i.opts.NetworksEvery
	if i.networkInUse() {
		good = max(good, i.opts.RereadEvery)
	}
	if now.Sub(i.listed) < good {
		return nil
	}
	networks, err := i.reader.Networks(ctx)
	if err != nil {
		return fmt.Errorf("observing HNS: %w", err)
	}
	i.networks, i.listed = networks, now
	return nil
}

// networkInUse reports whether the pod network is certain: nothing has failed since it was found, and it still has
// endpoints. HNS deletes endpoints with their network, and an endpoint on an unknown network triggers a new list of
// networks: see read.
func (i *Inventory) networkInUse() bool {
	if i.last == nil {
		return false
	}
	for _, e := range i.known {
		if e.Network == i.chosen {
			return true
		}
	}
	return false
}

// lists reports whether the last list of networks has the network.
func (i *Inventory) lists(id hns.NetworkID) bool {
	return slices.ContainsFunc(i.networks, func(n hns.Network) bool { return n.ID == id })
}

// podNetwork finds the pod network. Once found, it stays as long as HNS has it, unless a better one appears: a node may
// get a network that pods could be on before the CNI plugin creates the real one.
func (i *Inventory) podNetwork(ctx context.Context, ids []hns.EndpointID, now time.Time) (hns.Network, error) {
	at := slices.IndexFunc(i.networks, func(n hns.Network) bool { return n.ID == i.chosen })
	if at >= 0 && !now.Equal(i.listed) && i.order != nil {
		return i.networks[at], nil // neither networks nor endpoints have changed
	}
	endpoints := i.inOrder(ids)
	network, err := PodNetwork(i.opts.Network, i.networks, endpoints)
	if at < 0 {
		if i.chosen != "" {
			i.rereadSoon(now) // endpoints may be on other networks now
		}
		i.chosen = network.ID
		return network, err
	}
	if err != nil || network.ID == i.chosen || !better(network.ID, i.chosen, endpoints) {
		return i.networks[at], nil //nolint:nilerr // the network found before is still the best one known
	}
	logf.FromContext(ctx).Info("Another network is that of the pods", "network", network.Name, "networkID", network.ID,
		"before", i.networks[at].Name)
	i.rereadSoon(now)
	i.chosen = network.ID
	return network, nil
}

// better reports whether a network replaces the pod network found before. It does not if kube-proxy uses only the old
// one, whatever the names.
func better(network, before hns.NetworkID, endpoints []verdict.Endpoint) bool {
	return usedByKubeProxy(network, endpoints) || !usedByKubeProxy(before, endpoints)
}

// notFoundError says that no network has the configured name.
type notFoundError struct{ name, networks string }

func (e notFoundError) Error() string {
	return fmt.Sprintf("pod network not found: no network is named %q; HNS has %s", e.name, e.networks)
}

func (notFoundError) Is(target error) bool { return target == ErrAmbiguousPodNetwork }

// matches reports whether a network's name matches a pattern, ignoring case. The pattern has been validated.
func matches(pattern, name string) bool {
	is, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return err == nil && is
}

// forPods reports whether CNIs use such a network for pods. Other networks of the same types are excluded by their
// names, which are the same on every node.
func forPods(n hns.Network) bool {
	switch n.Type {
	case hns.NetworkL2Bridge, hns.NetworkL2Tunnel, hns.NetworkOverlay, "": // recordings may lack the type
		return !slices.ContainsFunc(notForPods(), func(name string) bool { return strings.EqualFold(n.Name, name) })
	default:
		return false
	}
}

// notForPods names the networks that keep the node's own connection ("External" of Calico and flannel, "ext" of AKS,
// "BaseOVNKubernetesHybridOverlayNetwork" of OpenShift), and Azure's network for traffic between host and container.
func notForPods() []string {
	return []string{"External", "ext", "BaseOVNKubernetesHybridOverlayNetwork", "HostNCApipaNetwork"}
}

// knownCNI reports whether the network has the pod network's name of a known CNI: Azure CNI, Amazon VPC CNI, Calico,
// flannel and win-overlay, win-bridge, OpenShift.
func knownCNI(n hns.Network) bool {
	return slices.ContainsFunc([]string{
		"azure", "vpcbr*", "calico*", "flannel.*", "vxlan0", "cbr0", "l2bridge", "OVNKubernetesHybridOverlayNetwork",
	}, func(pattern string) bool { return matches(pattern, n.Name) })
}

func usedByKubeProxy(id hns.NetworkID, endpoints []verdict.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e verdict.Endpoint) bool {
		return e.Network == id && kubeproxy.Owns(e.Endpoint)
	})
}

func complaint(name string, found int) string {
	switch {
	case name != "" && found == 0:
		return fmt.Sprintf("no network is named %q", name)
	case name != "":
		return fmt.Sprintf("%d networks are named %q", found, name)
	case found == 0:
		return "no network is of a type that CNIs use for pods"
	default:
		return "several networks could be that of the pods; name it with --network or config.network"
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
