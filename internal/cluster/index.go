// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Index holds the present state of the API. It is safe for concurrent use.
type Index struct {
	node string

	mu       sync.Mutex
	pods     map[types.NamespacedName]Pod
	slices   map[types.NamespacedName]*Slice
	services map[types.NamespacedName]*Backing
	// revision counts the changes of services that kube-proxy sees.
	revision uint64
	// keepers are the keep-slices.
	keepers map[types.NamespacedName]*Slice
	// listings are the listings of the addresses of views, sorted by slice; they may be empty.
	listings map[netip.Addr][]Listing
	// shared is set if a view has the listings: they must be copied before they change.
	shared bool
	// view is the last view. Its outdated parts are nil.
	view View
}

// NewIndex returns an empty index for the named node.
func NewIndex(node string) *Index {
	return &Index{
		node: node, pods: map[types.NamespacedName]Pod{}, slices: map[types.NamespacedName]*Slice{},
		services: map[types.NamespacedName]*Backing{}, keepers: map[types.NamespacedName]*Slice{}, view: View{Node: node},
	}
}

// Node returns the name of the node.
func (i *Index) Node() string { return i.node }

// SetPod adds or replaces a pod. Pods on other nodes are ignored.
func (i *Index) SetPod(pod *corev1.Pod) {
	if pod.Spec.NodeName != i.node {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pods[keyOf(pod)] = PodOf(pod)
	i.view.byAddress = nil
}

// ReplacePods replaces all pods. Pods on other nodes are ignored.
func (i *Index) ReplacePods(all []*corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.pods)
	for _, pod := range all {
		if pod.Spec.NodeName == i.node {
			i.pods[keyOf(pod)] = PodOf(pod)
		}
	}
	i.view.byAddress = nil
}

// DeletePod removes a pod.
func (i *Index) DeletePod(pod *corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pods, keyOf(pod))
	i.view.byAddress = nil
}

// SetSlice adds a slice, or replaces the one with its name, which it returns; nil if there was none.
func (i *Index) SetSlice(slice *Slice) (before *Slice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before = i.slices[slice.Key]
	i.slices[slice.Key] = slice
	i.replaceBacking(before, slice)
	i.replaceListings(before, slice)
	return before
}

// DeleteSlice removes the slice with that name, and returns it; nil if there is none.
func (i *Index) DeleteSlice(key types.NamespacedName) (before *Slice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before = i.slices[key]
	delete(i.slices, key)
	i.replaceBacking(before, nil)
	i.replaceListings(before, nil)
	return before
}

// SliceKeys returns the names of all slices.
func (i *Index) SliceKeys() []types.NamespacedName {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.slices))
}

// replaceListings replaces the listings of a slice's last version with those of its new one; either may be nil.
func (i *Index) replaceListings(before, after *Slice) {
	before, after = cmp.Or(before, &Slice{}), cmp.Or(after, &Slice{})
	key := cmp.Or(after.Key, before.Key)
	if before.KeptFor != "" || after.KeptFor != "" {
		i.view.keeps = nil
		if delete(i.keepers, key); after.KeptFor != "" {
			i.keepers[key] = after
		}
	}
	for addr := range differences(before, after) {
		old, followed := i.listings[addr]
		if !followed {
			continue
		}
		if i.shared { // invariant 2
			i.listings, i.shared = maps.Clone(i.listings), false
		}
		others := slices.DeleteFunc(slices.Clone(old), func(l Listing) bool { return l.Slice == key })
		i.listings[addr] = inOrder(append(others, after.listings(after.backendsOf(addr))...))
	}
}

// find searches all slices for the listings of some addresses.
func (i *Index) find(addresses sets.Set[netip.Addr]) map[netip.Addr][]Listing {
	found := map[netip.Addr][]Listing{}
	for _, slice := range i.slices {
		for n := range slice.len() {
			if addr := slice.addresses.at(n); addresses.Has(addr) {
				found[addr] = append(found[addr], slice.listings(slice.backends[n:n+1])...)
			}
		}
	}
	for _, listings := range found {
		inOrder(listings)
	}
	return found
}

// inOrder sorts the listings of an address by slice.
func inOrder(listings []Listing) []Listing {
	slices.SortStableFunc(listings, func(a, b Listing) int { return compareKeys(a.Slice, b.Slice) })
	return listings
}

// ListedOnAnotherNode reports whether a slice lists the address [Backend.OnAnotherNode]. It searches all slices.
func (i *Index) ListedOnAnotherNode(addr netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, slice := range i.slices {
		onAnother := func(l Listing) bool { return l.OnAnotherNode(i.node) }
		if slices.ContainsFunc(slice.listings(slice.backendsOf(addr)), onAnother) {
			return true
		}
	}
	return false
}

// View returns the state of the cluster for the addresses.
func (i *Index) View(addresses []netip.Addr) View {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.follow(addresses)
	if i.view.byAddress == nil {
		pods := slices.SortedFunc(maps.Values(i.pods), func(a, b Pod) int { return compareKeys(a.Key, b.Key) })
		i.view = i.view.WithPods(pods)
	}
	if i.view.vips == nil {
		i.view.vips, i.view.OversizedServices = i.findServices()
	}
	if i.view.keeps == nil {
		i.view.keeps = keepsOf(i.keepers)
	}
	i.view.Slices, i.view.listings, i.shared = len(i.slices), i.listings, true
	return i.view
}

// follow keeps the listings of the addresses current from now on. When there are new addresses, it drops the listings
// of all others, so that they do not accumulate.
func (i *Index) follow(addresses []netip.Addr) {
	fresh := sets.Set[netip.Addr]{}
	for _, addr := range addresses {
		if _, known := i.listings[addr]; !known {
			fresh.Insert(addr)
		}
	}
	if len(fresh) == 0 {
		return
	}
	found, old := i.find(fresh), i.listings
	i.listings, i.shared, i.view.vips = make(map[netip.Addr][]Listing, len(addresses)), false, nil
	for _, addr := range addresses {
		i.listings[addr] = old[addr] // nil for new ones
	}
	maps.Copy(i.listings, found)
}

// keepsOf returns the keeps of keep-slices, ordered by the names of the slices.
func keepsOf(keepers map[types.NamespacedName]*Slice) map[netip.Addr][]Keep {
	keeps := map[netip.Addr][]Keep{}
	for _, key := range slices.SortedFunc(maps.Keys(keepers), compareKeys) {
		for keep := range keepers[key].Keeps() {
			keeps[keep.Address] = append(keeps[keep.Address], keep)
		}
	}
	return keeps
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func compareKeys(a, b types.NamespacedName) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
