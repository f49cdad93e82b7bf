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

// namespace is where all pods and Services are.
const namespace = "shop"

// IPAM gives addresses to pods, one pod at a time each unless a history says otherwise. Its pool is small, so that they
// are reused at once.
type IPAM struct {
	// free are the addresses that no pod has, those freed last in front.
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

// allocate takes the free address at the pod's place in the row of free ones, or the one that it waits for. A twin gets
// the address of a pod that has it.
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

// release takes an address from a pod. It is free when no other pod has it.
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

// owner is the pod of a node that has the address, or nil.
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
	// LeakDetached: the local endpoint stays, attached to nothing.
	LeakDetached
	// LeakAttached: the local endpoint and its compartment stay.
	LeakAttached
)

// PodOptions say what becomes of a pod, and when.
type PodOptions struct {
	// Services are those that the pod backs, by number.
	Services []int
	// Address is which of the free addresses it gets.
	Address int
	// Heir: the pod gets the address of the pod whose place it takes, and waits for it.
	Heir bool
	// Twin: the pod gets an address that a pod of another node has, and keeps.
	Twin bool
	// Create, Attach and Report are how long the CNI takes until the endpoint is made, how long until it is attached, and
	// how long the kubelet takes to report the address.
	Create, Attach, Report time.Duration
	// Teardown is how long it takes from the request to delete the pod until its address is free; Forget how long the API
	// object stays after that.
	Teardown, Forget time.Duration
	// Drop is how long slices list the pod after the controller has seen that it is gone.
	Drop time.Duration
	Leak Leak
	// Stuck: the CNI never gets to work.
	Stuck bool
	// Host: the pod is in the host's network.
	Host bool
	// Owned: a controller would replace the pod.
	Owned bool
	// Static: the pod's object mirrors a static pod of its node.
	Static bool
}

// Pod is a pod as it really is.
type Pod struct {
	PodOptions
	Name string
	// Node is the name of its node; nodes that are not in the world run Linux.
	Node string
	Addr netip.Addr
	// Holds is set while the address is the pod's.
	Holds bool
	// Attached is set once the pod had a working endpoint of its own.
	Attached bool
	// Deleting, Finished and Gone are what the API says of it.
	Deleting, Finished, Gone bool
	// Lost is set when the pod's working endpoint was taken away from it, and LostTo by whom.
	Lost   bool
	LostTo Actor
	// Unforeseen is set if that was a kube-proxy which had just replaced one without the stale record.
	Unforeseen bool

	world     *World
	node      *Node // nil on Linux
	endpoint  hns.EndpointID
	namespace hns.NamespaceID
	// retry is how long the kubelet waited last before it tried again.
	retry time.Duration
}

// StartPod lets a pod begin on a node.
func (w *World) StartPod(name, node string, o PodOptions) *Pod {
	return w.startPod(&Pod{PodOptions: o, Name: name, Node: node, world: w})
}

// Replace lets a pod of a node take the place of another one, and its address as soon as it is free.
func (w *World) Replace(old *Pod, name, node string, o PodOptions) *Pod {
	o.Heir = old.Holds
	addr := old.Addr
	old.Delete()
	return w.startPod(&Pod{PodOptions: o, Name: name, Node: node, Addr: addr, world: w})
}

// Double lets a pod of another node begin with the address of one that keeps it: an IPAM gives it twice.
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

// later lets the kubelet do something when its node is not frozen.
func (p *Pod) later(d time.Duration, do func()) { p.schedule(d, ActorKubelet, do) }

// again lets the kubelet try something again.
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

// heirLooks is how often a pod looks whether the address is free that it waits for.
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
	// A CNI removes what it left behind of an earlier pod of the address before it uses it again: HNS lets no two local
	// endpoints share one.
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

// attach puts the endpoint into the pod's compartment. An endpoint that has gone meanwhile is made again: the kubelet
// makes the sandbox anew.
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

// LoseSandbox lets the pod's sandbox die. The kubelet makes another one after some time. Until that one has an address,
// the pod's status keeps the old one and stays Running.
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
			return // they tear down themselves
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

// endpointTaken notes that somebody deleted the pod's endpoint.
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

// Delete asks for the pod's deletion.
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

// Finish lets the pod end by itself. Its object stays.
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

// giveBack removes the pod's endpoint and frees its address, and reports whether that worked.
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
			_ = p.node.HNS.DeleteNamespace(p.namespace) // it is there: nobody else deletes it
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

// put writes the pod's object as it is to be seen now.
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

// statusAddr is the address that the kubelet may report.
func (p *Pod) statusAddr() netip.Addr {
	switch {
	case p.Host || p.Attached:
		return p.Addr
	default:
		return netip.Addr{}
	}
}

// Lives reports whether the pod of a Windows node is up, with its endpoint.
func (p *Pod) Lives() bool {
	if p.node == nil || p.Host || !p.Attached || p.Lost || p.Deleting || p.Finished {
		return false
	}
	_, there := p.node.endpoint(p.endpoint)
	return there
}

func (p *Pod) String() string { return fmt.Sprintf("%s on %s with %s", p.Name, p.Node, p.Addr) }
