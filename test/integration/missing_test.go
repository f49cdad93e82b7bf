// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// To be sure takes minutes, so this is not the whole agent: time is made, the API server and the agent's rights are
// real.
var _ = Describe("A load balancer that is missing", func() {
	It("is found by its Service's cluster IP and reported there", func(ctx SpecContext) {
		it := install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
		n := newNode(ctx, shared, hnstest.Options{})
		n.api = it.agentOn(ctx, n.name)
		services := map[string]*corev1.Service{}
		balancers := map[string]hns.LoadBalancerID{}
		for _, name := range []string{"cart", "empty", "deleted"} {
			service := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
			}
			Expect(shared.client.Create(ctx, service)).To(Succeed())
			lb, err := n.service.CreateLoadBalancer(hns.LoadBalancer{
				FrontendVIPs: []netip.Addr{netip.MustParseAddr(service.Spec.ClusterIP)},
				Ports:        []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
			})
			Expect(err).NotTo(HaveOccurred())
			services[name], balancers[name] = service, lb.ID
		}
		Expect(shared.client.Create(ctx, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: n.namespace, Name: "cart-x1", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{n.addr(9).String()}, NodeName: new("lin-1")}},
		})).To(Succeed())

		clock := testingclock.NewFakeClock(time.Now())
		reader := loadbalancer.NewReader(loadbalancer.ReaderOptions{
			HNS: n.service, Registerer: prometheus.NewRegistry(), Clock: clock,
		})
		syncs := uint64(0)
		history := history.NewRing(history.Options{Clock: clock})
		reprogrammer := loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
			Node: n.name, Enforce: true, LoadBalancers: reader, Server: n.agentClient(), Client: n.agentClient(),
			Events: n.recorder(ctx), Metrics: loadbalancer.NewMetrics(prometheus.NewRegistry()), Clock: clock,
			WatchLag: stalerecord.WatchLag, History: history,
			Syncs:   func(context.Context) (uint64, error) { return syncs, nil },
			InPlace: func(context.Context) bool { return false }, Random: func() float64 { return 0 },
		})
		passes := func(d time.Duration) {
			GinkgoHelper()
			for range d / (10 * time.Second) {
				clock.Step(10 * time.Second)
				syncs++
				Expect(reader.Read(ctx)).To(Succeed())
				reprogrammer.Run(ctx, pass.Pass{})
			}
		}
		passes(30 * time.Second)
		for _, id := range balancers {
			Expect(n.service.DeleteLoadBalancer(id)).To(Succeed())
		}
		Expect(shared.client.Delete(ctx, services["deleted"])).To(Succeed())
		passes(10 * time.Minute)

		absent, _ := reader.Absent()
		Expect(absent).To(ConsistOf(HaveField("VIP", netip.MustParseAddr(services["cart"].Spec.ClusterIP))))
		Eventually(n.events(ctx, n.namespace, "cart")).Should(ContainElement(loadbalancer.EventMissing))
		Expect(n.events(ctx, n.namespace, "empty")()).To(BeEmpty())
		Expect(n.events(ctx, n.namespace, "deleted")()).To(BeEmpty())
		Expect(history.Entries()).To(ContainElement(And(
			HaveField("Result", "done"), HaveField("Subject", n.namespace+"/cart"))))
	})
})

// agentClient is a client with the agent's rights, without a cache.
func (n *node) agentClient() client.Client {
	GinkgoHelper()
	scheme, err := agent.Scheme()
	Expect(err).NotTo(HaveOccurred())
	c, err := client.New(n.api, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// recorder records Events with the agent's rights.
func (n *node) recorder(ctx context.Context) events.EventRecorder {
	GinkgoHelper()
	scheme, err := agent.Scheme()
	Expect(err).NotTo(HaveOccurred())
	clients, err := kubernetes.NewForConfig(n.api)
	Expect(err).NotTo(HaveOccurred())
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients.EventsV1()})
	DeferCleanup(broadcaster.Shutdown)
	Expect(broadcaster.StartRecordingToSinkWithContext(context.WithoutCancel(ctx))).To(Succeed())
	return broadcaster.NewRecorder(scheme, agent.Name)
}
