// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"fmt"
	"runtime"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/guard"
)

// stripped is a Service as the cache of a node keeps it.
func stripped(t *testing.T, service *corev1.Service) *corev1.Service {
	t.Helper()
	for object, by := range guard.CacheOptions("win-1").ByObject {
		if _, is := object.(*corev1.Service); is {
			kept, err := by.Transform(service)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			return kept.(*corev1.Service)
		}
	}
	t.Fatal("Services are not stripped")
	return nil
}

// heap returns the bytes in use.
func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// Whoever may write Services can give each as many addresses as fit into an object. The cache and the index together
// keep few of them.
func TestServicesWithThousandsOfAddressesTakeLittleMemory(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	before, kept := heap(), []*corev1.Service{}
	for n := range 20 {
		s := &corev1.Service{}
		s.Name = fmt.Sprintf("many-%d", n)
		for at := range 75_000 {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, fmt.Sprintf("203.%d.%d.%d", n, at>>8&0xff, at&0xff))
		}
		s = stripped(t, s)
		index.SetService(s)
		kept = append(kept, s)
	}
	g.Expect(heap() - before).To(BeNumerically("<", 2<<20))
	g.Expect(index.View(nil).OversizedServices).To(HaveLen(20))
	runtime.KeepAlive(kept)
}

// The index finds in a stripped Service what it finds in the whole one.
func TestAStrippedServiceHasAllThatTheIndexReads(t *testing.T) {
	g := NewWithT(t)
	service := &corev1.Service{}
	service.Name = "svc"
	service.Spec.ClusterIP, service.Spec.ClusterIPs = "10.0.0.10", []string{"10.0.0.10", "2001:db8::a"}
	service.Spec.ExternalIPs = []string{"192.0.2.1"}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.2"}, {Hostname: "lb.example.com"}}
	whole, small := cluster.ExternalAddresses(service), stripped(t, service.DeepCopy())
	g.Expect(cluster.ExternalAddresses(small)).To(Equal(whole))
	g.Expect(small.Spec.ClusterIPs).To(Equal(service.Spec.ClusterIPs))
}
