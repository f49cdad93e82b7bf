// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// MaxExternalAddresses is how many addresses the index keeps of a Service besides its cluster IPs. A user who may
// write Services can give each one as many as fit into an object.
const MaxExternalAddresses = 1000

// serviceAddresses are the virtual addresses of a Service.
type serviceAddresses struct {
	packed
	// oversized is set if the Service has more than these.
	oversized bool
}

// ExternalAddresses returns the addresses of a Service besides its cluster IPs. If it has more than
// [MaxExternalAddresses], the result has one more than that, and no others.
func ExternalAddresses(service *corev1.Service) []string {
	all := slices.Clone(service.Spec.ExternalIPs)
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IP != "" {
			all = append(all, ingress.IP)
		}
	}
	return slices.Clone(all[:min(len(all), MaxExternalAddresses+1)]) // which lets the others be freed
}

func addressesOf(service *corev1.Service) serviceAddresses {
	external := ExternalAddresses(service)
	oversized := len(external) > MaxExternalAddresses
	all := slices.Concat(service.Spec.ClusterIPs, []string{service.Spec.ClusterIP},
		external[:min(len(external), MaxExternalAddresses)])
	var addrs []netip.Addr
	for _, text := range all {
		if addr, ok := parse(text); ok {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return serviceAddresses{pack(slices.Compact(addrs)), oversized}
}

// ReplaceServices replaces all Services. From then on those in the index are complete, and kept current.
func (i *Index) ReplaceServices(all []*corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.services)
	for _, service := range all {
		i.services[keyOf(service)] = addressesOf(service)
	}
	i.view.vips, i.view.ServicesKnown = nil, true
}

// SetService adds or replaces a Service.
func (i *Index) SetService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.services[keyOf(service)] = addressesOf(service)
	i.view.vips = nil
}

// DeleteService removes a Service.
func (i *Index) DeleteService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.services, keyOf(service))
	i.view.vips = nil
}

// findServices looks at all Services, and returns which of the addresses in the listings they have, and which of them
// are oversized.
func (i *Index) findServices() (vips sets.Set[netip.Addr], oversized []types.NamespacedName) {
	vips = sets.New[netip.Addr]()
	for key, addresses := range i.services {
		if addresses.oversized {
			oversized = append(oversized, key)
		}
		for n := range addresses.len() {
			addr := addresses.at(n)
			if _, followed := i.listings[addr]; followed {
				vips.Insert(addr)
			}
		}
	}
	slices.SortFunc(oversized, compareKeys)
	return vips, oversized
}
