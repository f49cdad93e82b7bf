// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Every difference in what is kept makes kube-proxy act. Differences in what is not kept may make it act too.
func TestWhichSlicesHaveTheSameEndpoints(t *testing.T) {
	endpoint := func(change func(*discoveryv1.EndpointSlice, *discoveryv1.Endpoint)) *cluster.Slice {
		s := sliceOf("cart", discoveryv1.Endpoint{
			Addresses: []string{"10.0.0.1"}, NodeName: new("lin-1"),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "cart-0", UID: "1"},
		})
		s.Ports = []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80))}}
		if change != nil {
			change(s, &s.Endpoints[0])
		}
		return cluster.SliceOf(s)
	}
	for name, tc := range map[string]struct {
		change func(*discoveryv1.EndpointSlice, *discoveryv1.Endpoint)
		same   bool
	}{
		"no change":         {nil, true},
		"a zone":            {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Zone = new("a") }, true},
		"a version":         {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.ResourceVersion = "9" }, true},
		"another pod":       {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.TargetRef.UID = "2" }, true},
		"a port's name":     {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Ports[0].Name = nil }, true},
		"a default spelled": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Conditions.Ready = new(true) }, true},
		"one more port": {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) {
			s.Ports = []discoveryv1.EndpointPort{{Name: new("metrics"), Port: new(int32(90))}, s.Ports[0]}
		}, false},
		"an address": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Addresses[0] = "10.0.0.2" }, false},
		"one more address": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) {
			e.Addresses = append(e.Addresses, "10.0.0.2")
		}, false},
		"no endpoint": {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Endpoints = nil }, false},
		"a node":      {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.NodeName = new("lin-2") }, false},
		"no node":     {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.NodeName = nil }, false},
		"a condition": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Conditions.Ready = new(false) }, false},
		"a port":      {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Ports[0].Port = new(int32(81)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(endpoint(tc.change).SameEndpoints(endpoint(nil))).To(Equal(tc.same))
		})
	}
}

// A view without changes costs nothing, however large the cluster.
func TestAViewWithoutChangesAllocatesNothing(t *testing.T) {
	index := cluster.NewIndex("win-1")
	index.SetPod(podOn("win-1", nil))
	var asked []netip.Addr
	s := sliceOf("a")
	for n := range 1000 {
		asked = append(asked, netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{asked[n].String()}})
	}
	set(index, s)
	index.View(asked)
	NewWithT(t).Expect(testing.AllocsPerRun(10, func() { index.View(asked) })).To(BeZero())
}

// The IPv4 address is a hash of the IPv6 one: an index by hash would take one for the other.
func TestASliceIsCreatedAgainWithTheOtherFamily(t *testing.T) {
	g := NewWithT(t)
	v4, v6 := netip.MustParseAddr("133.246.122.232"), netip.MustParseAddr("2001:db8::1")
	index := cluster.NewIndex("win-1")
	for range 2 {
		set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{v6.String()}}))
		view := index.View([]netip.Addr{v4, v6})
		g.Expect(view.Listings(v6)).To(HaveLen(1))
		g.Expect(view.Listings(v4)).To(BeEmpty())
		set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{v4.String()}}))
		view = index.View([]netip.Addr{v4, v6})
		g.Expect(view.Listings(v4)).To(HaveLen(1))
		g.Expect(view.Listings(v6)).To(BeEmpty())
	}
}
