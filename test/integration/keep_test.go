// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// keepSlices returns the keep-slices in the node's part of the cluster.
func (n *node) keepSlices(ctx context.Context) ([]discoveryv1.EndpointSlice, error) {
	var all discoveryv1.EndpointSliceList
	err := n.cp.client.List(ctx, &all, client.InNamespace(n.namespace),
		client.MatchingLabels{discoveryv1.LabelManagedBy: cluster.ManagedByKeep})
	return all.Items, err
}

func (n *node) keptBy(act, result string) float64 {
	return n.metric(fmt.Sprintf("hnsguard_keeps_total{act=%q,result=%q}", act, result))
}

// didAbout returns what the agent did about an address, oldest first.
func (n *node) didAbout(addr netip.Addr) func() []string {
	return func() (did []string) {
		for _, e := range slices.Backward(n.running.Report().History) {
			if e.Address == addr && (e.Act == history.Keep || e.Act == history.Removal) {
				did = append(did, string(e.Act)+" "+e.Result)
			}
		}
		return did
	}
}

var _ = Describe("The keep-slice", func() {
	It("lets the stale endpoint go while another slice lists it, and stays while the pod has the address", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.kubeProxy = "v1.32.3"
		n.followFlushes(ctx)
		cart, order := n.slice(ctx, "cart", "lin-1", nil, n.addr(1)), n.slice(ctx, "order", "lin-1", nil, n.addr(2))
		first, second := n.remote(n.addr(1)), n.remote(n.addr(2))
		n.start()

		By("removing it once kube-proxy has forgotten what was before the agent")
		one := n.local(n.addr(1))
		n.pod(ctx, "web", n.addr(1))
		Eventually(n.there).Should(ConsistOf(one, second))
		Eventually(n.didAbout(n.addr(1))).Should(Equal([]string{"keep create_written", "removal removed"}))

		By("removing the next one at once")
		flushes := n.flushes("written")
		two := n.local(n.addr(2))
		n.pod(ctx, "api", n.addr(2))
		Eventually(n.there).Should(ConsistOf(one, two))
		Eventually(n.didAbout(n.addr(2))).Should(Equal([]string{"keep create_written", "removal removed"}))
		Expect(n.flushes("written")).To(Equal(flushes), "no proof was needed")
		Expect(n.service.Deleted()).To(ContainElements(first, second))

		By("keeping to the letter what the other slices list")
		kept, err := n.keepSlices(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(kept).To(HaveLen(2))
		for _, s := range kept {
			addr := map[string]netip.Addr{"cart": n.addr(1), "order": n.addr(2)}[s.Labels[discoveryv1.LabelServiceName]]
			Expect(s.Endpoints).To(HaveLen(1))
			Expect(s.Endpoints[0].Addresses).To(Equal([]string{addr.String()}))
			Expect(s.Annotations).To(Equal(map[string]string{cluster.AnnotationNode: n.name}))
		}

		By("staying when the other slices let go, and when the agent is another process")
		n.drop(ctx, cart)
		n.drop(ctx, order)
		n.stop()
		n.start()
		Eventually(func() float64 { return n.metric("hnsguard_keep_slices") }).Should(BeEquivalentTo(2))
		Consistently(n.keepSlices).WithContext(ctx).Should(Equal(kept))
	})
})
