// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The checks require what an API server sets in every object. An object that was cut off, or a manifest, is not read as
// one with less content. They return what is wrong.

func checkNode(node *corev1.Node) []string {
	if node.Status.NodeInfo.KubeletVersion == "" && NodeOf(node).OS == "" {
		return []string{"status.nodeInfo is missing: it was cut off, or is a manifest instead of a recorded Node"}
	}
	return nil
}

func checkPod(pod *corev1.Pod) []string {
	var problems []string
	if pod.Status.Phase == "" {
		problems = append(problems, "status.phase is missing: it was cut off, or is a manifest instead of a recorded Pod")
	}
	problems = append(problems, checkAddr("status.podIP", pod.Status.PodIP)...)
	for i, ip := range pod.Status.PodIPs {
		problems = append(problems, checkAddr(fmt.Sprintf("status.podIPs[%d].ip", i), ip.IP)...)
	}
	return problems
}

func checkSlice(slice *discoveryv1.EndpointSlice) []string {
	switch slice.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
	case discoveryv1.AddressTypeFQDN:
		return nil
	default:
		return []string{fmt.Sprintf("addressType is %q: want IPv4, IPv6 or FQDN", slice.AddressType)}
	}
	var problems []string
	for i, endpoint := range slice.Endpoints {
		for j, address := range endpoint.Addresses {
			problems = append(problems, checkAddr(fmt.Sprintf("endpoints[%d].addresses[%d]", i, j), address)...)
		}
	}
	return problems
}

func checkService(service *corev1.Service) []string {
	var problems []string
	if service.Spec.Type == "" {
		problems = append(problems, "spec.type is missing: it was cut off, or is a manifest instead of a recorded Service")
	}
	for i, ip := range service.Spec.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			problems = append(problems, checkAddr(fmt.Sprintf("spec.clusterIPs[%d]", i), ip)...)
		}
	}
	if ip := service.Spec.ClusterIP; ip != corev1.ClusterIPNone {
		problems = append(problems, checkAddr("spec.clusterIP", ip)...)
	}
	for i, ip := range service.Spec.ExternalIPs {
		problems = append(problems, checkAddr(fmt.Sprintf("spec.externalIPs[%d]", i), ip)...)
	}
	for i, ingress := range service.Status.LoadBalancer.Ingress {
		problems = append(problems, checkAddr(fmt.Sprintf("status.loadBalancer.ingress[%d].ip", i), ingress.IP)...)
	}
	return problems
}

// checkAddr checks an IP address that may be missing.
func checkAddr(path, text string) []string {
	if text == "" {
		return nil
	}
	if _, err := netip.ParseAddr(text); err != nil {
		return []string{fmt.Sprintf("%s: parsing IP address: %v", path, err)}
	}
	return nil
}
