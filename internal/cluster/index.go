// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Index holds the present state of the API, by address. It is safe for concurrent use.
type Index struct {
	node string

	mu      sync.Mutex
	pods    map[types.NamespacedName]Pod
	numbers map[types.NamespacedName]uint32 // slice -> its place in slices
	slices  []*Slice                        // by number; nil where one has gone
	free    []uint32                        // the numbers of those
	places  places
	album   album
	// services are the virtual addresses of each Service.
	services map[types.NamespacedName][]netip.Addr
	// view is the last view, without its picture. What has changed since is nil in it.
	view View
}

// NewIndex makes an empty index for the node of that name.
func NewIndex(node string) *Index {
	return &Index{
		node: node, pods: map[types.NamespacedName]Pod{}, numbers: map[types.NamespacedName]uint32{},
		places: newPlaces(), album: newAlbum(), services: map[types.NamespacedName][]netip.Addr{},
		view: View{Node: node},
	}
}

// SetPod adds or replaces a pod. Pods of other nodes are ignored.
func (i *Index) SetPod(pod *corev1.Pod) {
	if pod.Spec.NodeName != i.node {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pods[keyOf(pod)] = PodOf(pod)
	i.view.byAddress = nil
}

// DeletePod removes a pod.
func (i *Index) DeletePod(pod *corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pods, keyOf(pod))
	i.view.byAddress = nil
}

// SetSlice adds an EndpointSlice, or replaces the one of its name.
func (i *Index) SetSlice(slice *discoveryv1.EndpointSlice) { i.Put(SliceOf(slice)) }

// Put adds a slice, or replaces the one of its name, which it returns; nil if there was none.
func (i *Index) Put(slice *Slice) (before *Slice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	number, known := i.numbers[slice.Key]
	if !known {
		number = i.newNumber()
		i.numbers[slice.Key] = number
	}
	return i.replace(number, slice)
}

// DeleteSlice removes the EndpointSlice of that name, and returns it; nil if there is none.
func (i *Index) DeleteSlice(key types.NamespacedName) (before *Slice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	number, known := i.numbers[key]
	if !known {
		return nil
	}
	delete(i.numbers, key)
	i.free = append(i.free, number)
	return i.replace(number, nil)
}

// SliceKeys returns the names of all EndpointSlices.
func (i *Index) SliceKeys() []types.NamespacedName {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.numbers))
}

func (i *Index) newNumber() uint32 {
	if last := len(i.free) - 1; last >= 0 {
		number := i.free[last]
		i.free = i.free[:last]
		return number
	}
	i.slices = append(i.slices, nil)
	return uint32(len(i.slices) - 1)
}

// replace puts a slice in the place of another; either may be nil. It costs as much as what differs, and a look at all.
func (i *Index) replace(number uint32, after *Slice) (before *Slice) {
	before, i.slices[number] = i.slices[number], after
	for addr, listed := range changes(before, after) {
		i.album.changed(addr)
		switch {
		case listed:
			i.places.add(short(addr), number)
		case !after.mayList(short(addr)):
			i.places.remove(short(addr), number)
		}
	}
	return before
}

// WatchServices records that the Services in the index are complete and kept current.
func (i *Index) WatchServices() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.view.ServicesKnown = true
}

// SetService adds or replaces a Service.
func (i *Index) SetService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.services[keyOf(service)] = virtualAddresses(service)
	i.view.vips = nil
}

// DeleteService removes a Service.
func (i *Index) DeleteService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.services, keyOf(service))
	i.view.vips = nil
}

// ListedOnAnotherNode reports whether a slice lists the address [Listing.OnAnotherNode].
func (i *Index) ListedOnAnotherNode(addr netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.listings(addr), func(l Listing) bool { return l.OnAnotherNode(i.node) })
}

// listings returns where the address is listed, in the order of slices.
func (i *Index) listings(addr netip.Addr) []Listing {
	var all []Listing
	i.places.of(short(addr), func(number uint32) {
		slice := i.slices[number]
		for at, end := slice.of(addr); at < end; at++ {
			all = append(all, slice.listingAt(at))
		}
	})
	slices.SortStableFunc(all, func(a, b Listing) int { return compareKeys(a.Slice, b.Slice) })
	return all
}

// View returns what the index says about the addresses. Where nothing has changed since the last one, and the
// addresses are the same, it allocates nothing.
func (i *Index) View(addresses []netip.Addr) View {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.view.byAddress == nil {
		pods := slices.SortedFunc(maps.Values(i.pods), func(a, b Pod) int { return compareKeys(a.Key, b.Key) })
		i.view = i.view.WithPods(pods)
	}
	if i.view.vips == nil {
		i.view.vips = sets.New[netip.Addr]()
		for _, vips := range i.services {
			i.view.vips.Insert(vips...)
		}
	}
	v := i.view
	v.Slices, v.picture = len(i.numbers), i.album.take(addresses, i.listings)
	return v
}

// PodOf is what a decision needs to know of the pod, whatever node it is on.
func PodOf(pod *corev1.Pod) Pod {
	p := Pod{
		Key: keyOf(pod), UID: pod.UID, Node: pod.Spec.NodeName,
		HostNetwork: pod.Spec.HostNetwork || hostProcess(pod),
		Deleting:    pod.DeletionTimestamp != nil,
		Terminal:    pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
		Running:     pod.Status.Phase == corev1.PodRunning,
		Created:     pod.CreationTimestamp.Time,
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		p.Controller = Controller{Kind: owner.Kind, UID: owner.UID}
	}
	for _, ip := range podIPs(pod) {
		if addr, ok := parse(ip); ok {
			p.Addresses = append(p.Addresses, addr)
		}
	}
	return p
}

// hostProcess reports whether the pod, or any container of it, is a HostProcess one: on Windows all containers of a pod
// are or none is.
func hostProcess(pod *corev1.Pod) bool {
	is := func(o *corev1.WindowsSecurityContextOptions) bool {
		return o != nil && o.HostProcess != nil && *o.HostProcess
	}
	if pod.Spec.SecurityContext != nil && is(pod.Spec.SecurityContext.WindowsOptions) {
		return true
	}
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return c.SecurityContext != nil && is(c.SecurityContext.WindowsOptions)
	})
}

func podIPs(pod *corev1.Pod) []string {
	ips := make([]string, 0, len(pod.Status.PodIPs))
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 && pod.Status.PodIP != "" {
		ips = append(ips, pod.Status.PodIP)
	}
	return ips
}

func virtualAddresses(service *corev1.Service) []netip.Addr {
	all := slices.Concat(service.Spec.ClusterIPs, []string{service.Spec.ClusterIP}, service.Spec.ExternalIPs)
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		all = append(all, ingress.IP)
	}
	var vips []netip.Addr
	for _, s := range all {
		if addr, ok := parse(s); ok {
			vips = append(vips, addr)
		}
	}
	return vips
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func compareKeys(a, b types.NamespacedName) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
