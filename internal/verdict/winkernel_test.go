// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// proxier is one sync of kube-proxy on an empty node, for one family: syncProxyRules of pkg/proxy/winkernel/proxier.go,
// line by line, and endpointslicecache.go before it. It shares nothing with the product.
type proxier struct {
	family    corev1.IPFamily
	node      string
	services  []*corev1.Service
	slices    []*discoveryv1.EndpointSlice
	endpoints []verdict.Endpoint
	// noDSR is set for an old Windows without DSR.
	noDSR bool
	// reverse reverses the order of the map of endpoints of several slices.
	reverse bool
	made    []hns.LoadBalancer
}

type endpointInfo struct {
	ip                                 netip.Addr
	port                               int32
	local, ready, serving, terminating bool
}

func (p *proxier) is(addr netip.Addr) bool { return addr.Is6() == (p.family == corev1.IPv6Protocol) }

// endpointsOf is endpointInfoByServicePort and addEndpoints.
func (p *proxier) endpointsOf( //nolint:gocyclo // as in kube-proxy
	service *corev1.Service, port corev1.ServicePort,
) []endpointInfo {
	all, cache := []endpointInfo{}, slices.Clone(p.slices)
	if p.reverse {
		slices.Reverse(cache)
	}
	for _, s := range cache {
		_, other := s.Labels["service.kubernetes.io/service-proxy-name"]
		if other || s.Namespace != service.Namespace || s.Labels[discoveryv1.LabelServiceName] != service.Name ||
			string(s.AddressType) != string(p.family) {
			continue
		}
		for _, sp := range s.Ports {
			if ptr.Deref(sp.Port, 0) == 0 || ptr.Deref(sp.Name, "") != port.Name ||
				ptr.Deref(sp.Protocol, corev1.ProtocolTCP) != port.Protocol {
				continue
			}
			for _, e := range s.Endpoints {
				info := endpointInfo{
					netip.MustParseAddr(e.Addresses[0]), *sp.Port, ptr.Deref(e.NodeName, "") == p.node,
					ptr.Deref(e.Conditions.Ready, true), ptr.Deref(e.Conditions.Serving, true),
					ptr.Deref(e.Conditions.Terminating, false),
				}
				at := slices.IndexFunc(all, func(o endpointInfo) bool { return o.ip == info.ip && o.port == info.port })
				switch {
				case at < 0:
					all = append(all, info)
				case !info.terminating:
					all[at] = info
				}
			}
		}
	}
	return all
}

func (p *proxier) sync() {
	for _, s := range p.services {
		_, headless := s.Labels["service.kubernetes.io/headless"]
		_, other := s.Labels["service.kubernetes.io/service-proxy-name"]
		vip := ""
		for _, text := range s.Spec.ClusterIPs {
			if addr, err := netip.ParseAddr(text); err == nil && p.is(addr) {
				vip = text
			}
		}
		if headless || other || vip == "" || s.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		for _, port := range s.Spec.Ports {
			if port.Protocol != corev1.ProtocolSCTP {
				p.program(s, port, vip)
			}
		}
	}
}

// program is the body of the loop over svcPortMap.
func (p *proxier) program( //nolint:gocyclo // as in kube-proxy
	s *corev1.Service, port corev1.ServicePort, vip string,
) {
	internalLocal := s.Spec.InternalTrafficPolicy != nil &&
		*s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	dsr := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && !p.noDSR
	preserve := s.Annotations["preserve-destination"] == "true" && !p.noDSR
	var ingress []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(i.IP)
		if err == nil && p.is(addr) && ptr.Deref(i.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			ingress = append(ingress, i.IP)
		}
	}
	eps := p.endpointsOf(s, port)
	allTerminating, allNonServing, someServing := false, false, true
	if len(ingress) > 0 {
		allTerminating, allNonServing = true, true
		for _, e := range eps {
			if dsr && !e.local {
				continue
			}
			if (e.ready || e.terminating) && !e.terminating {
				allTerminating = false
			}
			if e.serving {
				allNonServing = false
			}
		}
		someServing = !allNonServing
	}
	var all, locals []hns.EndpointID
	for _, e := range eps {
		if internalLocal && dsr && !e.local {
			continue
		}
		if someServing && (!allTerminating && !e.ready || !e.serving) {
			continue
		}
		queried, has := p.queried(e.ip)
		if !has && e.local {
			continue
		}
		if !has {
			queried = verdict.Endpoint{Endpoint: hns.Endpoint{
				ID: hns.EndpointID("made-for-" + e.ip.String()), Network: podNet, Addresses: []netip.Addr{e.ip},
				MAC: kubeproxy.RemoteMAC(e.ip), Flags: hns.FlagRemote,
			}}
			p.endpoints = append(p.endpoints, queried)
		}
		all = append(all, queried.ID)
		if !queried.Remote() {
			locals = append(locals, queried.ID)
		}
	}
	available := !allTerminating && !allNonServing
	p.create(vip, port.Protocol, port.Port, true, internalLocal, all, locals)
	if port.NodePort > 0 {
		p.create("", port.Protocol, port.NodePort, available, preserve || dsr, all, locals)
	}
	for _, external := range s.Spec.ExternalIPs {
		if addr, err := netip.ParseAddr(external); err == nil && p.is(addr) {
			p.create(external, port.Protocol, port.Port, available, dsr, all, locals)
		}
	}
	for _, ip := range ingress {
		p.create(ip, port.Protocol, port.Port, true, preserve || dsr, all, locals)
	}
}

func (p *proxier) queried(ip netip.Addr) (found verdict.Endpoint, has bool) {
	for _, e := range p.endpoints { // the last one wins, as in 1.32.3
		if e.Network == podNet && slices.Contains(e.Addresses, ip) {
			found, has = e, true
		}
	}
	return found, has
}

func (p *proxier) create(
	vip string, protocol corev1.Protocol, port int32, available, local bool, all, locals []hns.EndpointID,
) {
	if local {
		all = locals
	}
	if !available || len(all) == 0 {
		return
	}
	lb := hns.LoadBalancer{
		ID:        hns.LoadBalancerID(fmt.Sprintf("%s-%s-%s-%d", p.family, vip, protocol, port)),
		Endpoints: slices.Clone(all), Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: uint16(port)}},
	}
	if protocol == corev1.ProtocolUDP {
		lb.Ports[0].Protocol = 17
	}
	if vip != "" {
		lb.FrontendVIPs = []netip.Addr{netip.MustParseAddr(vip)}
	}
	p.made = append(p.made, lb)
}
