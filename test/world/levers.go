// SPDX-License-Identifier: Apache-2.0

package world

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// These methods are for hand-written scenes: they change single parts of a world.

// Hang makes every call of an operation on the node hang until Release.
func (n *Node) Hang(op hns.Operation) { n.service.hanging[op] = true }

// HangDelete makes deletes of one endpoint hang until Release.
func (n *Node) HangDelete(id hns.EndpointID) { n.service.stuck[id] = true }

// Release makes all hanging calls continue.
func (n *Node) Release() { n.service.release() }

// Hung returns the number of hanging calls.
func (n *Node) Hung() int { return len(n.service.hung) }

// SetDown stops or starts HNS.
func (n *Node) SetDown(down bool) { n.service.down = down }

// FailOnce makes the next call of kube-proxy fail: one that lists networks or load balancers, lists or deletes
// endpoints, or creates a load balancer.
func (n *Node) FailOnce(op hns.Operation) { n.service.once[op] = codeNotFound }

// OpWriteLoadBalancer stands for kube-proxy's calls that create, update and delete load balancers.
const OpWriteLoadBalancer = opWriteLoadBalancer

// SetSilent makes HNS answer no calls, as if its process had ended, or answer again.
func (n *Node) SetSilent(silent bool) { n.service.down, n.service.why = silent, codeUnreachable }

// Unreadable makes an endpoint listed but unreadable.
func (n *Node) Unreadable(id hns.EndpointID) { n.service.unreadable[id] = true }

// SetMetricsDown makes kube-proxy stop or resume serving metrics.
func (n *Node) SetMetricsDown(down bool) { n.metricsDown = down }

// LeaveRemote creates a remote endpoint that kube-proxy does not know, as if an earlier kube-proxy had left it behind.
func (n *Node) LeaveRemote(addr netip.Addr) hns.EndpointID {
	made, err := n.createRemote(addr, ActorHistory)
	if err != nil {
		panic(err) // the scene does not fit its world
	}
	return made.ID
}

// LeaveLocal creates a local endpoint without a pod, as if the CNI had forgotten it. It is attached if a compartment is
// left too.
func (n *Node) LeaveLocal(addr netip.Addr, attached bool) hns.EndpointID {
	made, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Name: "forgotten_eth0", Addresses: []netip.Addr{addr}, MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, 3},
	})
	if err != nil {
		panic(err) // the scene does not fit its world
	}
	if attached {
		_ = n.HNS.Attach(made.ID, n.HNS.CreateNamespace()) // both have just been created
	}
	n.world.tell(ActorKubelet, "%s: the CNI leaves local endpoint %s for %s behind", n.Name, made.ID, addr)
	return made.ID
}

// Watch returns kube-proxy's watch of EndpointSlices.
func (k *KubeProxy) Watch() *Feed { return k.feed }

// Upgrade replaces kube-proxy by another version.
func (k *KubeProxy) Upgrade(version string) {
	before := k.Traits
	k.Traits = k.world.traits(version)
	if k.DeletesLocals && !before.DeletesLocals {
		k.worse = k.world.Now()
	}
	k.Restart(time.Second)
}

// Watch returns the agent's watch of EndpointSlices.
func (a *Agent) Watch() *Feed { return a.slices }

// Ready returns the result of the agent's readiness probe.
func (a *Agent) Ready() error { return a.product.ready() }

// Logged returns how often the agent has logged a message.
func (a *Agent) Logged(message string) int {
	a.account.mu.Lock()
	defer a.account.mu.Unlock()
	return a.account.logs[message]
}

// Told returns how often the agent has recorded an Event with a reason.
func (a *Agent) Told(reason string) int {
	a.account.mu.Lock()
	defer a.account.mu.Unlock()
	return a.account.events[reason]
}

// Touch changes a slice of a Service without changing its entries.
func (w *World) Touch(service int) { w.controller.Touch(service) }

// Repack moves the entries of one slice of a Service to the other one, with a gap.
func (w *World) Repack(service int, gap time.Duration) { w.controller.Repack(service, gap) }

// Writes returns the agents' writes that the API server has accepted.
func (w *World) Writes() []GhostWrite { return w.writes }

// Removed returns the number of remote endpoints that agents have deleted on the node.
func (n *Node) Removed() int { return len(n.taken) }

// Drop makes all slices drop a pod now.
func (w *World) Drop(p *Pod) {
	for service := range w.Setup.Services {
		w.controller.remove(p, service)
	}
}

// Empty makes all slices drop everything at once.
func (w *World) Empty() {
	for _, id := range w.controller.ids() {
		if len(w.controller.entries[id]) > 0 {
			w.controller.entries[id] = nil
			w.controller.write(id)
		}
	}
}

// FlushOnce changes a slice whose Service does not exist, as hnsguard does.
func (w *World) FlushOnce() {
	port := int32(w.roll(1<<15, "flush", w.API.Version()) + 1)
	w.API.Put(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "flush", Labels: map[string]string{discoveryv1.LabelServiceName: "no-such-service"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.9"}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("flush"), Port: &port, Protocol: new(corev1.ProtocolTCP)}},
	})
}

// Stale returns why remote endpoints on the node should be gone, by ID.
func (n *Node) Stale() map[hns.EndpointID]string {
	all := map[hns.EndpointID]string{}
	for _, e := range n.Remotes() {
		if why, stale := n.stale(e); stale {
			all[e.ID] = why
		}
	}
	return all
}

// Fault starts a fault: one of the verbs of faults.
func (w *World) Fault(a Action) { w.fault(w.Nodes[0], a) }
