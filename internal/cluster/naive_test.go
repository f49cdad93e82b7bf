// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// naive is what an index of EndpointSlices should say, by keeping them whole and looking through all of them.
type naive map[types.NamespacedName]*discoveryv1.EndpointSlice

// listings are where the address is listed, in the order of slices.
func (n naive) listings(addr netip.Addr) []cluster.Listing {
	var all []cluster.Listing
	for _, slice := range n {
		for listed, listing := range cluster.Listings(slice) {
			if listed == addr {
				all = append(all, listing)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b cluster.Listing) int { return strings.Compare(a.Slice.String(), b.Slice.String()) })
	return all
}

// someAddresses are all that exist: few, so that slices share them, in the forms in which they are found.
func someAddresses() []string {
	var all []string
	for n := range 6 {
		all = append(all, fmt.Sprintf("10.0.0.%d", n+1), fmt.Sprintf("2001:db8::%d", n+1))
	}
	return append(all, "010.000.000.001", "::ffff:10.0.0.2", "db.example.com", "fe80::1%eth0")
}

func anEndpoint(t *rapid.T) discoveryv1.Endpoint {
	condition := func(name string) *bool { return rapid.Ptr(rapid.Bool(), true).Draw(t, name) }
	return discoveryv1.Endpoint{
		Addresses: rapid.SliceOfN(rapid.SampledFrom(someAddresses()), 0, 2).Draw(t, "addresses"),
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
			Labels:    map[string]string{discoveryv1.LabelServiceName: rapid.SampledFrom([]string{"", "svc", "other"}).Draw(t, "service")},
		},
		AddressType: rapid.SampledFrom([]discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}).Draw(t, "type"),
	}
	for range rapid.IntRange(0, 6).Draw(t, "endpoints") {
		s.Endpoints = append(s.Endpoints, anEndpoint(t))
	}
	return s
}

// history is an index and what it should say, and views that were taken on the way.
type history struct {
	index *cluster.Index
	naive naive
	// taken are views, each with what it should say for ever.
	taken []takenView
}

type takenView struct {
	view cluster.View
	want map[netip.Addr][]cluster.Listing
}

func (h *history) put(t *rapid.T) {
	s := aSlice(t)
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	h.expectSame(t, h.index.Put(cluster.SliceOf(s)), h.naive[key])
	h.naive[key] = s
}

func (h *history) remove(t *rapid.T) {
	s := aSlice(t) // its key; it may not be there
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	h.expectSame(t, h.index.DeleteSlice(key), h.naive[key])
	delete(h.naive, key)
}

// expectSame compares what is kept of a slice with the slice.
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
	for addr, l := range cluster.Listings(slice) {
		want = append(want, spell(addr, l))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("kept of %s:\n%s\nwant:\n%s", kept.Key, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// look takes a view of some addresses, and compares it with the naive index.
func (h *history) look(t *rapid.T) {
	var asked []netip.Addr
	for _, s := range rapid.SliceOfN(rapid.SampledFrom(someAddresses()[:12]), 0, 12).Draw(t, "asked") {
		asked = append(asked, netip.MustParseAddr(s))
	}
	taken := takenView{view: h.index.View(asked), want: map[netip.Addr][]cluster.Listing{}}
	for _, addr := range asked {
		taken.want[addr] = h.naive.listings(addr)
	}
	h.taken = append(h.taken, taken)
	if taken.view.Slices != len(h.naive) {
		t.Fatalf("the view has %d slices, and there are %d", taken.view.Slices, len(h.naive))
	}
}

// expectAll compares everything that can be asked, of now and of then (invariant 2).
func (h *history) expectAll(t *rapid.T) {
	for _, s := range someAddresses()[:12] {
		addr := netip.MustParseAddr(s)
		want := slices.ContainsFunc(h.naive.listings(addr), func(l cluster.Listing) bool { return l.OnAnotherNode("win-1") })
		if got := h.index.ListedOnAnotherNode(addr); got != want {
			t.Fatalf("%s listed on another node: %t", addr, got)
		}
	}
	for _, taken := range h.taken {
		for addr, want := range taken.want {
			if got := taken.view.Listings(addr); !slices.Equal(sorted(got), sorted(want)) {
				t.Fatalf("listings of %s:\n%v\nwant:\n%v", addr, got, want)
			}
		}
	}
	keys := h.index.SliceKeys()
	for key := range h.naive {
		if !slices.Contains(keys, key) || len(keys) != len(h.naive) {
			t.Fatalf("slices %v, want those of %v", keys, h.naive)
		}
	}
}

// sorted puts listings of one address and one slice into an order, of which there is none.
func sorted(all []cluster.Listing) []cluster.Listing {
	return slices.SortedFunc(slices.Values(all), func(a, b cluster.Listing) int {
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}

// Whatever happens to slices, the index says the same as one that keeps them whole. Watches, lists and deletions that
// were missed all come down to these: see package slicewatch.
func TestTheIndexSaysWhatTheSlicesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{index: cluster.NewIndex("win-1"), naive: naive{}}
		t.Repeat(map[string]func(*rapid.T){
			"put": h.put, "put again": h.put, "remove": h.remove, "look": h.look, "": h.expectAll,
		})
	})
}
