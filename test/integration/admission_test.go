// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// bindings is the kind of the admission policies' bindings.
const bindings = "ValidatingAdmissionPolicyBinding"

// unbind deletes the bindings of the policies, and waits until the API server no longer enforces them.
func (i installed) unbind(ctx context.Context, as client.Client) {
	GinkgoHelper()
	for _, u := range i.objects.Of(bindings) {
		Expect(i.cp.client.Delete(ctx, u.DeepCopy())).To(Succeed())
	}
	Eventually(i.foreignSlice(ctx, as)).Should(Succeed())
}

func (i installed) bind(ctx context.Context, as client.Client) {
	GinkgoHelper()
	for _, u := range i.objects.Of(bindings) {
		u = u.DeepCopy()
		for _, field := range []string{"managedFields", "resourceVersion", "uid"} { // of the one that was there before
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
		Expect(i.cp.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("helm"))).To(Succeed())
	}
	Eventually(i.foreignSlice(ctx, as)).Should(refusedBy("slices", "its own"))
}

// foreignSlice tries to create a slice that no agent may create, as a dry run.
func (i installed) foreignSlice(ctx context.Context, as client.Client) func() error {
	return func() error {
		return as.Create(ctx, flushSlice(i.namespace, func(s *discoveryv1.EndpointSlice) { s.Name = "web" }), client.DryRunAll)
	}
}

// act gives the agent on a node one task of each kind: a record to flush, an address to keep listed, a load balancer
// whose endpoint is gone, and a pod without network.
func (n *node) act(ctx context.Context) (victim *corev1.Pod, service *corev1.Service) {
	GinkgoHelper()
	n.kubeProxy = "v1.32.3"
	n.evictsVictims()
	n.config.Reprogram.Mode = config.Enforce
	victim = n.podWith(ctx, "victim", func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "1", Controller: new(true)},
		}
		p.Spec.TerminationGracePeriodSeconds = new(int64(0))
	}, n.addr(3))
	n.slice(ctx, "known", "lin-1", nil, n.addr(9), n.addr(5))
	n.local(n.addr(5))
	n.pod(ctx, "web", n.addr(5))
	service = &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "cart"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	Expect(n.cp.client.Create(ctx, service)).To(Succeed())
	gone := n.remote(n.addr(7))
	_, err := n.service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: []hns.EndpointID{gone}, FrontendVIPs: []netip.Addr{netip.MustParseAddr(service.Spec.ClusterIP)},
		Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 80}},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(n.service.DeleteEndpoint(ctx, gone)).To(Succeed())
	return victim, service
}

var _ = Describe("An act that an admission policy has to restrict", func() {
	It("stays off while no policy is bound, and begins when one is", func(ctx SpecContext) {
		it := install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
		n := newNode(ctx, shared, hnstest.Options{})
		n.api, n.agentNamespace = it.agentOn(ctx, n.name), it.namespace
		mine := clientOf(n.api)
		it.unbind(ctx, mine)
		victim, _ := n.act(ctx)
		n.start()

		By("saying so, and writing nothing")
		for _, series := range []string{
			`flushes_total{`, `keeps_total{act="create",`, `reprograms_total{`, `evictions_total{`,
		} {
			Eventually(func() float64 { return n.metric(`hnsguard_` + series + `result="unrestricted"}`) }).
				WithTimeout(time.Minute).Should(BeNumerically(">", 0), series)
		}
		for _, act := range []string{"flush", "keep", "reprogram", "eviction"} {
			Expect(n.metric(`hnsguard_unrestricted_writes{act="` + act + `"}`)).To(BeEquivalentTo(1))
		}
		var all discoveryv1.EndpointSliceList
		for _, namespace := range []string{it.namespace, n.namespace} {
			Expect(shared.client.List(ctx, &all, client.InNamespace(namespace),
				client.HasLabels{discoveryv1.LabelManagedBy})).To(Succeed())
			Expect(all.Items).To(BeEmpty())
		}
		Expect(shared.client.Get(ctx, keyOf(victim), victim)).To(Succeed())

		By("acting once the policies are bound")
		it.bind(ctx, mine)
		for series, result := range map[string]string{
			`flushes_total{`: "written", `keeps_total{act="create",`: "written", `reprograms_total{`: "done",
			`evictions_total{`: "evicted",
		} {
			Eventually(func() float64 { return n.metric(`hnsguard_` + series + `result="` + result + `"}`) }).
				WithTimeout(3*time.Minute).Should(BeNumerically(">", 0), series)
		}
		for _, act := range []string{"flush", "keep", "reprogram", "eviction"} {
			Expect(n.metric(`hnsguard_unrestricted_writes{act="` + act + `"}`)).To(BeZero())
		}
		Expect(shared.client.Get(ctx, keyOf(victim), victim)).To(WithTransform(apierrors.IsNotFound, BeTrue()))
	})

	It("repairs its slice with the rights that it has, whatever others have made of it", func(ctx SpecContext) {
		it := install(ctx, shared)
		n := newNode(ctx, shared, hnstest.Options{})
		n.api, n.agentNamespace = it.agentOn(ctx, n.name), it.namespace
		it.bind(ctx, clientOf(n.api))
		n.kubeProxy = "v1.32.3"
		n.slice(ctx, "known", "lin-1", nil, n.addr(9))
		n.start()
		key := client.ObjectKey{Namespace: it.namespace, Name: stalerecord.SliceName(discoveryv1.AddressTypeIPv4)}
		Eventually(func() error { return shared.client.Get(ctx, key, &discoveryv1.EndpointSlice{}) }).
			WithTimeout(time.Minute).Should(Succeed(), "the record of what was before is flushed")
		last := byte(20)
		for what, change := range spoiled() {
			By("repairing one " + what)
			var s discoveryv1.EndpointSlice
			Expect(shared.client.Get(ctx, key, &s)).To(Succeed())
			change(&s)
			Expect(shared.client.Update(ctx, &s)).To(Succeed())
			last++
			lost := n.slice(ctx, "lost", "lin-1", nil, n.addr(last))
			remote := n.remote(n.addr(last))
			Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
			Expect(shared.client.Delete(ctx, lost)).To(Succeed())
			Expect(n.service.DeleteEndpoint(ctx, remote)).To(Succeed())
			Eventually(func(g Gomega) {
				g.Expect(shared.client.Get(ctx, key, &s)).To(Succeed())
				g.Expect(s.Labels).To(Equal(flushSlice(it.namespace, func(*discoveryv1.EndpointSlice) {}).Labels))
				g.Expect(s.Annotations).To(BeEmpty())
				g.Expect(s.Finalizers).To(BeEmpty())
				g.Expect(s.OwnerReferences).To(BeEmpty())
			}).WithTimeout(time.Minute).Should(Succeed(), what)
			Eventually(n.pending).WithTimeout(time.Minute).Should(BeZero())
		}
		Expect(n.flushes("failed") + n.flushes("forbidden")).To(BeZero())
	})
})
