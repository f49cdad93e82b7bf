// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// PodState is the closed set of how a pod and the HNS of the node belong together.
type PodState string

// The states. All but [PodAttached] are of pods whose local endpoint HNS of this node does not have.
const (
	// PodAttached: a local endpoint has an address of the pod.
	PodAttached PodState = "attached"
	// PodWithoutNetwork: the pod runs on this node, and no local endpoint has an address of it.
	PodWithoutNetwork PodState = "without-network"
	// PodStarting: the pod does not run yet or has only just begun to, and has no local endpoint so far.
	PodStarting PodState = "starting"
	// PodUnscheduled: the pod has no node yet.
	PodUnscheduled PodState = "unscheduled"
	// PodElsewhere: the pod is on another node.
	PodElsewhere PodState = "on-another-node"
	// PodHostNetwork: the pod uses the network of its node, as HostProcess pods do. It has no endpoint anywhere.
	PodHostNetwork PodState = "host-network"
	// PodDeleting: the pod is being deleted. Its endpoint goes before the pod does.
	PodDeleting PodState = "deleting"
	// PodEnded: the pod has succeeded or failed. Its address may be that of another pod.
	PodEnded PodState = "ended"
	// PodUnknown: an endpoint that was not recorded whole may be that of the pod.
	PodUnknown PodState = "unknown"
)

// Pod is a pod and how it belongs to the HNS of the node.
type Pod struct {
	// Name is the name of the pod, as namespace/name.
	Name  string   `json:"name"`
	State PodState `json:"state"`
	// Node is the node of the pod, and NodeOS the operating system of that if it is known.
	Node      string       `json:"node,omitempty"`
	NodeOS    string       `json:"nodeOS,omitempty"`
	Phase     string       `json:"phase"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Created   time.Time    `json:"created,omitzero"`
	Started   time.Time    `json:"started,omitzero"`
}

// podStates tells the state of pods.
type podStates struct {
	in Input
	// local are the addresses of local endpoints, and obscured those endpoints that may have others.
	local    sets.Set[netip.Addr]
	obscured []hns.Endpoint
}

func (in Input) podStates() podStates {
	s := podStates{in: in, local: sets.New[netip.Addr]()}
	for _, e := range in.HNS.Endpoints {
		switch {
		case e.Remote():
		case in.HNS.Incomplete[e.ID] != "", e.Untranslated != "" && len(e.Addresses) == 0:
			s.obscured = append(s.obscured, e)
		default:
			s.local.Insert(e.Addresses...)
		}
	}
	return s
}

func (s podStates) of(pod *corev1.Pod) Pod {
	known := cluster.PodOf(pod)
	return Pod{
		Name: known.Key.String(), State: s.state(known, startOf(pod)), Node: known.Node, NodeOS: s.osOf(pod),
		Phase: string(pod.Status.Phase), Addresses: known.Addresses, Created: known.Created.UTC(),
		Started: startOf(pod).UTC(),
	}
}

// state looks at what explains a missing endpoint first: only a pod that should have one can lack it. A pod is said to
// lack it by the rule of package eviction.
func (s podStates) state(p cluster.Pod, started time.Time) PodState {
	switch {
	case p.Terminal:
		return PodEnded
	case p.Node == "":
		return PodUnscheduled
	case p.HostNetwork:
		return PodHostNetwork
	case p.Node != s.in.Node:
		return PodElsewhere
	case s.local.HasAny(p.Addresses...):
		return PodAttached
	case p.Deleting:
		return PodDeleting
	case len(p.Addresses) == 0 || !p.Running || s.in.Now.Sub(started) < s.in.Config.Eviction.After.Duration:
		return PodStarting
	case slices.ContainsFunc(s.obscured, func(e hns.Endpoint) bool { return mayHave(e, p.Addresses) }):
		return PodUnknown
	default:
		return PodWithoutNetwork
	}
}

// mayHave reports whether an endpoint that is not known whole may have one of the addresses.
func mayHave(e hns.Endpoint, addresses []netip.Addr) bool {
	return len(e.Addresses) == 0 || slices.ContainsFunc(addresses, e.Has)
}

// startOf is when the kubelet began to start the pod. HNS and the cluster are not read at one moment, so that the
// endpoint of a pod that was started in between is missing.
func startOf(pod *corev1.Pod) time.Time {
	if pod.Status.StartTime == nil {
		return time.Time{}
	}
	return pod.Status.StartTime.Time
}

// osOf returns the operating system of the pod's node, if anything shows it.
func (s podStates) osOf(pod *corev1.Pod) string {
	for _, node := range s.in.Cluster.Nodes {
		if node.Name == pod.Spec.NodeName && node.Status.NodeInfo.OperatingSystem != "" {
			return node.Status.NodeInfo.OperatingSystem
		}
	}
	return requiredOS(pod)
}

// pods returns the pods without network and those that the filter names. A note says if all pods of the node seem to be
// without network.
func (in Input) pods() (without, named []Pod, notes []string) {
	states, attached := in.podStates(), 0
	without = []Pod{}
	for _, pod := range in.Cluster.Pods {
		p := states.of(pod)
		if p.State == PodAttached {
			attached++
		}
		if p.State == PodWithoutNetwork && in.Filter.selectsPod(p) {
			without = append(without, p)
		}
	}
	for _, name := range in.Filter.Pods {
		if pod, found := podIn(in.Cluster, name); found {
			named = append(named, states.of(pod))
		}
	}
	if len(without) > 1 && attached == 0 {
		notes = append(notes, fmt.Sprintf("no pod of %s seems to have a network: HNS may have been recorded on another "+
			"node, at another time, or in part", in.Node))
	}
	return without, named, notes
}

// selectsPod reports whether the filter selects a pod without endpoint. Verdicts select endpoints only.
func (f Filter) selectsPod(p Pod) bool {
	named := slices.ContainsFunc(f.Pods, func(name types.NamespacedName) bool { return name.String() == p.Name })
	return len(f.Verdicts) == 0 && (named || len(f.Pods) == 0) &&
		(len(f.Addresses) == 0 || intersect(f.Addresses, p.Addresses))
}

// missing says why HNS has no endpoint of a pod that the filter names.
func (p Pod) missing() string {
	switch p.State {
	case PodEnded:
		return fmt.Sprintf("Pod %s has ended, and HNS has no endpoint with an address of it", p.Name)
	case PodUnscheduled:
		return fmt.Sprintf("Pod %s is not scheduled to a node yet", p.Name)
	case PodHostNetwork:
		return fmt.Sprintf("Pod %s uses the network of its node and has no HNS endpoint", p.Name)
	case PodElsewhere:
		return fmt.Sprintf("Pod %s is on node %s, and HNS has no endpoint with its address here", p.Name, p.Node)
	default:
		if len(p.Addresses) == 0 {
			return fmt.Sprintf("Pod %s has no address yet", p.Name)
		}
		return fmt.Sprintf("HNS has no endpoint with the address %s of Pod %s", join(p.Addresses), p.Name)
	}
}
