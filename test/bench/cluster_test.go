// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package bench_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/test/bench/usage"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// The cluster of most benchmarks: a million addresses, on 10,000 nodes, in slices of the usual size.
const (
	perSlice  = 100
	addresses = 1_000_000
	nodes     = 10_000
)

// address returns the n-th address of the cluster.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// slice returns an EndpointSlice like those of the endpointslice controller, as a client gets it: decoded from
// protobuf, with separate memory for each string. Each version lists its last address differently.
func slice(tb testing.TB, number, size, version int) *discoveryv1.EndpointSlice {
	tb.Helper()
	service := fmt.Sprintf("service-%d", number/10)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("namespace-%d", number/100), Name: fmt.Sprintf("%s-%05d", service, number),
			GenerateName: service + "-", UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", number)),
			ResourceVersion: strconv.Itoa(1_000_000 + version), Generation: int64(version),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
				"app.kubernetes.io/name": service, "app.kubernetes.io/part-of": "shop",
			},
			Annotations:     map[string]string{"endpoints.kubernetes.io/last-change-trigger-time": "2026-03-01T03:00:00Z"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: service, Controller: new(true)}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", FieldsV1: fields()}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for at := range size {
		n := number*size + at
		last := at == size-1
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address(n).String()},
			Conditions: discoveryv1.EndpointConditions{
				Ready: new(!last || version%2 == 0), Serving: new(!last || version%2 == 0), Terminating: new(false),
			},
			NodeName: new(fmt.Sprintf("aks-linux-%05d-vmss", n%nodes)), Zone: new("westeurope-1"),
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: s.Namespace, Name: fmt.Sprintf("%s-7d4b9c-%05d", service, at),
				UID: types.UID(fmt.Sprintf("11111111-0000-4000-8000-%012d", n)),
			},
		})
	}
	wire, err := s.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	decoded := &discoveryv1.EndpointSlice{}
	if err := decoded.Unmarshal(wire); err != nil {
		tb.Fatal(err)
	}
	return decoded
}

// fields returns the managed fields of a slice, as far as their size matters.
func fields() *metav1.FieldsV1 {
	return metav1.NewFieldsV1(`{"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:annotations":{".":{},` +
		`"f:endpoints.kubernetes.io/last-change-trigger-time":{}},"f:generateName":{},"f:labels":{".":{},` +
		`"f:endpointslice.kubernetes.io/managed-by":{},"f:kubernetes.io/service-name":{}},"f:ownerReferences":{}},"f:ports":{}}`)
}

// filled returns an index of all addresses, with the watch that fills it. It is created once.
var filled = sync.OnceValues(func() (*cluster.Index, *slicewatch.Watch) {
	tb := &testing.B{}
	index := cluster.NewIndex(nodetest.Name)
	watch := slicewatch.New(slicewatch.Options{Index: index})
	for n := range addresses / perSlice {
		if err := watch.Update(slice(tb, n, perSlice, 0)); err != nil {
			panic(err)
		}
	}
	return index, watch
})

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// store is a store of EndpointSlices.
type store interface{ Add(obj any) error }

// BenchmarkMemory compares the memory of an index of a million addresses with that of an informer's cache, the default
// of controller-runtime and client-go. The latter has no index by address yet.
func BenchmarkMemory(b *testing.B) {
	for _, keeper := range []struct {
		name string
		make func() store
	}{
		{"hnsguard", func() store {
			return slicewatch.New(slicewatch.Options{Index: cluster.NewIndex(nodetest.Name)})
		}},
		{"informer", func() store {
			return toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
				toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
			})
		}},
	} {
		b.Run("keeper="+keeper.name, func(b *testing.B) {
			for b.Loop() {
				before := usage.Heap()
				kept := keeper.make()
				for n := range addresses / perSlice {
					must(b, kept.Add(slice(b, n, perSlice, 0)))
				}
				b.ReportMetric((usage.Heap()-before)/addresses, "heap-B/address")
				runtime.KeepAlive(kept)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIngest measures how fast slices get into the index. Decoding them from protobuf is measured separately.
func BenchmarkIngest(b *testing.B) {
	const batch = 100
	clock := start(b)
	for b.Loop() {
		watch := slicewatch.New(slicewatch.Options{Index: cluster.NewIndex(nodetest.Name)})
		for first := 0; first < addresses/perSlice; first += batch {
			clock.pause()
			var decoded []*discoveryv1.EndpointSlice
			for n := range batch {
				decoded = append(decoded, slice(b, first+n, perSlice, 0))
			}
			clock.resume()
			for _, s := range decoded {
				must(b, watch.Add(s))
			}
		}
	}
	b.ReportMetric(float64(b.N)*addresses/clock.stop().Seconds(), "addresses/cpu-s")
}

// BenchmarkUpdate measures the change of one endpoint of a slice, by the size of the slice, with a million addresses.
func BenchmarkUpdate(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			_, watch := filled()
			version := 0
			number := addresses/size + 1 // beside those that are there
			must(b, watch.Update(slice(b, number, size, version)))
			clock := start(b)
			for b.Loop() {
				clock.pause()
				version++
				s := slice(b, number, size, version)
				clock.resume()
				must(b, watch.Update(s))
			}
			clock.report()
			must(b, watch.Delete(slice(b, number, size, version)))
		})
	}
}

// endpoints is the number of HNS endpoints on a node in most benchmarks.
const endpoints = 5000

// looked returns the addresses of a node's endpoints, spread over the whole cluster: the last ones of some slices.
func looked() []netip.Addr {
	const apart = addresses / endpoints
	var all []netip.Addr
	for n := range endpoints {
		all = append(all, address(n*apart+apart-1))
	}
	return all
}

// BenchmarkView measures a pass's view of the addresses on its node, if nothing has changed since the last one, and if
// a slice of one of them has.
func BenchmarkView(b *testing.B) {
	for _, changed := range []bool{false, true} {
		b.Run(fmt.Sprintf("endpoints=%d/changed=%t", endpoints, changed), func(b *testing.B) {
			index, watch := filled()
			these, version := looked(), 0
			index.View(these)
			b.ReportAllocs()
			clock := start(b)
			for b.Loop() {
				if changed {
					clock.pause()
					version++
					must(b, watch.Update(slice(b, 1, perSlice, version)))
					clock.resume()
				}
				index.View(these)
			}
			clock.report()
		})
	}
}

// BenchmarkNewAddresses measures a view of addresses that are new to the index: those of a node when the agent starts,
// and that of a new endpoint.
func BenchmarkNewAddresses(b *testing.B) {
	for _, fresh := range []int{1, 10, endpoints} {
		b.Run(fmt.Sprintf("new=%d/slices=%d", fresh, addresses/perSlice), func(b *testing.B) {
			index, _ := filled()
			these := looked()
			clock := start(b)
			for b.Loop() {
				clock.pause()
				index.View(append([]netip.Addr{netip.IPv4Unspecified()}, these[fresh:]...)) // which gives up the first ones
				clock.resume()
				index.View(these)
			}
			clock.report()
		})
	}
}
