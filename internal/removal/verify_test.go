// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Invariant 5.
func TestADeleteThatDidNothingIsStillListed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.HNS.MakeUndeletable(remote)
	n.pass()
	g.Expect(n.Removals("conflict", "still_listed")).To(BeZero(), "the next pass finds out")
	n.pass()
	g.Expect(n.Removals("conflict", "still_listed")).To(BeEquivalentTo(1))
	g.Expect(n.Removals("conflict", "removed")).To(BeZero())
	g.Expect(n.Happened()).To(ConsistOf(And(
		ContainSubstring("Warning StaleEndpointNotRemoved"), ContainSubstring("still_listed"))))
	n.pass()
	g.Expect(n.Removals("conflict", "still_listed")).To(BeEquivalentTo(1), "once for each attempt")
}

func TestWhatBecameOfADeleteThatDidNotReturn(t *testing.T) {
	for name, effect := range map[string]bool{"it took effect": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := conflict(n)
			n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrTimeout)
			n.pass()
			want := 0
			if effect {
				n.Delete(remote)
				want = 1
			}
			g.Expect(n.Happened()).To(ConsistOf(ContainSubstring("StaleEndpointNotRemoved")))
			n.pass()
			g.Expect(n.Removals("conflict", "unknown")).To(BeEquivalentTo(1))
			g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(want))
			g.Expect(n.Removals("conflict", "still_listed")).To(BeZero(), "that is no news: nothing said that it was done")
			g.Expect(n.Happened()).To(HaveLen(want))
		})
	}
}

// Invariant 5.
func TestADeleteThatTakesEffectLateIsCounted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrTimeout)
	n.pass()
	n.Wait(time.Minute)
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeZero())
	n.Wait(30 * time.Second)
	n.Delete(remote)
	n.pass()
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
}

// Invariant 5: when the agent stops waiting for the endpoint to disappear, the delete has failed. What happens to the
// endpoint afterwards does not count.
func TestWhatKubeProxyDeletesAfterADeleteHasFailedIsNotCounted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, local := n.Conflict("web", ip)
	n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrTimeout)
	n.pass()
	n.PodGone("web") // so that there is no second delete
	n.Delete(local)
	n.Wait(2 * time.Minute)
	n.pass()
	g.Expect(n.There()).To(ContainElement(remote))
	n.Delete(remote)
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeZero())
}

func TestTheTimeFromDetectionToRemoval(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	early(n)
	n.fresh.current = false
	n.pass()
	n.Wait(10 * time.Second)
	n.fresh.current = true
	n.pass()
	n.Wait(time.Minute) // verifying it takes no part
	n.pass()
	families, err := n.Registry.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	took := 0.0
	for _, family := range families {
		if family.GetName() == "hnsguard_detection_to_removal_seconds" {
			for _, m := range family.GetMetric() {
				took += m.GetHistogram().GetSampleSum()
			}
		}
	}
	g.Expect(took).To(BeEquivalentTo(10))
}

// The load balancers that referred to deleted endpoints are counted, as far as they are known.
func TestLoadBalancersThatAreLeftDanglingAreCounted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, local := n.Conflict("web", ip)
	other := n.Remote("10.240.0.12")
	n.Slice("svc", "lin-1", "10.240.0.12")
	for _, backends := range [][]hns.EndpointID{{remote, other}, {remote}, {other}, {local}} {
		_, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: backends})
		n.must(err)
	}
	n.must(n.Balancers.Read(t.Context()))
	n.pass()
	g.Expect(n.Series("hnsguard_load_balancers_left_dangling_total")).To(BeZero())
	n.pass()
	g.Expect(n.Series("hnsguard_load_balancers_left_dangling_total")).To(BeEquivalentTo(2))
}

func TestALoadBalancerOfWhatCouldNotBeDeletedDoesNotDangle(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	_, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{remote}})
	n.must(err)
	n.must(n.Balancers.Read(t.Context()))
	n.HNS.FailNext(hns.OpDeleteEndpoint, errors.New("access denied"))
	n.pass()
	n.pass()
	g.Expect(n.Series("hnsguard_load_balancers_left_dangling_total")).To(BeZero())
}

func TestARemoverWithoutAHistoryRemoves(t *testing.T) {
	g := NewWithT(t)
	n := bare(t)
	n.boot(nil)
	remote := conflict(n)
	n.pass()
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
	g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
}

func TestWhatIsRecordedOfEachResult(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil  func(n *node, remote hns.EndpointID)
		passes int
		want   OmegaMatcher
	}{
		"removed":      {func(*node, hns.EndpointID) {}, 2, ConsistOf(ContainSubstring("Normal StaleEndpointRemoved"))},
		"already gone": {func(n *node, _ hns.EndpointID) { n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrNotFound) }, 1, ConsistOf(ContainSubstring("Normal StaleEndpointRemoved"))},
		"refused":      {func(n *node, _ hns.EndpointID) { n.GoneFromServer("web") }, 1, BeEmpty()},
		"unconfirmed":  {func(n *node, _ hns.EndpointID) { n.API.OnPods = failOn("spec.nodeName") }, 1, ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved"))},
		"failed":       {func(n *node, _ hns.EndpointID) { n.HNS.FailNext(hns.OpDeleteEndpoint, errors.New("no")) }, 1, ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved"))},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := conflict(n)
			tc.spoil(n, remote)
			for range tc.passes {
				n.pass()
			}
			g.Expect(n.Happened()).To(tc.want)
			entries := happened(n.history, history.Removal)
			g.Expect(entries).To(HaveLen(1))
			g.Expect(entries[0].Endpoint).To(Equal(remote))
			g.Expect(entries[0].Verdict).To(Equal(verdict.Conflict))
			g.Expect(entries[0].Pods).To(Equal([]string{"default/web"}))
			g.Expect(entries[0].failed()).To(Equal(entries[0].Result != string(removal.Removed)), entries[0].Detail)
			g.Expect(n.Removals("conflict", entries[0].Result)).To(BeEquivalentTo(1))
		})
	}
}

// A rate over a series that begins at one misses the first removal.
func TestEverySeriesOfARemovingVerdictBeginsAtZero(t *testing.T) {
	g := NewWithT(t)
	families, err := newNode(t).Registry.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	verdicts := map[string][]string{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "verdict" && !slices.Contains(verdicts[family.GetName()], label.GetValue()) {
					verdicts[family.GetName()] = append(verdicts[family.GetName()], label.GetValue())
				}
			}
		}
	}
	for _, name := range []string{
		"hnsguard_removals_total", "hnsguard_removals_skipped_total", "hnsguard_detection_to_removal_seconds",
	} {
		g.Expect(verdicts).To(HaveKeyWithValue(name, ConsistOf("conflict", "conflict_early", "orphan")))
	}
}

func TestMetricsAreLinted(t *testing.T) {
	NewWithT(t).Expect(testutil.GatherAndLint(newNode(t).Registry)).To(BeEmpty())
}

// A report of the incident must show the state before and after.
func TestARemovalRecordsWhatItChanged(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, local := n.Conflict("web", ip)
	n.Remote("10.240.0.12")
	n.Slice("svc", "lin-1", "10.240.0.12")
	n.pass()
	n.pass()
	entries := happened(n.history, history.Removal)
	g.Expect(entries).To(HaveLen(1))
	is := func(kind string, id hns.EndpointID) OmegaMatcher { return HavePrefix(kind + " " + string(id) + " ") }
	g.Expect(entries[0].Before).To(ConsistOf(
		And(is("remote", remote), ContainSubstring(kubeproxy.RemoteMAC(netip.MustParseAddr(ip)).String()),
			HaveSuffix(", not attached")),
		And(is("local", local), HaveSuffix(", attached"))))
	g.Expect(entries[0].After).To(ConsistOf(is("local", local)))
}

func TestAnOrphanLeavesNothingBehind(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	orphan(n)
	n.pass()
	n.pass()
	entries := happened(n.history, history.Removal)
	g.Expect(entries).To(HaveLen(1))
	g.Expect(entries[0].Before).To(HaveLen(1))
	g.Expect(entries[0].After).To(And(Not(BeNil()), BeEmpty()), "it was looked at")
}
