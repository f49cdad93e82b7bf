// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
)

// MaxExternalAddresses is how many addresses of a Service, besides its cluster IPs, and how many ports the index keeps.
// A user who may write Services can put as many into each as fit into an object.
const MaxExternalAddresses = 1000

// annotationPreserve makes kube-proxy for Windows send traffic from outside the cluster only to local endpoints.
// Source: newServiceInfo in pkg/proxy/winkernel/proxier.go.
const annotationPreserve = "preserve-destination"

// Service is the part of a Service that hnsguard keeps: few bytes, because a cluster has thousands. It is immutable.
type Service struct {
	// Proxied is set if kube-proxy programs the Service, and the index keeps all of its addresses and ports.
	Proxied bool
	// InternalLocal and ExternalLocal are the traffic policies; Preserve is set if the Service has
	// [annotationPreserve].
	InternalLocal, ExternalLocal, Preserve bool
	// oversized is set if the Service has more addresses than are kept.
	oversized bool
	// cluster, external and ingress are the numbers of addresses of each class. addresses is in this order.
	cluster, external, ingress uint16
	addresses                  packed
	// Ports are the ports that kube-proxy programs on Windows.
	Ports []ServicePort
}

// ServicePort is one port of a Service.
type ServicePort struct {
	// name contains the name and the protocol, in the form that [Slice.Backs] looks up.
	name unique.Handle[string]
	Port uint16
	// NodePort is zero if there is none.
	NodePort uint16
	UDP      bool
}

// AddressClass is the class of a Service's address.
type AddressClass int

// The classes.
const (
	ClusterIP AddressClass = iota
	ExternalIP
	IngressIP
	// OtherIngress is an ingress address that kube-proxy must not serve, by the will of the Service's load balancer.
	OtherIngress
)

// Addresses yields the virtual addresses of the Service.
func (s *Service) Addresses() iter.Seq2[netip.Addr, AddressClass] {
	return func(yield func(netip.Addr, AddressClass) bool) {
		ends := []uint16{s.cluster, s.cluster + s.external, s.cluster + s.external + s.ingress}
		class := ClusterIP
		for n := range s.addresses.len() {
			for class < OtherIngress && n >= int(ends[class]) {
				class++
			}
			if !yield(s.addresses.at(n), class) {
				return
			}
		}
	}
}

// TrimService removes from a Service what [ServiceOf] does not read, and the addresses and ports beyond its limits.
func TrimService(s *corev1.Service) *corev1.Service {
	kept := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name, DeletionTimestamp: s.DeletionTimestamp,
	}}
	for _, label := range []string{LabelServiceProxyName, corev1.IsHeadlessService} {
		if value, has := s.Labels[label]; has {
			metav1.SetMetaDataLabel(&kept.ObjectMeta, label, value)
		}
	}
	if value, has := s.Annotations[annotationPreserve]; has {
		metav1.SetMetaDataAnnotation(&kept.ObjectMeta, annotationPreserve, value)
	}
	kept.Spec = corev1.ServiceSpec{
		Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs,
		ExternalIPs:           slices.Clone(s.Spec.ExternalIPs[:min(len(s.Spec.ExternalIPs), MaxExternalAddresses+1)]),
		InternalTrafficPolicy: s.Spec.InternalTrafficPolicy, ExternalTrafficPolicy: s.Spec.ExternalTrafficPolicy,
	}
	for _, p := range s.Spec.Ports[:min(len(s.Spec.Ports), MaxExternalAddresses+1)] {
		kept.Spec.Ports = append(kept.Spec.Ports, corev1.ServicePort{
			Name: p.Name, Protocol: p.Protocol, Port: p.Port, NodePort: p.NodePort,
		})
	}
	ingress := s.Status.LoadBalancer.Ingress
	for _, i := range ingress[:min(len(ingress), MaxExternalAddresses+1)] {
		kept.Status.LoadBalancer.Ingress = append(kept.Status.LoadBalancer.Ingress,
			corev1.LoadBalancerIngress{IP: i.IP, IPMode: i.IPMode})
	}
	return kept
}

// ServiceOf returns the part of a Service that the index keeps.
func ServiceOf(service *corev1.Service) *Service {
	var addrs []netip.Addr
	add := func(texts ...string) (added uint16) {
		for _, text := range texts {
			addr, ok := parse(text)
			if ok && !slices.Contains(addrs, addr) && len(addrs) <= MaxExternalAddresses {
				addrs = append(addrs, addr)
				added++
			}
		}
		return added
	}
	var ingress, other []string
	for _, i := range service.Status.LoadBalancer.Ingress {
		if ptr.Deref(i.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			ingress = append(ingress, i.IP)
		} else {
			other = append(other, i.IP)
		}
	}
	s := &Service{
		InternalLocal: ptr.Deref(service.Spec.InternalTrafficPolicy, "") == corev1.ServiceInternalTrafficPolicyLocal,
		ExternalLocal: service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Preserve:      service.Annotations[annotationPreserve] == "true",
		oversized:     len(service.Spec.ExternalIPs)+len(ingress)+len(other) > MaxExternalAddresses,
	}
	s.cluster = add(service.Spec.ClusterIPs...) + add(service.Spec.ClusterIP)
	s.external, s.ingress = add(service.Spec.ExternalIPs...), add(ingress...)
	add(other...)
	s.addresses = pack(addrs)
	s.Proxied = s.cluster > 0 && proxied(service) && !s.oversized
	if s.Proxied {
		s.Ports = portsOf(service)
	}
	return s
}

// proxied reports whether kube-proxy programs the Service at all. Source: ShouldSkipService in pkg/proxy/util, and the
// label selector in cmd/kube-proxy.
func proxied(service *corev1.Service) bool {
	_, otherProxy := service.Labels[LabelServiceProxyName]
	_, headless := service.Labels[corev1.IsHeadlessService]
	return !otherProxy && !headless && service.Spec.Type != corev1.ServiceTypeExternalName &&
		service.DeletionTimestamp.IsZero() && len(service.Spec.Ports) <= MaxExternalAddresses
}

// portsOf returns the TCP and UDP ports: kube-proxy for Windows supports no others.
func portsOf(service *corev1.Service) []ServicePort {
	ports := make([]ServicePort, 0, len(service.Spec.Ports))
	for _, p := range service.Spec.Ports {
		if p.Protocol == corev1.ProtocolSCTP {
			continue
		}
		ports = append(ports, ServicePort{
			name: unique.Make(portName(p.Name, p.Protocol)),
			Port: uint16(p.Port), NodePort: uint16(p.NodePort), UDP: p.Protocol == corev1.ProtocolUDP,
		})
	}
	return ports
}

// portName returns the key that matches ports of a Service and of its slices. No port name has its separators.
func portName(name string, protocol corev1.Protocol) string {
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	return ";" + name + "/" + string(protocol) + ";"
}

// Backing is a Service with the slices from which kube-proxy takes its endpoints.
type Backing struct {
	Key types.NamespacedName
	// Service is nil if only slices name it.
	Service *Service
	Slices  []*Slice
	// Revision is the revision of the [Index] at which any part of the Backing last changed.
	Revision uint64
}

// ReplaceServices replaces all Services. From then on the index has all of them, and they are kept current.
func (i *Index) ReplaceServices(all []*corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	present := make(map[types.NamespacedName]bool, len(all))
	for _, service := range all {
		present[keyOf(service)] = true
		i.setService(keyOf(service), ServiceOf(service))
	}
	for key, b := range i.services {
		if b.Service != nil && !present[key] {
			i.setService(key, nil)
		}
	}
	i.view.ServicesKnown = true
}

// SetService adds or replaces a Service.
func (i *Index) SetService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.setService(keyOf(service), ServiceOf(service))
}

// DeleteService removes a Service.
func (i *Index) DeleteService(service *corev1.Service) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.setService(keyOf(service), nil)
}

// setService replaces a Service; nil removes it.
func (i *Index) setService(key types.NamespacedName, service *Service) {
	if b := i.services[key]; b != nil && reflect.DeepEqual(b.Service, service) {
		return
	}
	i.view.vips = nil
	i.changeBacking(key, func(b *Backing) { b.Service = service })
}

// changeBacking changes a Service or its slices.
func (i *Index) changeBacking(key types.NamespacedName, change func(*Backing)) {
	b := i.services[key]
	if b == nil {
		b = &Backing{Key: key}
		i.services[key] = b
	}
	change(b)
	i.revision++
	b.Revision = i.revision
	if b.Service == nil && len(b.Slices) == 0 {
		delete(i.services, key)
	}
}

// replaceBacking replaces a slice's last version with its new one among the slices of its Service; either may be nil.
func (i *Index) replaceBacking(before, after *Slice) {
	if before.sameForKubeProxy(after) {
		i.exchange(before, after)
		return
	}
	if key, has := before.backs(); has {
		i.changeBacking(key, func(b *Backing) {
			b.Slices = slices.DeleteFunc(slices.Clone(b.Slices), func(s *Slice) bool { return s == before })
		})
	}
	if key, has := after.backs(); has {
		i.changeBacking(key, func(b *Backing) { b.Slices = append(slices.Clip(b.Slices), after) })
	}
}

// exchange replaces a slice with one that is the same for kube-proxy.
func (i *Index) exchange(before, after *Slice) {
	key, has := after.backs()
	if !has {
		return
	}
	b := i.services[key]
	b.Slices = slices.Clone(b.Slices)
	b.Slices[slices.Index(b.Slices, before)] = after
}

// Revision counts the changes of Services and of the slices from which kube-proxy takes their endpoints.
func (i *Index) Revision() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.revision
}

// Backings returns all Services with their slices, in no order. The caller must not change them.
func (i *Index) Backings() []Backing {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]Backing, 0, len(i.services))
	for _, b := range i.services {
		all = append(all, *b)
	}
	return all
}

// findServices searches all Services, and returns which addresses in the listings are theirs, and which Services are
// oversized.
func (i *Index) findServices() (vips sets.Set[netip.Addr], oversized []types.NamespacedName) {
	vips = sets.New[netip.Addr]()
	for key, b := range i.services {
		if b.Service == nil {
			continue
		}
		if b.Service.oversized {
			oversized = append(oversized, key)
		}
		for n := range b.Service.addresses.len() {
			addr := b.Service.addresses.at(n)
			if _, followed := i.listings[addr]; followed {
				vips.Insert(addr)
			}
		}
	}
	slices.SortFunc(oversized, compareKeys)
	return vips, oversized
}
