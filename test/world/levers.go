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

// These are the levers of scenes that are written by hand: they move single parts of a world.

// Hang lets every call of an operation hang on the node until Release.
func (n *Node) Hang(op hns.Operation) { n.service.hanging[op] = true }

// HangDelete lets deletes of one endpoint hang until Release.
func (n *Node) HangDelete(id hns.EndpointID) { n.service.stuck[id] = true }

// Release lets all calls go on that hang.
func (n *Node) Release() { n.service.release() }

// Hung is how many calls hang.
func (n *Node) Hung() int { return len(n.service.hung) }

// SetDown lets HNS be down, or up again.
func (n *Node) SetDown(down bool) { n.service.down = down }

// FailOnce lets the next call of kube-proxy's fail: one that lists networks or load balancers, lists or deletes endpoints,
// or makes a load balancer.
func (n *Node) FailOnce(op hns.Operation) { n.service.once[op] = codeNotFound }

// OpWriteLoadBalancer are the calls of kube-proxy's that make, change and delete load balancers.
const OpWriteLoadBalancer = opWriteLoadBalancer

// SetSilent lets HNS answer no call any more, as one does whose process has ended, or answer again.
func (n *Node) SetSilent(silent bool) { n.service.down, n.service.why = silent, codeUnreachable }

// Unreadable makes an endpoint one that is listed and cannot be read.
func (n *Node) Unreadable(id hns.EndpointID) { n.service.unreadable[id] = true }

// SetMetricsDown lets kube-proxy serve no metrics, or serve them again.
func (n *Node) SetMetricsDown(down bool) { n.metricsDown = down }

// LeaveRemote makes a remote endpoint that no kube-proxy knows: an earlier one made it.
func (n *Node) LeaveRemote(addr netip.Addr) hns.EndpointID {
	made, err := n.createRemote(addr, ActorHistory)
	if err != nil {
		panic(err) // a scene that does not fit its world
	}
	return made.ID
}

// LeaveLocal makes a local endpoint that no pod has: the CNI forgot it. It is attached if a compartment is left too.
func (n *Node) LeaveLocal(addr netip.Addr, attached bool) hns.EndpointID {
	made, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Name: "forgotten_eth0", Addresses: []netip.Addr{addr}, MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, 3},
	})
	if err != nil {
		panic(err) // a scene that does not fit its world
	}
	if attached {
		_ = n.HNS.Attach(made.ID, n.HNS.CreateNamespace()) // both were made just now
	}
	n.world.tell(ActorKubelet, "%s: the CNI leaves local endpoint %s for %s behind", n.Name, made.ID, addr)
	return made.ID
}

// Watch is kube-proxy's watch of EndpointSlices.
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

// Watch is the agent's watch of EndpointSlices.
func (a *Agent) Watch() *Feed { return a.slices }

// Ready is what the agent's readiness probe says.
func (a *Agent) Ready() error { return a.product.ready() }

// Logged is how often the agent has logged a message.
func (a *Agent) Logged(message string) int {
	a.account.mu.Lock()
	defer a.account.mu.Unlock()
	return a.account.logs[message]
}

// Told is how often the agent has made an Event with a reason.
func (a *Agent) Told(reason string) int {
	a.account.mu.Lock()
	defer a.account.mu.Unlock()
	return a.account.events[reason]
}

// Touch changes a slice of a Service without changing what it lists.
func (w *World) Touch(service int) { w.controller.Touch(service) }

// Repack moves what one slice of a Service lists to another one, with a gap.
func (w *World) Repack(service int, gap time.Duration) { w.controller.Repack(service, gap) }

// Writes are the writes of agents that the API server has let pass.
func (w *World) Writes() []GhostWrite { return w.writes }

// Removed is how many remote endpoints agents have deleted on the node.
func (n *Node) Removed() int { return len(n.taken) }

// Drop lets all slices drop a pod now.
func (w *World) Drop(p *Pod) {
	for service := range w.Setup.Services {
		w.controller.remove(p, service)
	}
}

// Empty lets all slices drop everything at once.
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

// Stale is why remote endpoints of the node should have gone, by their IDs.
func (n *Node) Stale() map[hns.EndpointID]string {
	all := map[hns.EndpointID]string{}
	for _, e := range n.Remotes() {
		if why, stale := n.stale(e); stale {
			all[e.ID] = why
		}
	}
	return all
}

// Fault lets something go wrong: one of the verbs of faults.
func (w *World) Fault(a Action) { w.fault(w.Nodes[0], a) }
