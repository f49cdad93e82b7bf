// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// PodState is the closed set of states of a pod's network on a node.
type PodState string

// The states. If several apply, the first one in [Locals.StateOf] counts.
const (
	// PodAttached: a local endpoint with an address of the pod is attached.
	PodAttached PodState = "attached"
	// PodNotAttached: the pod runs on this node, and the local endpoints with its addresses are not attached, or are the
	// node's own.
	PodNotAttached PodState = "not-attached"
	// PodWithoutNetwork: the pod runs on this node, and no local endpoint has one of its addresses.
	PodWithoutNetwork PodState = "without-network"
	// PodStarting: the pod is not running yet or has only just started, and has no local endpoint so far.
	PodStarting PodState = "starting"
	// PodUnscheduled: the pod has no node yet.
	PodUnscheduled PodState = "unscheduled"
	// PodElsewhere: the pod is on another node.
	PodElsewhere PodState = "on-another-node"
	// PodHostNetwork: the pod uses the network of its node, as HostProcess pods do. It has no endpoint.
	PodHostNetwork PodState = "host-network"
	// PodDeleting: the pod is being deleted. Its endpoint is deleted before the pod.
	PodDeleting PodState = "deleting"
	// PodEndingTooLong: the pod should have been gone for an hour, and its endpoint is gone.
	PodEndingTooLong PodState = "ending-too-long"
	// PodEnded: the pod has succeeded or failed. Another pod may have its address.
	PodEnded PodState = "ended"
	// PodUnknown: the recording does not show whether the pod has an endpoint.
	PodUnknown PodState = "unknown"
)

// LacksNetwork reports whether a pod in this state is running and cannot be reached.
func (s PodState) LacksNetwork() bool { return s == PodNotAttached || s == PodWithoutNetwork }

// endsFor is how long after its grace period a pod that is being deleted may still exist.
const endsFor = time.Hour

// Locals are the addresses of all local endpoints, and whether a pod can use an endpoint with the address.
type Locals map[netip.Addr]bool

// LocalsOf returns the Locals of a snapshot.
func LocalsOf(s Snapshot) Locals {
	l := Locals{}
	for i := range s.Endpoints {
		l.Add(s.Endpoints[i].Endpoint)
	}
	return l
}

// Add adds an endpoint unless it is a remote one.
func (l Locals) Add(e hns.Endpoint) {
	if e.Remote() {
		return
	}
	for _, addr := range e.Addresses {
		l[addr] = l[addr] || e.Attached() && !ofNode(e)
	}
}

// StateOf judges a pod of any node, for the node of the endpoints. Agent and recordings share this rule by which a pod
// lacks its network. How long the state has to last is up to the caller.
func (l Locals) StateOf(p cluster.Pod, node string, now time.Time) PodState {
	usable := func(addr netip.Addr) bool { return l[addr] }
	there := func(addr netip.Addr) bool { _, is := l[addr]; return is }
	switch {
	case p.Terminal:
		return PodEnded
	case p.Node == "":
		return PodUnscheduled
	case p.HostNetwork:
		return PodHostNetwork
	case p.Node != node:
		return PodElsewhere
	case slices.ContainsFunc(p.Addresses, usable):
		return PodAttached
	case p.Deleting && now.Sub(p.Ends) >= endsFor:
		return PodEndingTooLong
	case p.Deleting:
		return PodDeleting
	case len(p.Addresses) == 0 || !p.Running:
		return PodStarting
	case slices.ContainsFunc(p.Addresses, there):
		return PodNotAttached
	default:
		return PodWithoutNetwork
	}
}

// ofNode reports whether an endpoint that kube-proxy did not create is the node's own, by the names that their creators
// always use: the source VIP of kube-proxy ("sourcevip", "flannel.4096_sourcevip", "VIPEndpoint" on OpenShift,
// "Calico_ep" where Calico runs an overlay) and the gateway of a bridge ("cbr0_ep", "cbr0" on GKE, "Calico_ep"). A name
// proves nothing: hnsguard never touches such an endpoint, whatever else it knows about it.
func ofNode(e hns.Endpoint) bool {
	name := strings.ToLower(e.Name)
	return strings.HasSuffix(name, "sourcevip") ||
		slices.Contains([]string{"vipendpoint", "calico_ep", "cbr0_ep", "cbr0"}, name)
}
