// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"net/netip"
	"testing"

	"github.com/cespare/xxhash/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// What makes kube-proxy look again is noticed, although endpoints are not kept.
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
		"no change":  {nil, true},
		"a zone":     {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Zone = new("a") }, true},
		"a version":  {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.ResourceVersion = "9" }, true},
		"an address": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Addresses[0] = "10.0.0.2" }, false},
		"one more address": {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) {
			e.Addresses = append(e.Addresses, "10.0.0.2")
		}, false},
		"no endpoint":   {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Endpoints = nil }, false},
		"a node":        {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.NodeName = new("lin-2") }, false},
		"no node":       {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.NodeName = nil }, false},
		"a condition":   {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.Conditions.Ready = new(true) }, false},
		"another pod":   {func(_ *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) { e.TargetRef.UID = "2" }, false},
		"a port":        {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Ports[0].Port = new(int32(81)) }, false},
		"a port's name": {func(s *discoveryv1.EndpointSlice, _ *discoveryv1.Endpoint) { s.Ports[0].Name = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(endpoint(tc.change).SameEndpoints(endpoint(nil))).To(Equal(tc.same))
		})
	}
}

// alike returns two IPv6 addresses that the index keeps under the same four bytes.
func alike(t *testing.T) (a, b netip.Addr) {
	t.Helper()
	seen := map[uint32]netip.Addr{}
	for addr := netip.MustParseAddr("2001:db8::"); len(seen) < 1_000_000; addr = addr.Next() {
		bytes := addr.As16()
		short := uint32(xxhash.Sum64(bytes[:]))
		if other, taken := seen[short]; taken {
			return other, addr
		}
		seen[short] = addr
	}
	t.Fatal("no two addresses are alike")
	return a, b
}

func TestAddressesThatAreKeptAlikeAreToldApart(t *testing.T) {
	g := NewWithT(t)
	a, b := alike(t)
	index := cluster.NewIndex("win-1")
	listed := func(addr netip.Addr) int { return len(index.View([]netip.Addr{addr}).Listings(addr)) }
	set := func(name string, addrs ...netip.Addr) {
		s := sliceOf(name)
		for _, addr := range addrs {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr.String()}})
		}
		index.SetSlice(s)
	}
	set("one", a)
	g.Expect([]int{listed(a), listed(b)}).To(Equal([]int{1, 0}))
	set("one", a, b)
	set("two", b)
	g.Expect([]int{listed(a), listed(b)}).To(Equal([]int{1, 2}))
	set("one", b)
	g.Expect([]int{listed(a), listed(b)}).To(Equal([]int{0, 2}), "the other one is still in the slice")
	set("one")
	g.Expect([]int{listed(a), listed(b)}).To(Equal([]int{0, 1}))
	index.DeleteSlice(keyOf("two"))
	g.Expect([]int{listed(a), listed(b)}).To(Equal([]int{0, 0}))
}

// A look that finds nothing changed is free, however much there is.
func TestAViewWithoutChangesAllocatesNothing(t *testing.T) {
	index := cluster.NewIndex("win-1")
	index.SetPod(podOn("win-1", nil))
	var asked []netip.Addr
	s := sliceOf("a")
	for n := range 1000 {
		asked = append(asked, netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{asked[n].String()}})
	}
	index.SetSlice(s)
	index.View(asked)
	NewWithT(t).Expect(testing.AllocsPerRun(10, func() { index.View(asked) })).To(BeZero())
}
