// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"iter"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
)

// LabelServiceProxyName marks objects for another proxy than kube-proxy.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// Slice is the part of an EndpointSlice that hnsguard keeps: a few bytes per address; a cluster may have a million
// addresses. It is immutable.
type Slice struct {
	Key types.NamespacedName
	// Service is the name of the Service in the slice's namespace; it may be empty.
	Service string
	// OtherProxy is set if the slice has the label of another proxy than kube-proxy, Own if an agent of hnsguard wrote it
	// to act on another owner's Service.
	OtherProxy, Own bool
	// KeptFor is the node of a keep-slice; it is empty for all other slices.
	KeptFor string
	// AddressType is the family of the addresses.
	AddressType discoveryv1.AddressType
	// ResourceVersion is the version of the object.
	ResourceVersion string
	// Port is the number of the only port; zero if there is none or there are several.
	Port int32
	// ports are the names of the ports with a number: see [portName].
	ports unique.Handle[string]

	// addresses are sorted; backends has the backend of each.
	addresses packed
	backends  []unique.Handle[Backend]
}

// SliceOf returns the part of a slice that hnsguard keeps; nil for nil.
func SliceOf(slice *discoveryv1.EndpointSlice) *Slice {
	if slice == nil {
		return nil
	}
	s := &Slice{
		Key: keyOf(slice), Service: slice.Labels[discoveryv1.LabelServiceName],
		AddressType: slice.AddressType, ResourceVersion: slice.ResourceVersion,
		Own: strings.HasPrefix(slice.Labels[discoveryv1.LabelManagedBy], ManagedBy+"-"),
	}
	_, s.OtherProxy = slice.Labels[LabelServiceProxyName]
	if slice.Labels[discoveryv1.LabelManagedBy] == ManagedByKeep && !s.OtherProxy {
		s.KeptFor = slice.Annotations[AnnotationNode]
	}
	if len(slice.Ports) == 1 && slice.Ports[0].Port != nil {
		s.Port = *slice.Ports[0].Port
	}
	s.ports = unique.Make(portNames(slice.Ports))
	s.keep(slice.Endpoints)
	return s
}

// keep stores the addresses of endpoints.
func (s *Slice) keep(endpoints []discoveryv1.Endpoint) {
	type listed struct {
		addr    netip.Addr
		backend unique.Handle[Backend]
	}
	all := make([]listed, 0, len(endpoints))
	for i := range endpoints {
		backend := backendOf(&endpoints[i])
		for n, text := range endpoints[i].Addresses {
			backend.Spare = n > 0
			if addr, ok := parse(text); ok {
				all = append(all, listed{addr, unique.Make(backend)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b listed) int { return a.addr.Compare(b.addr) })
	addrs := make([]netip.Addr, len(all))
	s.backends = make([]unique.Handle[Backend], len(all))
	for n, l := range all {
		addrs[n], s.backends[n] = l.addr, l.backend
	}
	s.addresses = pack(addrs)
}

// ServiceKey returns the namespace and name of the slice's Service.
func (s *Slice) ServiceKey() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Key.Namespace, Name: s.Service}
}

// portNames returns the names of the ports with a number: kube-proxy ignores others.
func portNames(ports []discoveryv1.EndpointPort) string {
	names := ""
	for _, p := range ports {
		if ptr.Deref(p.Port, 0) != 0 {
			names += portName(ptr.Deref(p.Name, ""), ptr.Deref(p.Protocol, corev1.ProtocolTCP))
		}
	}
	return names
}

// Backs reports whether the slice has a port of that name and protocol: kube-proxy matches ports by these.
func (s *Slice) Backs(p ServicePort) bool {
	return s.ports == p.name || strings.Contains(s.ports.Value(), p.name.Value())
}

// backs returns the Service for which kube-proxy takes endpoints from the slice. Slices that agents of hnsguard wrote
// to act on a Service do not count (invariant 7).
func (s *Slice) backs() (service types.NamespacedName, has bool) {
	if s == nil || s.Service == "" || s.OtherProxy || s.Own {
		return types.NamespacedName{}, false
	}
	return s.ServiceKey(), true
}

// sameForKubeProxy reports whether two versions of a slice are the same for kube-proxy.
func (s *Slice) sameForKubeProxy(other *Slice) bool {
	if s == nil || other == nil {
		return s == other
	}
	before, _ := s.backs()
	after, _ := other.backs()
	return before == after && s.ports == other.ports && s.AddressType == other.AddressType && s.SameEndpoints(other)
}

// Listings yields every address that the slice lists, in the order of addresses. A nil slice lists nothing.
func (s *Slice) Listings() iter.Seq2[netip.Addr, Listing] {
	return func(yield func(netip.Addr, Listing) bool) {
		for n := range s.len() {
			if !yield(s.addresses.at(n), s.listing(s.backends[n])) {
				return
			}
		}
	}
}

// Backends yields the backend of every address, in the order of addresses.
func (s *Slice) Backends() iter.Seq2[netip.Addr, Backend] {
	return func(yield func(netip.Addr, Backend) bool) {
		for n, b := range s.backends {
			if !yield(s.addresses.at(n), b.Value()) {
				return
			}
		}
	}
}

func (s *Slice) listing(b unique.Handle[Backend]) Listing {
	return Listing{Slice: s.Key, Service: s.Service, OtherProxy: s.OtherProxy, Backend: b.Value()}
}

// shows reports whether a view shows the listing (invariant 7).
func (s *Slice) shows(l Listing) bool { return l.Claims() || !s.Own }

// listings returns the listings of an address that a view shows.
func (s *Slice) listings(backends []unique.Handle[Backend]) []Listing {
	all := make([]Listing, 0, len(backends))
	for _, b := range backends {
		if l := s.listing(b); s.shows(l) {
			all = append(all, l)
		}
	}
	return all
}

func (s *Slice) len() int {
	if s == nil {
		return 0
	}
	return len(s.backends)
}

// backendsOf returns all backends of the slice that have an address.
func (s *Slice) backendsOf(addr netip.Addr) []unique.Handle[Backend] {
	from := sort.Search(s.len(), func(n int) bool { return !s.addresses.at(n).Less(addr) })
	return s.backends[from:s.end(from, addr)]
}

// end returns the end of the range of an address that would begin at n.
func (s *Slice) end(n int, addr netip.Addr) int {
	for n < s.len() && s.addresses.at(n) == addr {
		n++
	}
	return n
}

// differences yields every address that two slices list differently.
func differences(a, b *Slice) iter.Seq[netip.Addr] {
	relabelled := a.Service != b.Service || a.Own != b.Own
	return func(yield func(netip.Addr) bool) {
		for atA, atB := 0, 0; atA < a.len() || atB < b.len(); {
			addr := lesser(a, atA, b, atB)
			endA, endB := a.end(atA, addr), b.end(atB, addr)
			if (relabelled || !slices.Equal(a.backends[atA:endA], b.backends[atB:endB])) && !yield(addr) {
				return
			}
			atA, atB = endA, endB
		}
	}
}

// lesser returns the lesser of two addresses, at most one of which is beyond the end of its slice.
func lesser(a *Slice, atA int, b *Slice, atB int) netip.Addr {
	if atA == a.len() || atB < b.len() && b.addresses.at(atB).Less(a.addresses.at(atA)) {
		return b.addresses.at(atB)
	}
	return a.addresses.at(atA)
}

// SameEndpoints reports whether both slices have the same endpoints and port, as far as hnsguard keeps them.
func (s *Slice) SameEndpoints(other *Slice) bool {
	return s.Port == other.Port && s.addresses == other.addresses && slices.Equal(s.backends, other.backends)
}

// AddressesElsewhere returns the addresses that the slice lists [Backend.Elsewhere] for the node.
func (s *Slice) AddressesElsewhere(node string) sets.Set[netip.Addr] {
	return s.addressesThat(func(l Listing) bool { return l.Elsewhere(node) })
}

// AddressesOn returns the addresses that the slice lists on the node.
func (s *Slice) AddressesOn(node string) sets.Set[netip.Addr] {
	return s.addressesThat(func(l Listing) bool { return !l.Elsewhere(node) })
}

// AddressesOnOtherNodes returns the addresses that the slice lists [Backend.OnAnotherNode].
func (s *Slice) AddressesOnOtherNodes(node string) sets.Set[netip.Addr] {
	return s.addressesThat(func(l Listing) bool { return l.OnAnotherNode(node) })
}

func (s *Slice) addressesThat(are func(Listing) bool) sets.Set[netip.Addr] {
	all := sets.New[netip.Addr]()
	for addr, listing := range s.Listings() {
		if are(listing) {
			all.Insert(addr)
		}
	}
	return all
}
