// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubectl/pkg/describe"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// kubectl finds Events by the UID of their object, and omits those without or with another UID.
var _ = Describe("kubectl describe", func() {
	It("shows the Events on the pod, the node and the Service", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.config.Orphan.MaxPerPass = 1
		Expect(shared.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}})).To(Succeed())
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "cart"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
		Expect(shared.client.Create(ctx, service)).To(Succeed())
		n.slice(ctx, "known", "lin-1", nil, n.addr(9))
		n.remote(n.addr(5))
		n.remote(n.addr(6))
		stale := n.remote(n.addr(1))
		_, err := n.service.CreateLoadBalancer(hns.LoadBalancer{
			Endpoints: []hns.EndpointID{stale}, FrontendVIPs: []netip.Addr{netip.MustParseAddr(service.Spec.ClusterIP)},
			Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 80}},
		})
		Expect(err).NotTo(HaveOccurred())
		n.pod(ctx, "web", n.addr(1))
		n.local(n.addr(1))
		n.start()

		shows := func(kind, namespace, name, reason, message string) {
			GinkgoHelper()
			describer, known := describe.DescriberFor(schema.GroupKind{Kind: kind}, shared.config)
			Expect(known).To(BeTrue())
			Eventually(func() (string, error) {
				return describer.Describe(namespace, name, describe.DescriberSettings{ShowEvents: true, ChunkSize: 500})
			}).Should(MatchRegexp(`(?s)Events:.*%s .*hnsguard.*%s`, reason, message))
		}
		shows("Pod", n.namespace, "web", removal.EventRemoved, n.addr(1).String())
		shows("Node", "", n.name, removal.EventOrphanCap, "2 remote HNS endpoints")
		shows("Service", n.namespace, service.Name, loadbalancer.EventDangling, "load balancer")
	})
})
