// SPDX-License-Identifier: Apache-2.0

package nodetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Endpoint creates an endpoint. A remote one looks like those of kube-proxy.
func (n *Node) Endpoint(addr string, flags hns.EndpointFlags) hns.EndpointID {
	n.tb.Helper()
	ip := netip.MustParseAddr(addr)
	spec := hnstest.EndpointSpec{Network: n.Network.ID, Addresses: []netip.Addr{ip}, Flags: flags}
	if flags&hns.FlagRemote != 0 {
		spec.MAC = kubeproxy.RemoteMAC(ip)
	}
	made, err := n.HNS.CreateEndpoint(spec)
	if err != nil {
		n.tb.Fatal(err)
	}
	return made.ID
}

// Remote creates a remote endpoint like those of kube-proxy.
func (n *Node) Remote(addr string) hns.EndpointID {
	n.tb.Helper()
	return n.Endpoint(addr, hns.FlagRemote)
}

// Local creates an attached local endpoint.
func (n *Node) Local(addr string) hns.EndpointID {
	n.tb.Helper()
	id := n.Endpoint(addr, 0)
	if err := n.HNS.Attach(id, n.HNS.CreateNamespace()); err != nil {
		n.tb.Fatal(err)
	}
	return id
}

// Delete deletes an endpoint.
func (n *Node) Delete(id hns.EndpointID) {
	n.tb.Helper()
	if err := n.HNS.DeleteEndpoint(context.Background(), id); err != nil {
		n.tb.Fatal(err)
	}
}

// Conflict creates a remote endpoint whose address a running pod on this node has.
func (n *Node) Conflict(pod, addr string) (remote, local hns.EndpointID) {
	n.tb.Helper()
	remote, local = n.Remote(addr), n.Local(addr)
	n.Pod(pod, addr)
	return remote, local
}

// NewPod returns a pod on a node. Without an address it is waiting for one.
func NewPod(name, onNode, addr string, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	pod.Spec.NodeName = onNode
	pod.Status.Phase = corev1.PodPending
	if addr != "" {
		pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, addr, []corev1.PodIP{{IP: addr}}
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// Deleting changes a pod to one that is being deleted.
func Deleting(p *corev1.Pod) {
	p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: Start()}, []string{"example.com/kubelet"}
}

// Succeeded changes a pod to one that has finished.
func Succeeded(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

// HostNetwork changes a pod to one on the host network.
func HostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

// Pod creates or replaces a pod on this node, on the API server and in the index.
func (n *Node) Pod(name, addr string, changes ...func(*corev1.Pod)) *corev1.Pod {
	n.tb.Helper()
	pod := NewPod(name, Name, addr, changes...)
	n.OnServer(pod)
	n.Index.SetPod(pod)
	return pod
}

// OnServer creates or replaces a pod only on the API server: no cache has it yet, or it is on another node.
func (n *Node) OnServer(pod *corev1.Pod) {
	n.tb.Helper()
	n.GoneFromServer(pod.Name)
	deleting := pod.DeletionTimestamp != nil
	if err := n.API.Create(context.Background(), pod.DeepCopy()); err != nil {
		n.tb.Fatal(err)
	}
	if !deleting {
		return
	}
	// Create drops the timestamp, but a pod with a finalizer stays when it is deleted.
	if err := n.API.Delete(context.Background(), pod.DeepCopy()); err != nil {
		n.tb.Fatal(err)
	}
}

// GoneFromServer deletes a pod only from the API server: the index still has it.
func (n *Node) GoneFromServer(name string) {
	n.tb.Helper()
	ctx, key := context.Background(), types.NamespacedName{Namespace: "default", Name: name}
	var pod corev1.Pod
	if err := n.API.Get(ctx, key, &pod); err != nil {
		return
	}
	if len(pod.Finalizers) > 0 {
		pod.Finalizers = nil
		if err := n.API.Update(ctx, &pod); err != nil {
			n.tb.Fatal(err)
		}
	}
	if err := client.IgnoreNotFound(n.API.Delete(ctx, &pod)); err != nil {
		n.tb.Fatal(err)
	}
}

// PodGone deletes a pod on this node from the API server and from the index.
func (n *Node) PodGone(name string) {
	n.tb.Helper()
	n.GoneFromServer(name)
	n.Index.DeletePod(NewPod(name, Name, ""))
}

// NewSlice returns an EndpointSlice of the Service with the same name, with ready endpoints.
func NewSlice(name, onNode string, addrs ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name),
			Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: addrs}},
	}
	if len(addrs) > 0 && netip.MustParseAddr(addrs[0]).Is6() {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	if onNode != "" {
		s.Endpoints[0].NodeName = &onNode
	}
	return s
}

// Terminating makes the endpoints of a slice terminating, and serving or not.
func Terminating(s *discoveryv1.EndpointSlice, serving bool) *discoveryv1.EndpointSlice {
	for i := range s.Endpoints {
		s.Endpoints[i].Conditions = discoveryv1.EndpointConditions{
			Ready: new(false), Serving: &serving, Terminating: new(true),
		}
	}
	return s
}

// Slice lists addresses on a node. Without addresses the slice becomes empty.
func (n *Node) Slice(name, onNode string, addrs ...string) {
	n.tb.Helper()
	n.SetSlice(NewSlice(name, onNode, addrs...))
}

// SetSlice creates or replaces a slice on the API server, and delivers the change.
func (n *Node) SetSlice(s *discoveryv1.EndpointSlice) {
	n.tb.Helper()
	stored := n.API.set(s)
	n.deliver(func() { n.must(n.Watch.Update(stored)) })
}

// DeleteSlice deletes a slice on the API server, and delivers the change.
func (n *Node) DeleteSlice(name string) {
	n.tb.Helper()
	last := n.API.remove(types.NamespacedName{Namespace: "default", Name: name})
	if last == nil {
		n.tb.Fatalf("there is no slice %s", name)
	}
	n.deliver(func() { n.must(n.Watch.Delete(last)) })
}

func (n *Node) deliver(event func()) {
	if n.heldBack == nil {
		event()
		return
	}
	*n.heldBack = append(*n.heldBack, event)
}

func (n *Node) must(err error) {
	n.tb.Helper()
	if err != nil {
		n.tb.Fatal(err)
	}
}

// HoldWatch holds back the watch of EndpointSlices until [Node.ReleaseWatch].
func (n *Node) HoldWatch() { n.heldBack = &[]func(){} }

// ReleaseWatch delivers what was held back, in order.
func (n *Node) ReleaseWatch() {
	behind := *n.heldBack
	n.heldBack = nil
	for _, event := range behind {
		event()
	}
}

// Bookmark sends the server's revision to the watch, after all pending events.
func (n *Node) Bookmark() {
	version := n.API.Version()
	n.deliver(func() { n.must(n.Watch.Bookmark(version)) })
}

// Relist lists all slices again, as the watch does after it was cut off. Events that were held back are never
// delivered.
func (n *Node) Relist() {
	n.tb.Helper()
	n.heldBack = nil
	var all discoveryv1.EndpointSliceList
	n.API.page(&all, client.ListOptions{})
	objects := make([]any, 0, len(all.Items))
	for i := range all.Items {
		objects = append(objects, &all.Items[i])
	}
	n.must(n.Watch.Replace(objects, all.ResourceVersion))
}

// Remembers is a record of kube-proxy that may hold everything, or nothing.
type Remembers bool

// Record implements [github.com/hnsguard/hnsguard/internal/pass.Record].
func (r Remembers) Record() verdict.Record {
	return verdict.Record{KnownIPv4: !bool(r), KnownIPv6: !bool(r)}
}

// Forget makes kube-proxy's record known to be empty.
func (n *Node) Forget() { n.Record = Remembers(false) }

// record allows a test to replace the record of a node at any time.
type record struct{ n *Node }

// Record implements [github.com/hnsguard/hnsguard/internal/pass.Record].
func (r record) Record() verdict.Record { return r.n.Record.Record() }

// There returns the endpoints in HNS.
func (n *Node) There() []hns.EndpointID {
	var ids []hns.EndpointID
	for _, e := range n.HNS.State().Endpoints {
		ids = append(ids, e.ID)
	}
	return ids
}

// Order is [hnstest.HNS.OrderOf] for an address.
func (n *Node) Order(addr string) string { return n.HNS.OrderOf(netip.MustParseAddr(addr)) }

// Calls returns the number of calls of an operation that HNS has answered.
func (n *Node) Calls(op hns.Operation) (count int) {
	for _, call := range n.HNS.Calls() {
		if call.Op == op {
			count++
		}
	}
	return count
}

// Happened returns the Events since the last call.
func (n *Node) Happened() []string {
	var all []string
	for {
		select {
		case e := <-n.happened:
			all = append(all, e)
		default:
			return all
		}
	}
}

// Series returns a metric's value by its labels, given as "name{a=b,c=d}" with the labels in alphabetical order. For a
// histogram it returns the number of observations.
func (n *Node) Series(name string) float64 {
	n.tb.Helper()
	families, err := n.Registry.Gather()
	if err != nil {
		n.tb.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := make([]string, 0, len(m.GetLabel()))
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
			}
			full := family.GetName()
			if slices.Sort(labels); len(labels) > 0 {
				full += "{" + strings.Join(labels, ",") + "}"
			}
			if full == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	n.tb.Fatalf("no series %s", name)
	return 0
}

// Removals returns the number of attempts to remove an endpoint that had a result.
func (n *Node) Removals(kind, result string) float64 {
	n.tb.Helper()
	return n.Series(fmt.Sprintf("hnsguard_removals_total{result=%s,verdict=%s}", result, kind))
}

// Skipped returns how often a brake kept an endpoint.
func (n *Node) Skipped(kind, brake string) float64 {
	n.tb.Helper()
	return n.Series(fmt.Sprintf("hnsguard_removals_skipped_total{brake=%s,verdict=%s}", brake, kind))
}
