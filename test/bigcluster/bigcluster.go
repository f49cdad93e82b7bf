// SPDX-License-Identifier: Apache-2.0

// Package bigcluster creates the EndpointSlices of a cluster with 100,000 pods, like the endpointslice controller.
// Measurements with it are comparable: the cost of the agent, and that of kube-proxy.
package bigcluster

import (
	"fmt"
	"net/netip"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The size of the cluster.
const (
	Slices     = 1000
	PerSlice   = 100
	PerService = 10 // slices
	Addresses  = Slices * PerSlice
)

// Address returns the address of the pod with the number.
func Address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 128 + byte(n>>16), byte(n >> 8), byte(n)})
}

// Service returns the name of the Service of the slice with the number.
func Service(slice int) string { return fmt.Sprintf("service-%d", slice/PerService) }

// Slice returns the slice with the number. Each version lists its last endpoint differently.
func Slice(namespace string, number, version int) *discoveryv1.EndpointSlice {
	service := Service(number)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("%s-%05d", service, number),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)},
		},
	}
	for at := range PerSlice {
		n := number*PerSlice + at
		ready := at != PerSlice-1 || version%2 == 0
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{Address(n).String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready, Terminating: new(false)},
			NodeName:   new(fmt.Sprintf("aks-linux-%05d-vmss", n%1000)), Zone: new("westeurope-1"),
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: namespace, Name: fmt.Sprintf("%s-7d4b9c-%05d", service, at),
				UID: types.UID(uuid.NewSHA1(uuid.Nil, []byte(Address(n).String())).String()),
			},
		})
	}
	return s
}
