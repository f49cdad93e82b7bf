// SPDX-License-Identifier: Apache-2.0

package slicewatch_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
)

// stream is an API server that streams a list, and then changes.
type stream struct {
	client.WithWatch
	events *watch.FakeWatcher
	// options are the options of the last watch.
	options client.ListOptions
	index   *cluster.Index
	queue   workqueue.TypedRateLimitingInterface[string]
}

func (s *stream) Watch(_ context.Context, _ client.ObjectList, o ...client.ListOption) (watch.Interface, error) {
	s.options = client.ListOptions{}
	s.options.ApplyOptions(o)
	return s.events, nil
}

// end returns the metadata that ends a list.
func end() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		ResourceVersion: "100", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}
}

// complete ends the list of Services.
func (s *stream) complete() { s.events.Action(watch.Bookmark, &corev1.Service{ObjectMeta: end()}) }

func newStream(t *testing.T) *stream {
	t.Helper()
	s := &stream{
		events: watch.NewFake(), index: cluster.NewIndex("win-1"),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	t.Cleanup(s.queue.ShutDown)
	return s
}

// start starts the watch of a stream.
func (s *stream) start(t *testing.T, of watched) source.TypedSyncingSource[string] {
	t.Helper()
	w := of(slicewatch.New(slicewatch.Options{Client: s, Index: s.index}),
		func(q workqueue.TypedRateLimitingInterface[string]) { q.Add("pass") })
	NewWithT(t).Expect(w.Start(t.Context(), s.queue)).To(Succeed())
	return w
}

// watched is one of the sources.
type watched func(*slicewatch.Watch, func(workqueue.TypedRateLimitingInterface[string])) source.TypedSyncingSource[string]

func watchServices(t *testing.T) *stream {
	t.Helper()
	s := newStream(t)
	s.start(t, slicewatch.Services[string])
	return s
}

// Invariant 1 of package cluster: the pods of this node, and each change of one.
func TestTheIndexFollowsThePodsOfTheNode(t *testing.T) {
	g := NewWithT(t)
	s := newStream(t)
	pods := s.start(t, slicewatch.Pods[string])
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, ResourceVersion: "1"},
			Spec:       corev1.PodSpec{NodeName: "win-1"},
		}
	}
	has := func(n int) { g.Eventually(func() int { return len(s.index.View(nil).Pods) }).Should(Equal(n)) }
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	g.Expect(pods.WaitForSync(short)).To(MatchError(ContainSubstring("waiting for the first list of pods")))
	s.events.Add(pod("web"))
	s.events.Action(watch.Bookmark, &corev1.Pod{ObjectMeta: end()})
	g.Expect(pods.WaitForSync(t.Context())).To(Succeed())
	has(1)
	g.Eventually(s.queue.Len).Should(Equal(1))
	g.Expect(s.options.FieldSelector.String()).To(Equal("spec.nodeName=win-1"))
	g.Expect(s.options.Raw.AllowWatchBookmarks).To(BeTrue(), "what the reflector requests reaches the server")
	s.events.Add(pod("cart"))
	has(2)
	s.events.Delete(pod("web"))
	has(1)
}

// service returns a Service like those of charts.
func service(n int) *corev1.Service {
	name := fmt.Sprintf("checkout-service-%05d", n)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: fmt.Sprintf("namespace-%d", n/100), Name: name, ResourceVersion: "1",
		UID:    types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)),
		Labels: map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"},
	}}
	s.Spec.ClusterIP = vip(n).String()
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	s.Spec.Selector = map[string]string{"app": name}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
	return s
}

func vip(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(n >> 8), byte(n)}) }

// heap returns the bytes in use.
func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

func TestTheIndexFollowsServices(t *testing.T) {
	g := NewWithT(t)
	s := watchServices(t)
	has := func(n int) func() bool {
		return func() bool { return s.index.View([]netip.Addr{vip(n)}).VIP(vip(n)) }
	}
	whole := service(1)
	whole.Spec.ExternalIPs = []string{vip(2).String()}
	whole.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: vip(3).String()}, {Hostname: "lb.example.com"}}
	s.events.Add(whole)
	g.Expect(s.index.View(nil).ServicesKnown).To(BeFalse(), "the list is not complete")
	s.complete()
	g.Eventually(func() bool { return s.index.View(nil).ServicesKnown }).Should(BeTrue())
	for n := range 3 {
		g.Expect(has(n + 1)()).To(BeTrue())
	}
	g.Eventually(s.queue.Len).Should(Equal(1))
	request, _ := s.queue.Get()
	s.queue.Done(request)

	s.events.Add(service(4))
	g.Eventually(has(4)).Should(BeTrue())
	g.Eventually(s.queue.Len).Should(Equal(1), "a change requests a pass")
	s.events.Modify(service(1))
	g.Eventually(has(2)).Should(BeFalse())
	g.Expect(has(1)()).To(BeTrue())
	s.events.Delete(service(4))
	g.Eventually(has(4)).Should(BeFalse())
}

// A cluster may have thousands of Services, most of which have one address.
func TestAServiceTakesLittleMemory(t *testing.T) {
	g := NewWithT(t)
	const services, most = 10_000, 300
	s := watchServices(t)
	before := heap()
	for n := range services {
		s.events.Add(service(n))
	}
	s.complete()
	g.Eventually(func() bool { return s.index.View(nil).ServicesKnown }).Should(BeTrue())
	used := (heap() - before) / services
	t.Logf("%d bytes for each Service", used)
	g.Expect(used).To(BeNumerically("<=", most))
	runtime.KeepAlive(s.index)
}

// A user who may write Services can give each as many addresses as fit into an object. The index keeps few of them,
// even during a streamed list.
func TestServicesWithThousandsOfAddressesTakeLittleMemory(t *testing.T) {
	g := NewWithT(t)
	s := watchServices(t)
	before := heap()
	for n := range 20 {
		many := service(n)
		for at := range 75_000 {
			many.Spec.ExternalIPs = append(many.Spec.ExternalIPs, fmt.Sprintf("203.%d.%d.%d", n, at>>8&0xff, at&0xff))
		}
		s.events.Add(many)
	}
	g.Eventually(func() int { return heap() - before }).Should(BeNumerically("<", 2<<20))
	s.complete()
	g.Eventually(func() int { return len(s.index.View(nil).OversizedServices) }).Should(Equal(20))
	g.Expect(heap() - before).To(BeNumerically("<", 2<<20))
	runtime.KeepAlive(s.index)
}
