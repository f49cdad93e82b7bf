// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// The networks of package hnstest are found, and the conflict on them is removed.
func TestAConflictIsRemovedOnTheNodesOfTheClouds(t *testing.T) {
	for _, layout := range hnstest.Layouts() {
		t.Run(layout.Name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNodeWith(t, nodetest.Options{Layout: layout})
			_, local := n.Conflict("web", ip)
			n.passes(10 * time.Second)
			g.Expect(n.There()).To(ConsistOf(local))
			g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
		})
	}
}

// A fresh node has the networks of its scripts, but no pod network. If kube-proxy does not run, it stays so. This is
// not a fault: the agent is ready, and no alert fires.
func TestANodeWithoutPodNetworkIsReadyAndIdle(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Layout: hnstest.AKS()})
	g.Expect(n.HNS.DeleteNetwork(n.Network.ID)).To(Succeed())
	n.HNS.CreateNetwork("antrea-hnsnetwork", hns.NetworkTransparent)
	n.passes(time.Hour)
	g.Expect(n.guard.Ready(nil)).To(Succeed())
	g.Expect(n.guard.Live(nil)).To(Succeed())
	g.Expect(n.Series("hnsguard_passes_total{result=idle}")).To(BeEquivalentTo(time.Hour / (5 * time.Second)))
	g.Expect(n.Series("hnsguard_passes_total{result=complete}")).To(BeZero())
	g.Expect(n.Series("hnsguard_last_pass_timestamp_seconds")).
		To(BeEquivalentTo(n.Clock.Now().Add(-5*time.Second).Unix()), "or HNSGuardPassTooOld fires")

	n.Network = n.HNS.Build(hnstest.Layout{Pods: hnstest.AKS().Pods}) // created with the first pod
	_, local := n.Conflict("web", ip)
	n.passes(15 * time.Second)
	g.Expect(n.There()).To(ConsistOf(local))
	g.Expect(n.guard.Ready(nil)).To(Succeed())
}

// If the network is gone, so are its endpoints, and those that were stale are no longer counted.
func TestANetworkThatGoesTakesItsVerdictsAlong(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{KubeProxy: "v1.32.3"})
	n.Conflict("web", ip)
	n.Slice("cart", "lin-1", ip)
	n.passes(15 * time.Second)
	g.Expect(n.Series("hnsguard_endpoints{verdict=held}")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_stale_endpoint_age_seconds{verdict=held}")).To(BeNumerically(">", 0))

	g.Expect(n.HNS.DeleteNetwork(n.Network.ID)).To(Succeed())
	n.passes(15 * time.Second)
	g.Expect(n.guard.Ready(nil)).To(Succeed())
	g.Expect(n.Series("hnsguard_endpoints{verdict=held}")).To(BeZero())
	g.Expect(n.Series("hnsguard_stale_endpoint_age_seconds{verdict=held}")).To(BeZero())
}

// Invariant 1: running pods without an endpoint are victims, whether or not HNS has a network for them.
func TestPodsWhoseNetworkIsGoneAreVictims(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Layout: hnstest.AKS()})
	n.Conflict("web", ip)
	n.passes(10 * time.Minute)
	g.Expect(n.board.Report().Pods).To(BeEmpty())
	n.Happened()

	g.Expect(n.HNS.DeleteNetwork(n.Network.ID)).To(Succeed())
	n.passes(35 * time.Second)
	d := n.board.Report()
	g.Expect(d.State).To(Equal(report.StateNetworkGone))
	g.Expect(d.Message).To(ContainSubstring("no pod network"))
	g.Expect(d.Pods).To(ConsistOf(And(HaveField("Name", "default/web"), HaveField("State", verdict.PodWithoutNetwork))))
	g.Expect(n.Series("hnsguard_victims")).To(BeEquivalentTo(1))
	g.Expect(n.Happened()).To(ConsistOf(ContainSubstring("Warning NetworkEndpointLost")))
	g.Expect(n.guard.Ready(nil)).To(Succeed())

	n.PodGone("web")
	n.passes(5 * time.Second)
	d = n.board.Report()
	g.Expect(d.State).To(Equal(report.StateIdle), "no pod needs a network")
	g.Expect(d.Pods).To(BeEmpty())
	g.Expect(n.Series("hnsguard_victims")).To(BeZero())
}

// For a pod without an endpoint on either network it does not matter which one is the pod network.
func TestWhileThePodNetworkIsAmbiguousVictimsAreFound(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Pod("web", ip)
	n.HNS.CreateNetwork("azure", hns.NetworkL2Bridge)
	n.passes(35 * time.Second)
	g.Expect(n.board.Report().State).To(Equal(report.StateUnknown))
	g.Expect(n.board.Report().Pods).To(HaveLen(1))
}
