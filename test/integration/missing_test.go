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
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Certainty takes minutes, so this is not the whole agent: time is simulated, but the API server and the agent's rights
// are real.
var _ = Describe("A load balancer that is missing", func() {
	It("is found by what the cluster has, and reported on its Service", func(ctx SpecContext) {
		it := install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
		n := newNode(ctx, shared, hnstest.Options{})
		n.api = it.agentOn(ctx, n.name)
		for _, name := range []string{"cart", "empty"} {
			Expect(shared.client.Create(ctx, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
			})).To(Succeed())
		}
		Expect(shared.client.Create(ctx, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: n.namespace, Name: "cart-x1", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{n.addr(9).String()}, NodeName: new("lin-1")}},
		})).To(Succeed())

		index := n.indexed(ctx)
		clock := testingclock.NewFakeClock(time.Now())
		syncs := uint64(0)
		reader := loadbalancer.NewReader(loadbalancer.ReaderOptions{
			HNS: n.service, Revision: index.Revision, WatchLag: loadbalancer.WatchLag, Clock: clock,
			Syncs: func(context.Context) (uint64, error) { return syncs, nil },
		})
		history := history.NewRing(history.Options{Clock: clock})
		reprogrammer := loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
			Node: n.name, Enforce: true, LoadBalancers: reader, Index: index, Server: n.agentClient(), Client: n.agentClient(),
			Events: n.recorder(ctx), Metrics: loadbalancer.NewMetrics(prometheus.NewRegistry()), Clock: clock, History: history,
			HNSVersion: func(context.Context) (string, error) { return "13.0", nil },
			Describe: report.Words{
				Node: n.name, Config: config.Default(), KubeProxy: func() kubeproxy.Profile { return kubeproxy.Profile{} },
			}.Balancer,
		})
		local := verdict.Endpoint{Endpoint: hns.Endpoint{ID: "pod", Network: "pods", Addresses: []netip.Addr{n.addr(7)}}}
		for range time.Hour / (10 * time.Second) {
			clock.Step(10 * time.Second)
			syncs++
			Expect(reader.Read(ctx)).To(Succeed())
			reprogrammer.Run(ctx, pass.Pass{Evidence: verdict.Evidence{
				Cluster: index.View(nil), KubeProxy: kubeproxy.ProfileOf("v1.37.2"),
				Snapshot: verdict.Snapshot{
					Network: hns.Network{ID: "pods"}, Endpoints: []verdict.Endpoint{local},
				},
			}})
		}
		broken, _ := reprogrammer.Found()
		Expect(broken).To(ContainElement(And(
			HaveField("Kind", verdict.BalancerMissing), HaveField("Service.Name", "cart"),
			HaveField("Service.Namespace", n.namespace))))
		Eventually(n.events(ctx, n.namespace, "cart")).Should(ContainElement(loadbalancer.EventMissing))
		Expect(n.events(ctx, n.namespace, "empty")()).To(BeEmpty())
		Expect(history.Entries()).To(ContainElement(And(
			HaveField("Result", "done"), HaveField("Subject", n.namespace+"/cart"))))
	})
})

// indexed returns an index of the Services and EndpointSlices that the agent may read.
func (n *node) indexed(ctx context.Context) *cluster.Index {
	GinkgoHelper()
	index := cluster.NewIndex(n.name)
	var sliceList discoveryv1.EndpointSliceList
	var serviceList corev1.ServiceList
	Expect(n.agentClient().List(ctx, &sliceList)).To(Succeed())
	Expect(n.agentClient().List(ctx, &serviceList, client.InNamespace(n.namespace))).To(Succeed())
	for i := range sliceList.Items {
		index.SetSlice(cluster.SliceOf(&sliceList.Items[i]))
	}
	index.ReplaceServices(nil)
	for i := range serviceList.Items {
		index.SetService(&serviceList.Items[i])
	}
	return index
}

// agentClient returns a client with the agent's rights, without a cache.
func (n *node) agentClient() client.Client {
	GinkgoHelper()
	scheme, err := agent.Scheme()
	Expect(err).NotTo(HaveOccurred())
	c, err := client.New(n.api, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// recorder returns a recorder of Events with the agent's rights.
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
