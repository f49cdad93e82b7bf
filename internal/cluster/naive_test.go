// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// naive is what an index should return: it keeps all objects whole and searches all of them.
type naive struct {
	slices   map[types.NamespacedName]*discoveryv1.EndpointSlice
	services map[string]*corev1.Service
}

// listings returns the listings of the address, in the order of slices.
func (n naive) listings(addr netip.Addr) []cluster.Listing {
	var all []cluster.Listing
	for _, slice := range n.slices {
		own := strings.HasPrefix(slice.Labels[discoveryv1.LabelManagedBy], "hnsguard-")
		for _, l := range naiveListings(slice)[addr] {
			if l.Claims() || !own {
				all = append(all, l)
			}
		}
	}
	return sorted(all)
}

// naiveListings returns what a slice lists.
func naiveListings(slice *discoveryv1.EndpointSlice) map[netip.Addr][]cluster.Listing {
	all := map[netip.Addr][]cluster.Listing{}
	if slice == nil {
		return all
	}
	for _, e := range slice.Endpoints {
		ready := ptr.Deref(e.Conditions.Ready, true)
		for n, text := range e.Addresses {
			if addr, known := read()[text]; known {
				all[addr] = append(all[addr], cluster.Listing{
					Slice:   types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name},
					Service: slice.Labels[discoveryv1.LabelServiceName],
					Backend: cluster.Backend{
						Node: ptr.Deref(e.NodeName, ""), Ready: ready, Serving: ptr.Deref(e.Conditions.Serving, ready),
						Terminating: ptr.Deref(e.Conditions.Terminating, false), Spare: n > 0,
					},
				})
			}
		}
	}
	return all
}

// vip reports whether a Service has the address or may have it.
func (n naive) vip(addr netip.Addr) bool {
	is := func(text string) bool { return read()[text] == addr }
	for _, s := range n.services {
		if len(s.Spec.ExternalIPs) > cluster.MaxExternalAddresses || slices.ContainsFunc(s.Spec.ClusterIPs, is) ||
			slices.ContainsFunc(s.Spec.ExternalIPs, is) {
			return true
		}
	}
	return false
}

// read returns the address of each text, if it has one.
var read = sync.OnceValue(func() map[string]netip.Addr {
	all := map[string]netip.Addr{
		"010.000.000.001": netip.MustParseAddr("10.0.0.1"), "::ffff:10.0.0.2": netip.MustParseAddr("10.0.0.2"),
	}
	for n := range 6 {
		for _, text := range []string{fmt.Sprintf("10.0.0.%d", n+1), fmt.Sprintf("2001:db8::%d", n+1)} {
			all[text] = netip.MustParseAddr(text)
		}
	}
	return all
})

// someTexts returns all addresses in slices: few, so that slices share them.
func someTexts() []string {
	return append(slices.Sorted(maps.Keys(read())), "db.example.com", "fe80::1%eth0")
}

// someAddresses returns the parsed addresses.
func someAddresses() []netip.Addr {
	return slices.Compact(slices.SortedFunc(maps.Values(read()), netip.Addr.Compare))
}

func anEndpoint(t *rapid.T) discoveryv1.Endpoint {
	condition := func(name string) *bool { return rapid.Ptr(rapid.Bool(), true).Draw(t, name) }
	return discoveryv1.Endpoint{
		Addresses: rapid.SliceOfN(rapid.SampledFrom(someTexts()), 0, 3).Draw(t, "addresses"),
		NodeName:  rapid.Ptr(rapid.SampledFrom([]string{"win-1", "lin-1", "lin-2"}), true).Draw(t, "node"),
		Conditions: discoveryv1.EndpointConditions{
			Ready: condition("ready"), Serving: condition("serving"), Terminating: condition("terminating"),
		},
	}
}

func aSlice(t *rapid.T) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace"),
			Name:      rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: rapid.SampledFrom([]string{"", "svc", "other"}).Draw(t, "service"),
				discoveryv1.LabelManagedBy:   rapid.SampledFrom([]string{"", "controller", "hnsguard", "hnsguard-keep"}).Draw(t, "manager"),
			},
		},
		AddressType: rapid.SampledFrom([]discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}).Draw(t, "type"),
	}
	for range rapid.IntRange(0, 6).Draw(t, "endpoints") {
		s.Endpoints = append(s.Endpoints, anEndpoint(t))
	}
	return s
}

// history is an index with its expected results, and the views that were taken.
type history struct {
	index *cluster.Index
	naive naive
	// taken are views, each with its expected results, which must not change.
	taken []takenView
}

type takenView struct {
	view cluster.View
	want map[netip.Addr]answer
}

type answer struct {
	listings []cluster.Listing
	vip      bool
}

func (h *history) put(t *rapid.T) {
	s := aSlice(t)
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	h.expectSame(t, h.index.SetSlice(cluster.SliceOf(s)), h.naive.slices[key])
	h.naive.slices[key] = s
}

func (h *history) remove(t *rapid.T) {
	s := aSlice(t) // its key; the slice may not exist
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	h.expectSame(t, h.index.DeleteSlice(key), h.naive.slices[key])
	delete(h.naive.slices, key)
}

func (h *history) putService(t *rapid.T) {
	s := &corev1.Service{}
	s.Name = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
	texts := rapid.SliceOfN(rapid.SampledFrom(someTexts()[:8]), 0, 3)
	s.Spec.ClusterIPs, s.Spec.ExternalIPs = texts.Draw(t, "cluster IPs"), texts.Draw(t, "external IPs")
	if rapid.IntRange(0, 9).Draw(t, "size") == 0 {
		s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, make([]string, cluster.MaxExternalAddresses)...)
	}
	h.index.SetService(s)
	h.naive.services[s.Name] = s
}

func (h *history) removeService(t *rapid.T) {
	s := &corev1.Service{}
	s.Name = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
	h.index.DeleteService(s)
	delete(h.naive.services, s.Name)
}

// expectSame compares what the index keeps of a slice with the slice.
func (h *history) expectSame(t *rapid.T, kept *cluster.Slice, slice *discoveryv1.EndpointSlice) {
	if (kept == nil) != (slice == nil) {
		t.Fatalf("kept %v of %v", kept, slice)
	}
	if slice == nil {
		return
	}
	spell := func(addr netip.Addr, l cluster.Listing) string { return fmt.Sprint(addr, l) }
	var got, want []string
	for addr, l := range kept.Listings() {
		got = append(got, spell(addr, l))
	}
	for addr, listings := range naiveListings(slice) {
		for _, l := range listings {
			want = append(want, spell(addr, l))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("kept of %s:\n%s\nwant:\n%s", kept.Key, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// look takes a view of some addresses, and records its expected results.
func (h *history) look(t *rapid.T) {
	asked := rapid.SliceOfN(rapid.SampledFrom(someAddresses()), 0, 12).Draw(t, "asked")
	taken := takenView{view: h.index.View(asked), want: map[netip.Addr]answer{}}
	for _, addr := range asked {
		taken.want[addr] = answer{h.naive.listings(addr), h.naive.vip(addr)}
	}
	h.taken = append(h.taken, taken)
	if taken.view.Slices != len(h.naive.slices) {
		t.Fatalf("the view has %d slices, and there are %d", taken.view.Slices, len(h.naive.slices))
	}
}

// expectAll compares all results, of the index and of earlier views (invariant 2).
func (h *history) expectAll(t *rapid.T) {
	for _, addr := range someAddresses() {
		want := slices.ContainsFunc(h.naive.listings(addr), func(l cluster.Listing) bool { return l.OnAnotherNode("win-1") })
		if got := h.index.ListedOnAnotherNode(addr); got != want {
			t.Fatalf("%s listed on another node: %t", addr, got)
		}
	}
	for _, taken := range h.taken {
		for addr, want := range taken.want {
			got := taken.view.Listings(addr)
			if !slices.IsSortedFunc(got, func(a, b cluster.Listing) int { return strings.Compare(a.Slice.String(), b.Slice.String()) }) ||
				!slices.Equal(sorted(got), want.listings) {
				t.Fatalf("listings of %s:\n%v\nwant:\n%v", addr, got, want.listings)
			}
			if taken.view.VIP(addr) != want.vip {
				t.Fatalf("%s is an address of a Service: %t", addr, want.vip)
			}
		}
	}
	keys := h.index.SliceKeys()
	for key := range h.naive.slices {
		if !slices.Contains(keys, key) || len(keys) != len(h.naive.slices) {
			t.Fatalf("slices %v, want those of %v", keys, h.naive.slices)
		}
	}
}

// sorted sorts listings of one address and one slice, whose order is undefined.
func sorted(all []cluster.Listing) []cluster.Listing {
	return slices.SortedFunc(slices.Values(all), func(a, b cluster.Listing) int {
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}

// Whatever happens to slices and Services, and whatever the query, the index returns the same as one that keeps them
// whole. Watches, lists and missed deletions all result in these calls: see package slicewatch.
func TestTheIndexSaysWhatTheObjectsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{index: cluster.NewIndex("win-1"), naive: naive{
			slices: map[types.NamespacedName]*discoveryv1.EndpointSlice{}, services: map[string]*corev1.Service{},
		}}
		t.Repeat(map[string]func(*rapid.T){
			"put": h.put, "put again": h.put, "remove": h.remove, "look": h.look, "look again": h.look,
			"put Service": h.putService, "remove Service": h.removeService, "": h.expectAll,
		})
	})
}
