// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

func TestEveryPassIsShown(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{
		KubeProxy: "v1.32.3", Config: []func(*config.Config){func(c *config.Config) { c.Mode = config.Observe }},
	})
	g.Expect(n.board.Report().State).To(Equal(report.StateStarting))

	remote, local := n.Conflict("web", ip)
	n.Slice("svc", "lin-1", ip)
	n.pass()
	d := n.board.Report()
	g.Expect(d.State).To(Equal(report.StateObserving))
	g.Expect(d.Network.Name).To(Equal("azure"))
	g.Expect(d.Endpoints).To(HaveExactElements(
		And(HaveField("ID", remote), HaveField("Verdict", verdict.Held), HaveField("StaleSince", nodetest.Start()),
			HaveField("Pods", ConsistOf("default/web"))),
		And(HaveField("ID", local), HaveField("Verdict", verdict.Local), HaveField("Attached", true)),
	))
	g.Expect(d.Counts).To(Equal(map[verdict.Kind]int{verdict.Held: 1, verdict.Local: 1}))

	n.Wait(5 * time.Second)
	n.HNS.Fail(hns.OpListEndpointIDs, hns.ErrUnavailable)
	n.pass()
	n.Wait(5 * time.Second)
	n.pass()
	d = n.board.Report()
	g.Expect(d.State).To(Equal(report.StateUnknown))
	g.Expect(d.Since).To(Equal(nodetest.Start().Add(5*time.Second)), "of two failed passes the first")
	g.Expect(d.Class).To(Equal(hns.ClassUnavailable))
	g.Expect(d.Message).To(ContainSubstring("HNS is unavailable"))
	g.Expect(d.Endpoints).To(HaveLen(2), "unknown is not absent")
	g.Expect(d.Pass.Ended).To(Equal(nodetest.Start()))
}

func TestANodeWithoutPodNetworkIsShownAsIdle(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Network: hns.NetworkNAT})
	n.pass()
	d := n.board.Report()
	g.Expect(d.State).To(Equal(report.StateIdle))
	g.Expect(d.Message).To(ContainSubstring("no pod network"))
	g.Expect(d.Class).To(BeEmpty())
	g.Expect(d.Pass).To(BeNil())
}
