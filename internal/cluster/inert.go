// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// FamilyOf returns the address type of the slices that list the address.
func FamilyOf(addr netip.Addr) discoveryv1.AddressType {
	if addr.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// InertSlice returns a slice for another owner's Service that makes kube-proxy act but cannot receive traffic: its
// address is never ready, under a port that the Service does not have.
func InertSlice(name, managedBy string, service types.NamespacedName, addr netip.Addr) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace, Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: managedBy},
		},
		AddressType: FamilyOf(addr),
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{addr.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: new(managedBy), Port: new(int32(1)), Protocol: new(corev1.ProtocolTCP)}},
	}
}
