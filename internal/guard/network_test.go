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

// A fresh node has what its scripts have made, and no network for pods. It stays so forever where kube-proxy does not
// run. That is no fault: the agent is ready, and no alert fires.
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

	n.Network = n.HNS.Build(hnstest.Layout{Pods: hnstest.AKS().Pods}) // with the first pod
	_, local := n.Conflict("web", ip)
	n.passes(15 * time.Second)
	g.Expect(n.There()).To(ConsistOf(local))
	g.Expect(n.guard.Ready(nil)).To(Succeed())
}

// With the network its endpoints are gone, and what was stale among them is not stale any more.
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

// Invariant 1: pods that run and have no endpoint are victims, whether HNS has a network for them or not.
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

// Which of two networks is that of the pods does not matter to a pod that has no endpoint on either.
func TestWhileThePodNetworkIsAmbiguousVictimsAreFound(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Pod("web", ip)
	n.HNS.CreateNetwork("azure", hns.NetworkL2Bridge)
	n.passes(35 * time.Second)
	g.Expect(n.board.Report().State).To(Equal(report.StateUnknown))
	g.Expect(n.board.Report().Pods).To(HaveLen(1))
}
