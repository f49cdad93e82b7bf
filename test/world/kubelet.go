// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// namespace is the namespace of all pods and Services.
const namespace = "shop"

// IPAM gives each address to one pod at a time, unless a history says otherwise. Its pool is small, so that addresses
// are reused at once.
type IPAM struct {
	// free are the addresses that no pod has, most recently freed first.
	free   []netip.Addr
	owners map[netip.Addr][]*Pod
}

func newIPAM(size int) *IPAM {
	i := &IPAM{owners: map[netip.Addr][]*Pod{}}
	for at := range size {
		i.free = append(i.free, netip.AddrFrom4([4]byte{10, 240, 0, byte(10 + at)}))
	}
	return i
}

// allocate takes the free address at the index that the pod's options give, or the address that the pod waits for. A
// twin gets the address of a pod that still has it.
func (i *IPAM) allocate(p *Pod) bool {
	if p.Twin && len(i.owners[p.Addr]) > 0 {
		i.owners[p.Addr] = append(i.owners[p.Addr], p)
		return true
	}
	if len(i.free) == 0 {
		return false
	}
	at := p.Address % len(i.free)
	if p.Heir {
		if at = slices.Index(i.free, p.Addr); at < 0 {
			return false
		}
	}
	p.Addr = i.free[at]
	i.free = slices.Delete(i.free, at, at+1)
	i.owners[p.Addr] = []*Pod{p}
	return true
}

// release takes an address from a pod. The address is free when no other pod has it.
func (i *IPAM) release(p *Pod) {
	before := i.owners[p.Addr]
	left := slices.DeleteFunc(slices.Clone(before), func(o *Pod) bool { return o == p })
	if len(left) > 0 || len(before) == 0 {
		i.owners[p.Addr] = left
		return
	}
	delete(i.owners, p.Addr)
	i.free = slices.Insert(i.free, 0, p.Addr)
}

// owner returns the pod on a node that has the address, or nil.
func (i *IPAM) owner(addr netip.Addr, node string) *Pod {
	for _, p := range i.owners[addr] {
		if p.Node == node {
			return p
		}
	}
	return nil
}

// Leak says what a CNI leaves behind of a pod.
type Leak int

// The leaks.
const (
	LeakNothing Leak = iota
	// LeakDetached: the local endpoint stays, but is not attached.
	LeakDetached
	// LeakAttached: the local endpoint and its compartment stay.
	LeakAttached
)

// PodOptions say what happens to a pod, and when.
type PodOptions struct {
	// Services are the Services that the pod backs, by number.
	Services []int
	// Address is the index of its address among the free ones.
	Address int
	// Heir: the pod waits for the address of the pod that it replaces.
	Heir bool
	// Twin: the pod gets an address that a pod on another node has, and keeps.
	Twin bool
	// Create, Attach and Report are the times until the CNI has created the endpoint, until it has attached it, and until
	// the kubelet has reported the address.
	Create, Attach, Report time.Duration
	// Teardown is the time from the request to delete the pod until its address is free; Forget is how long the API object
	// remains after that.
	Teardown, Forget time.Duration
	// Drop is how long slices list the pod after the controller has seen that it is gone.
	Drop time.Duration
	Leak Leak
	// Stuck: the CNI never works.
	Stuck bool
	// Host: the pod is on the host network.
	Host bool
	// Owned: a controller would replace the pod.
	Owned bool
	// Static: the pod's object mirrors a static pod of its node.
	Static bool
}

// Pod is the real state of a pod.
type Pod struct {
	PodOptions
	Name string
	// Node is the name of its node; nodes that are not in the world run Linux.
	Node string
	Addr netip.Addr
	// Holds is set while the pod has the address.
	Holds bool
	// Attached is set once the pod has had a working endpoint.
	Attached bool
	// Deleting, Finished and Gone are the pod's state in the API.
	Deleting, Finished, Gone bool
	// Lost is set if the pod lost its working endpoint, and LostTo says to whom.
	Lost   bool
	LostTo Actor
	// Unforeseen is set if the pod lost it to a kube-proxy that had just replaced one without the stale record.
	Unforeseen bool

	world     *World
	node      *Node // nil on Linux
	endpoint  hns.EndpointID
	namespace hns.NamespaceID
	// retry is the kubelet's last interval between two attempts.
	retry time.Duration
}

// StartPod starts a pod on a node.
func (w *World) StartPod(name, node string, o PodOptions) *Pod {
	return w.startPod(&Pod{PodOptions: o, Name: name, Node: node, world: w})
}

// Replace starts a pod that replaces another one, and gets its address as soon as it is free.
func (w *World) Replace(old *Pod, name, node string, o PodOptions) *Pod {
	o.Heir = old.Holds
	addr := old.Addr
	old.Delete()
	return w.startPod(&Pod{PodOptions: o, Name: name, Node: node, Addr: addr, world: w})
}

// Double starts a pod on another node with the address of a pod that keeps it: an IPAM assigns it twice.
func (w *World) Double(p *Pod, name, node string, o PodOptions) *Pod {
	o.Twin = true
	return w.startPod(&Pod{PodOptions: o, Name: name, Node: node, Addr: p.Addr, world: w})
}

func (w *World) startPod(p *Pod) *Pod {
	name, node, o := p.Name, p.Node, p.PodOptions
	for _, n := range w.Nodes {
		if n.Name == node {
			p.node = n
		}
	}
	w.Pods[name] = p
	w.tell(ActorHistory, "pod %s is bound to %s", name, node)
	p.put()
	switch {
	case o.Host:
		p.Addr = w.addressOf(node)
		p.later(o.Report, p.report)
	case o.Stuck:
	default:
		p.later(o.Create, p.setUp)
	}
	return p
}

// later schedules an action of the kubelet, after its node is no longer frozen.
func (p *Pod) later(d time.Duration, do func()) { p.schedule(d, ActorKubelet, do) }

// again schedules another attempt of the kubelet.
func (p *Pod) again(do func()) {
	const (
		first = 2 * time.Second
		most  = 16 * time.Second
	)
	p.retry = min(max(first, 2*p.retry), most)
	p.schedule(p.retry, waiting, do)
}

func (p *Pod) schedule(d time.Duration, actor Actor, do func()) {
	p.world.After(d, actor, func() {
		if p.node != nil && p.node.frozenFor() > 0 {
			p.schedule(p.node.frozenFor(), actor, do)
			return
		}
		do()
	})
}

// heirLooks is how often a pod checks whether the address that it waits for is free.
const heirLooks = 200 * time.Millisecond

// setUp is CNI ADD.
func (p *Pod) setUp() {
	if p.Deleting {
		return
	}
	if !p.Holds && !p.world.IPAM.allocate(p) {
		if p.Heir {
			p.schedule(heirLooks, waiting, p.setUp)
			return
		}
		p.again(p.setUp)
		return
	}
	p.Holds = true
	if p.node == nil {
		p.world.tell(ActorKubelet, "%s: pod %s has %s", p.Node, p.Name, p.Addr)
		p.Attached = true
		p.later(p.Report, p.report)
		return
	}
	made, err := p.createEndpoint()
	if err != nil {
		p.world.tell(ActorKubelet, "%s: no endpoint for pod %s with %s: %v", p.Node, p.Name, p.Addr, err)
		p.again(p.setUp)
		return
	}
	p.endpoint = made.ID
	p.node.pods[made.ID] = p
	p.world.tell(ActorKubelet, "%s: made local endpoint %s for pod %s with %s", p.Node, made.ID, p.Name, p.Addr)
	p.later(p.Attach, p.attach)
}

func (p *Pod) createEndpoint() (hns.Endpoint, error) {
	if p.node.service.down {
		return hns.Endpoint{}, hns.ErrUnavailable
	}
	// Before it reuses an address, a CNI removes what it left behind of an earlier pod: HNS does not allow two local
	// endpoints with the same address.
	for _, e := range p.node.HNS.State().Endpoints {
		if !e.Remote() && e.Has(p.Addr) {
			if err := p.node.delete(e.ID, ActorKubelet); err != nil {
				return hns.Endpoint{}, err
			}
			delete(p.node.pods, e.ID)
		}
	}
	return p.node.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: p.node.network.ID, Name: p.Name + "_eth0", Addresses: []netip.Addr{p.Addr},
		MAC: hns.MAC{0, 0x15, 0x5d, 0, 0, p.Addr.As4()[3]},
	})
}

// attach attaches the endpoint to the pod's compartment. If the endpoint is gone meanwhile, the kubelet creates the
// sandbox, and so the endpoint, again.
func (p *Pod) attach() {
	if p.Deleting {
		return
	}
	p.namespace = p.node.HNS.CreateNamespace()
	if p.node.service.down || p.node.HNS.Attach(p.endpoint, p.namespace) != nil {
		p.again(p.setUp)
		return
	}
	p.world.tell(ActorKubelet, "%s: pod %s is attached", p.Node, p.Name)
	p.Attached = true
	p.later(p.Report, p.report)
}

// report writes the pod's address into its status.
func (p *Pod) report() {
	if p.Deleting || p.Finished {
		return
	}
	p.world.tell(ActorKubelet, "%s: pod %s reports its address", p.Node, p.Name)
	p.put()
	p.world.controller.podReady(p)
}

// LoseSandbox makes the pod's sandbox die. The kubelet creates another one after some time. Until that one has an
// address, the pod's status keeps the old one and stays Running.
//
// Source: pkg/kubelet/pleg/generic.go of v1.37.2, lines 486 to 505.
func (p *Pod) LoseSandbox(again time.Duration) {
	if p.Host || p.Deleting || p.Finished || !p.Attached {
		return
	}
	p.world.tell(ActorHistory, "%s: the sandbox of pod %s dies", p.Node, p.Name)
	p.Attached = false
	p.world.controller.podUnready(p)
	var tearDown func()
	tearDown = func() {
		if p.Deleting || p.Finished {
			return // a pod that ends tears itself down
		}
		if !p.giveBack() {
			p.again(tearDown)
			return
		}
		p.Heir, p.Twin, p.endpoint, p.namespace = false, false, "", ""
		p.later(again, p.setUp)
	}
	p.later(p.Teardown, tearDown)
}

// endpointTaken records who deleted the pod's endpoint.
func (p *Pod) endpointTaken(by Actor) {
	p.world.tell(by, "%s: DELETED THE ENDPOINT of pod %s with %s", p.Node, p.Name, p.Addr)
	if p.Attached && p.Holds && !p.Deleting && !p.Finished {
		p.Lost, p.LostTo = true, by
	}
	if by == ActorAgent {
		p.world.violated(InvariantLocal, "hnsguard deleted the local endpoint of pod %s", p.Name)
	}
	delete(p.node.pods, p.endpoint)
}

// Delete requests the pod's deletion.
func (p *Pod) Delete() {
	if p.Deleting {
		return
	}
	p.world.tell(ActorHistory, "pod %s is being deleted", p.Name)
	p.Deleting = true
	p.put()
	p.world.controller.podTerminating(p)
	p.later(p.Teardown, p.tearDown)
}

// Finish ends the pod. Its object remains.
func (p *Pod) Finish() {
	if p.Deleting || p.Finished || !p.Attached {
		return
	}
	p.world.tell(ActorHistory, "pod %s has finished", p.Name)
	p.Finished = true
	p.put()
	p.world.controller.podGone(p)
	p.later(p.Teardown, p.tearDown)
}

// tearDown is CNI DEL. The address is free afterwards, whatever is left behind.
func (p *Pod) tearDown() {
	if !p.giveBack() {
		p.again(p.tearDown)
		return
	}
	if !p.Deleting {
		return
	}
	p.later(p.Forget, func() {
		p.Gone = true
		p.world.API.Delete(KindPod, p.key())
		p.world.controller.podGone(p)
	})
}

// giveBack removes the pod's endpoint and frees its address, and reports whether it succeeded.
func (p *Pod) giveBack() bool {
	if p.node != nil && p.endpoint != "" && p.node.pods[p.endpoint] == p {
		if err := p.removeEndpoint(); err != nil {
			return false
		}
	}
	if p.Holds {
		p.Holds = false
		p.world.IPAM.release(p)
		p.world.tell(ActorKubelet, "%s: pod %s has given %s back", p.Node, p.Name, p.Addr)
	}
	return true
}

func (p *Pod) removeEndpoint() error {
	if p.node.service.down {
		return hns.ErrUnavailable
	}
	switch p.Leak {
	case LeakNothing:
		if err := p.node.delete(p.endpoint, ActorKubelet); err != nil && !errors.Is(err, hns.ErrNotFound) {
			return err
		}
	case LeakDetached:
		p.world.tell(ActorKubelet, "%s: the CNI forgets the endpoint of pod %s", p.Node, p.Name)
		if p.namespace != "" {
			_ = p.node.HNS.DeleteNamespace(p.namespace) // it exists: nothing else deletes it
		}
	case LeakAttached:
		p.world.tell(ActorKubelet, "%s: the CNI forgets the endpoint of pod %s, attached", p.Node, p.Name)
	}
	delete(p.node.pods, p.endpoint)
	return nil
}

func (p *Pod) key() types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: p.Name}
}

// put writes the current state of the pod's object.
func (p *Pod) put() {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.Name, UID: types.UID("uid-" + p.Name)},
		Spec:       corev1.PodSpec{NodeName: p.Node, HostNetwork: p.Host},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	if p.Owned {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "uid-rs", Controller: new(true),
		}}
	}
	if p.Static {
		pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: p.Node, UID: types.UID("uid-" + p.Node), Controller: new(true),
		}}
	}
	if before, ok := p.world.API.Get(KindPod, p.key()).(*corev1.Pod); ok {
		pod.Status = *before.Status.DeepCopy()
	}
	switch addr := p.statusAddr(); {
	case p.Finished:
		pod.Status.Phase = corev1.PodSucceeded
	case !p.Deleting && addr.IsValid():
		pod.Status.Phase = corev1.PodRunning
		pod.Status.PodIP, pod.Status.PodIPs = addr.String(), []corev1.PodIP{{IP: addr.String()}}
	}
	if p.Deleting {
		pod.DeletionTimestamp = &metav1.Time{Time: p.world.API.now()}
	}
	p.world.API.Put(pod)
}

// statusAddr returns the address that the kubelet may report.
func (p *Pod) statusAddr() netip.Addr {
	switch {
	case p.Host || p.Attached:
		return p.Addr
	default:
		return netip.Addr{}
	}
}

// Lives reports whether a pod on a Windows node is running with its endpoint.
func (p *Pod) Lives() bool {
	if p.node == nil || p.Host || !p.Attached || p.Lost || p.Deleting || p.Finished {
		return false
	}
	_, there := p.node.endpoint(p.endpoint)
	return there
}

func (p *Pod) String() string { return fmt.Sprintf("%s on %s with %s", p.Name, p.Node, p.Addr) }
