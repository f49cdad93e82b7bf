// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

func (n *node) pending() float64 { return n.metric("hnsguard_flushes_pending") }

func (n *node) flushes(result string) float64 {
	return n.metric(`hnsguard_flushes_total{result="` + result + `"}`)
}

// changes records when the slice that the agents write was seen to change.
type changes struct {
	mu   sync.Mutex
	seen []time.Time
}

func (c *changes) watch(ctx context.Context, cp *controlPlane, key client.ObjectKey) {
	for generation := int64(0); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		var s discoveryv1.EndpointSlice
		if err := cp.client.Get(ctx, key, &s); err != nil || s.Generation == generation {
			continue
		}
		generation = s.Generation
		c.mu.Lock()
		c.seen = append(c.seen, time.Now())
		c.mu.Unlock()
	}
}

func (c *changes) last() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) == 0 {
		return time.Time{}
	}
	return c.seen[len(c.seen)-1]
}

var _ = Describe("The flush", func() {
	It("is made by few of many agents, and leaves none out", func(ctx SpecContext) {
		const agents = 50
		cp := startControlPlane(ctx)
		var nodes []*node
		for range agents {
			n := newNode(ctx, cp, hnstest.Options{})
			n.kubeProxy = "v1.32.3"
			if len(nodes) > 0 {
				n.agentNamespace = nodes[0].agentNamespace
			}
			n.start()
			nodes = append(nodes, n)
		}
		allFlushed := func() float64 {
			sum := 0.0
			for _, n := range nodes {
				sum += n.pending()
			}
			return sum
		}
		sum := func(result string) float64 {
			sum := 0.0
			for _, n := range nodes {
				sum += n.flushes(result)
			}
			return sum
		}

		By("letting every kube-proxy make the remote endpoint of a Linux pod")
		addr := netip.MustParseAddr("10.42.250.17")
		slice := nodes[0].slice(ctx, "cart", "lin-1", nil, addr)
		for _, n := range nodes {
			n.remote(addr)
		}
		for _, n := range nodes {
			Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
		}
		Eventually(allFlushed).Should(BeZero())
		before := sum("written")

		By("letting the pod go, and every kube-proxy delete the remote endpoint within a second")
		flushed := &changes{}
		key := client.ObjectKey{Namespace: nodes[0].agentNamespace, Name: stalerecord.SliceName(discoveryv1.AddressTypeIPv4)}
		watching, stop := context.WithCancel(ctx)
		DeferCleanup(stop)
		go flushed.watch(watching, cp, key)
		nodes[0].drop(ctx, slice)
		var kubeProxies sync.WaitGroup
		for _, n := range nodes {
			kubeProxies.Go(func() {
				defer GinkgoRecover()
				time.Sleep(rand.N(time.Second))
				Expect(n.service.DeleteEndpoint(ctx, n.there()[0])).To(Succeed())
			})
		}
		kubeProxies.Wait()
		last := time.Now()
		Eventually(flushed.last).Should(BeTemporally(">", last.Add(stalerecord.Settle-20*time.Millisecond)),
			"kube-proxy that was last forgets too")
		Eventually(allFlushed).Should(BeZero())

		wrote := sum("written") - before
		AddReportEntry("the wave", fmt.Sprintf("%v flushes by %d agents, %v that met another's", wrote, agents, sum("conflict")))
		Expect(wrote).To(And(BeNumerically(">=", 1), BeNumerically("<=", 6)))
		Consistently(func() float64 { return sum("written") - before }).Should(Equal(wrote), "and then there is peace")
	})

	It("clears the record in time for a pod that gets the address", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.kubeProxy = "v1.32.3"
		n.start()
		Eventually(func() float64 { return n.flushes("written") }).Should(BeEquivalentTo(1), "what was before is not known")
		slice := n.slice(ctx, "cart", "lin-1", nil, n.addr(1))
		remote := n.remote(n.addr(1))
		Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
		n.drop(ctx, slice)
		Expect(n.service.DeleteEndpoint(ctx, remote)).To(Succeed())
		Eventually(func() float64 { return n.flushes("written") }).Should(BeEquivalentTo(2))
		Eventually(n.pending).Should(BeZero())
	})

	It("is only reported in observe mode", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.kubeProxy, n.config.Flush.Mode = "v1.32.3", config.Observe
		n.start()
		Eventually(func() float64 { return n.flushes("observed") }).Should(BeEquivalentTo(1))
		var all discoveryv1.EndpointSliceList
		Expect(shared.client.List(ctx, &all, client.InNamespace(n.namespace))).To(Succeed())
		Expect(all.Items).To(BeEmpty())
	})
})
