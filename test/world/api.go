// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Kind is the kind of an API object in the world.
type Kind string

// The kinds.
const (
	KindPod     Kind = "Pod"
	KindSlice   Kind = "EndpointSlice"
	KindService Kind = "Service"
	KindNode    Kind = "Node"
)

func kindOf(obj client.Object) Kind {
	switch obj.(type) {
	case *corev1.Pod:
		return KindPod
	case *discoveryv1.EndpointSlice:
		return KindSlice
	case *corev1.Service:
		return KindService
	case *corev1.Node:
		return KindNode
	default:
		panic(fmt.Sprintf("the world's API server has no %T", obj))
	}
}

// API is the state of the API server. Its objects are immutable: a write replaces them.
type API struct {
	world   *World
	objects map[Kind]map[types.NamespacedName]client.Object
	version int
	feeds   []*Feed
	// deleted are the deletions, in order.
	deleted []change
	// listed is since when a slice lists an address, by address and node.
	listed map[netip.Addr]map[types.NamespacedName]listing
	// held is since when a live pod, which is neither being deleted nor finished, reports an address, by address and node.
	held map[netip.Addr]map[types.NamespacedName]listing
	// dropped is when a slice last stopped listing an address, and sliced when any slice last changed.
	dropped map[netip.Addr]time.Time
	sliced  time.Time
}

// listing is one address in one slice, or of one pod.
type listing struct {
	since time.Time
	node  string
}

// change is one write. Either side may be nil.
type change struct {
	version       int
	kind          Kind
	before, after client.Object
}

// one returns a side that is not nil.
func (c change) one() client.Object {
	if c.after != nil {
		return c.after
	}
	return c.before
}

func newAPI(w *World) *API {
	return &API{
		world:   w,
		objects: map[Kind]map[types.NamespacedName]client.Object{KindPod: {}, KindSlice: {}, KindService: {}, KindNode: {}},
		version: 100,
		listed:  map[netip.Addr]map[types.NamespacedName]listing{},
		held:    map[netip.Addr]map[types.NamespacedName]listing{},
		dropped: map[netip.Addr]time.Time{},
	}
}

// now returns the time of the API server's clock.
func (a *API) now() time.Time { return a.world.Now().Add(a.world.Setup.Skew) }

// Version returns the current resource version.
func (a *API) Version() string { return strconv.Itoa(a.version) }

// Revision returns the current resource version as a number.
func (a *API) Revision() int { return a.version }

// Get returns an object, or nil.
func (a *API) Get(kind Kind, key types.NamespacedName) client.Object { return a.objects[kind][key] }

// All returns the objects of a kind, sorted by name.
func (a *API) All(kind Kind) []client.Object {
	keys := slices.SortedFunc(maps.Keys(a.objects[kind]), compareKeys)
	all := make([]client.Object, 0, len(keys))
	for _, key := range keys {
		all = append(all, a.objects[kind][key])
	}
	return all
}

// Put creates or replaces an object. The API server owns it afterwards.
func (a *API) Put(obj client.Object) {
	kind, key := kindOf(obj), client.ObjectKeyFromObject(obj)
	before := a.objects[kind][key]
	a.version++
	obj.SetResourceVersion(a.Version())
	if before != nil {
		obj.SetUID(before.GetUID())
		obj.SetCreationTimestamp(before.GetCreationTimestamp())
		obj.SetGeneration(before.GetGeneration() + 1)
	} else {
		if obj.GetUID() == "" {
			obj.SetUID(types.UID(fmt.Sprintf("%s-%s-%d", kind, key.Name, a.version)))
		}
		obj.SetCreationTimestamp(metav1.NewTime(a.now()))
		obj.SetGeneration(1)
	}
	a.objects[kind][key] = obj
	a.published(change{version: a.version, kind: kind, before: before, after: obj})
}

// Delete removes an object, and reports whether it existed.
func (a *API) Delete(kind Kind, key types.NamespacedName) bool {
	before := a.objects[kind][key]
	if before == nil {
		return false
	}
	a.version++
	delete(a.objects[kind], key)
	c := change{version: a.version, kind: kind, before: before}
	a.deleted = append(a.deleted, c)
	a.published(c)
	return true
}

// published notifies every watch of a change.
func (a *API) published(c change) {
	switch c.kind {
	case KindSlice:
		a.account(a.listed, c, claimsOfSlice(c.before), claimsOfSlice(c.after))
		before, after := addressesOfSlice(c.before), addressesOfSlice(c.after)
		for addr := range before {
			if _, still := after[addr]; !still {
				a.dropped[addr] = a.world.Now()
			}
		}
		a.sliced = a.world.Now()
	case KindPod:
		a.account(a.held, c, addressesOfPod(c.before), addressesOfPod(c.after))
	}
	for _, f := range a.feeds {
		f.publish(c)
	}
}

// account records since when objects of a kind have had their addresses.
func (a *API) account(
	since map[netip.Addr]map[types.NamespacedName]listing, c change, before, present map[netip.Addr]string,
) {
	key := client.ObjectKeyFromObject(c.one())
	for addr := range before {
		if node, still := present[addr]; !still || node != since[addr][key].node {
			delete(since[addr], key)
		}
	}
	for addr, node := range present {
		if since[addr] == nil {
			since[addr] = map[types.NamespacedName]listing{}
		}
		if _, already := since[addr][key]; !already {
			since[addr][key] = listing{since: a.world.Now(), node: node}
		}
	}
}

// addressesOfSlice returns the addresses that a slice lists, with their nodes.
func addressesOfSlice(obj client.Object) map[netip.Addr]string {
	present := map[netip.Addr]string{}
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
		for addr, listing := range cluster.SliceOf(slice).Listings() {
			present[addr] = listing.Node
		}
	}
	return present
}

// claimsOfSlice returns those of its addresses that show where a pod is. A keep-slice shows none.
func claimsOfSlice(obj client.Object) map[netip.Addr]string {
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok && slice.Labels[discoveryv1.LabelManagedBy] == cluster.ManagedByKeep {
		return nil
	}
	return addressesOfSlice(obj)
}

// addressesOfPod returns the addresses of a pod that is neither being deleted nor finished.
func addressesOfPod(obj client.Object) map[netip.Addr]string {
	present := map[netip.Addr]string{}
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return present
	}
	for _, ip := range pod.Status.PodIPs {
		present[netip.MustParseAddr(ip.IP)] = pod.Spec.NodeName
	}
	return present
}

// ListedElsewhere reports whether slices have continuously listed the address for another node since then.
func (a *API) ListedElsewhere(addr netip.Addr, node string, since time.Time) bool {
	return elsewhere(a.listed[addr], node, since)
}

// HeldElsewhere reports whether a live pod on another node has continuously reported the address since then.
func (a *API) HeldElsewhere(addr netip.Addr, node string, since time.Time) bool {
	return elsewhere(a.held[addr], node, since)
}

func elsewhere(all map[types.NamespacedName]listing, node string, since time.Time) bool {
	for _, l := range all {
		if l.node != node && !l.since.After(since) {
			return true
		}
	}
	return false
}

func compareKeys(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func ptrOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
