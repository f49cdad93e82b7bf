// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	known, started := cluster.PodOf(pod), time.Time{}
	if pod.Status.StartTime != nil {
		started = pod.Status.StartTime.Time
	}
	node, _ := s.in.node(known.Node)
	return Pod{
		Name: known.Key.String(), State: s.state(known, started), Node: known.Node, NodeOS: node.OperatingSystem,
		Phase: string(pod.Status.Phase), Addresses: known.Addresses, Created: known.Created.UTC(), Started: started.UTC(),
	}
}

// state looks at what explains a missing endpoint first: only a pod that should have one can lack it. A pod is said to
// lack it by the rule of package eviction. HNS and the cluster are not read at the same moment, so that the endpoint of
// a pod that was started in between is missing.
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

// pods returns the pods without network and those that the filter names. A note says if all pods of the node seem to be
// without network.
func (in Input) pods() (without, named []Pod, note string) {
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
		note = fmt.Sprintf("no pod of %s seems to have a network: HNS may have been recorded on another node, at another "+
			"time, or in part", in.Node)
	}
	return without, named, note
}

// describe says why a pod has no local endpoint, and what to do. It is empty if the pod has one.
func (p Pod) describe(node string) string {
	namespace, name, _ := strings.Cut(p.Name, "/")
	kubectl := fmt.Sprintf("'kubectl -n %s describe pod %s'", namespace, name)
	switch p.State {
	case PodAttached:
		return ""
	case PodWithoutNetwork:
		return fmt.Sprintf("Pod %s runs on this node without a local endpoint: it has no network. Delete it: its "+
			"replacement gets one.", p.Name)
	case PodHostNetwork:
		return fmt.Sprintf("Pod %s uses the node's own network and has no HNS endpoint; nothing is wrong.", p.Name)
	case PodElsewhere:
		return fmt.Sprintf("Pod %s runs on node %s, not on %s. %s Here it has a remote endpoint only if a Service leads to "+
			"it.", p.Name, p.Node, node, p.whereToExplain())
	case PodUnscheduled:
		return fmt.Sprintf("Pod %s is not scheduled to a node yet: %s says why.", p.Name, kubectl)
	case PodUnknown:
		return fmt.Sprintf("Whether Pod %s has a network is unknown: the record of an endpoint that may be its own is "+
			"incomplete.", p.Name)
	case PodEnded:
		return fmt.Sprintf("Pod %s has ended (%s) and needs no endpoint any more.", p.Name, p.Phase)
	case PodDeleting:
		return fmt.Sprintf("Pod %s is being deleted, and its local endpoint is gone.", p.Name)
	case PodStarting:
	}
	what := "endpoint"
	if len(p.Addresses) == 0 {
		what = "address"
	} else if p.Phase == string(corev1.PodRunning) {
		return fmt.Sprintf("Pod %s has only just started, and HNS has no endpoint for it yet. Ask again in half a minute.",
			p.Name)
	}
	return fmt.Sprintf("Pod %s is %s since %s and has no %s yet. If that does not change, look at the log of the CNI on "+
		"its node, and at %s.", p.Name, p.Phase, p.Created.Format(time.DateTime+"Z"), what, kubectl)
}

func (p Pod) whereToExplain() string {
	switch p.NodeOS {
	case "windows":
		return "Explain it there."
	case "":
		return "Explain it there, if that is a Windows node."
	default:
		return fmt.Sprintf("That is a %s node, which has no HNS.", capital(p.NodeOS))
	}
}
