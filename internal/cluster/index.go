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
)

// Index holds the present state of the API, by address. It is safe for concurrent use.
type Index struct {
	node string

	mu       sync.RWMutex
	pods     map[types.NamespacedName]Pod
	listed   map[types.NamespacedName][]netip.Addr // slice -> its addresses
	listings map[netip.Addr][]Listing
	services map[types.NamespacedName][]netip.Addr // Service -> its virtual addresses
	watched  bool                                  // Services are
}

// NewIndex makes an empty index for the node of that name.
func NewIndex(node string) *Index {
	return &Index{
		node: node, pods: map[types.NamespacedName]Pod{}, listed: map[types.NamespacedName][]netip.Addr{},
		listings: map[netip.Addr][]Listing{}, services: map[types.NamespacedName][]netip.Addr{},
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
}

// DeletePod removes a pod.
func (i *Index) DeletePod(pod *corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pods, keyOf(pod))
}

// SetSlice adds an EndpointSlice, or replaces the one of its name.
func (i *Index) SetSlice(slice *discoveryv1.EndpointSlice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := keyOf(slice)
	i.unlist(key)
	addresses := []netip.Addr{}
	for addr, listing := range Listings(slice) {
		i.listings[addr] = append(i.listings[addr], listing)
		addresses = append(addresses, addr)
	}
	i.listed[key] = addresses
}

// DeleteSlice removes an EndpointSlice.
func (i *Index) DeleteSlice(slice *discoveryv1.EndpointSlice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unlist(keyOf(slice))
}

func (i *Index) unlist(key types.NamespacedName) {
	for _, addr := range i.listed[key] {
		rest := slices.DeleteFunc(i.listings[addr], func(l Listing) bool { return l.Slice == key })
		if len(rest) == 0 {
			delete(i.listings, addr)
			continue
		}
		i.listings[addr] = rest
	}
	delete(i.listed, key)
}

// WatchServices records that the Services in the index are complete and kept current.
func (i *Index) WatchServices() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watched = true
}

// SetService adds or replaces a Service.
func (i *Index) SetService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.services[keyOf(service)] = virtualAddresses(service)
}

// DeleteService removes a Service.
func (i *Index) DeleteService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.services, keyOf(service))
}

// ListedOnAnotherNode reports whether a slice lists the address [Listing.OnAnotherNode].
func (i *Index) ListedOnAnotherNode(addr netip.Addr) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return slices.ContainsFunc(i.listings[addr], func(l Listing) bool { return l.OnAnotherNode(i.node) })
}

// View copies what the index says about the addresses.
func (i *Index) View(addresses []netip.Addr) View {
	i.mu.RLock()
	defer i.mu.RUnlock()
	v := View{
		Node: i.node, Slices: len(i.listed), ServicesKnown: i.watched,
		Pods:     slices.SortedFunc(maps.Values(i.pods), func(a, b Pod) int { return compareKeys(a.Key, b.Key) }),
		listings: make(map[netip.Addr][]Listing, len(addresses)),
		vips:     map[netip.Addr]bool{},
	}
	for _, addr := range addresses {
		if found := i.listings[addr]; len(found) > 0 {
			v.listings[addr] = slices.Clone(found)
		}
	}
	for _, vips := range i.services {
		for _, vip := range vips {
			v.vips[vip] = true
		}
	}
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
