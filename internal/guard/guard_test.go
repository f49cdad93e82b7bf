// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/simulated"
)

const ip = "10.240.0.11"

// conflict makes a remote endpoint whose address a running pod of this node has.
func (n *node) conflict(name, addr string) (remote, local hns.EndpointID) {
	n.t.Helper()
	remote, local = n.remote(addr), n.local(addr)
	n.pod(name, addr)
	return remote, local
}

func TestAConflictIsRemovedAndReported(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	_, local := n.conflict("web", ip)
	other := n.remote("10.240.0.12")
	n.slice("svc", "lin-1", "10.240.0.12")

	n.pass()
	g.Expect(n.there()).To(ConsistOf(local, other))
	g.Expect(n.removals("conflict", "removed")).To(BeEquivalentTo(1))
	g.Expect(n.series("hnsguard_detection_to_removal_seconds{verdict=conflict}")).To(BeEquivalentTo(1))
	g.Expect(n.happened()).To(ConsistOf(And(
		ContainSubstring("Normal StaleEndpointRemoved"), ContainSubstring(ip))))

	n.pass()
	g.Expect(n.series("hnsguard_endpoints{verdict=in_use}")).To(BeEquivalentTo(1))
	g.Expect(n.series("hnsguard_endpoints{verdict=local}")).To(BeEquivalentTo(1))
	g.Expect(n.series("hnsguard_endpoints{verdict=conflict}")).To(BeZero())
	g.Expect(n.repaired).To(Equal(2), "every complete pass looks after victims")
}

func TestAnEarlyConflictIsRemoved(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.pod("web", "")
	n.pass()
	n.wait(time.Second)
	local := n.local(ip)
	n.pass()
	g.Expect(n.there()).To(ConsistOf(local))
	g.Expect(n.removals("conflict_early", "removed")).To(BeEquivalentTo(1))
}

func TestAnOrphanIsRemovedAfterTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.passes(5 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1))
	n.pass()
	g.Expect(n.there()).To(BeEmpty())
	g.Expect(n.removals("orphan", "removed")).To(BeEquivalentTo(1))
}

// Invariant 1: unknown is never absent.
func TestWhatIsUnknownIsNotTouched(t *testing.T) {
	for name, op := range map[string]hns.Operation{"IDs": hns.OpListEndpointIDs, "networks": hns.OpNetworks, "an endpoint": hns.OpEndpoint} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.conflict("web", ip)
			n.service.Fail(op, hns.ErrUnavailable)
			g.Expect(n.pass()).To(Equal(5 * time.Second))
			g.Expect(n.there()).To(HaveLen(2))
			g.Expect(n.series("hnsguard_passes_total{result=unknown}")).To(BeEquivalentTo(1))
			g.Expect(n.repaired).To(BeZero(), "nobody is a victim of what cannot be read")
			g.Expect(n.guard.Ready(nil)).To(MatchError(hns.ErrUnavailable))
			n.service.Heal()
			n.pass()
			g.Expect(n.there()).To(HaveLen(1))
			g.Expect(n.guard.Ready(nil)).To(Succeed())
		})
	}
}

// Invariant 2: what changed between the decision and the act is seen.
func TestTheWorldMovesBetweenDecisionAndAct(t *testing.T) {
	for name, tc := range map[string]struct {
		move   func(n *node, remote, local hns.EndpointID)
		result string
		stays  bool
	}{
		"the pod is deleted, which no cache knows yet": {func(n *node, _, _ hns.EndpointID) {
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name = "default", "web"
			if err := n.server.Delete(n.t.Context(), pod); err != nil {
				n.t.Fatal(err)
			}
		}, "refused", true},
		"another pod of that name has another address": {func(n *node, _, _ hns.EndpointID) {
			n.replacePod("10.240.0.99")
		}, "refused", true},
		"the pod has moved to another node": {func(n *node, _, _ hns.EndpointID) {
			n.replacePodOn("win-2")
		}, "refused", true},
		"the address moves to another node": {func(n *node, _, local hns.EndpointID) {
			if err := n.service.DeleteEndpoint(n.t.Context(), local); err != nil {
				n.t.Fatal(err)
			}
			n.slice("svc", "lin-1", ip)
		}, "refused", true},
		"the endpoint is gone": {func(n *node, remote, _ hns.EndpointID) {
			if err := n.service.DeleteEndpoint(n.t.Context(), remote); err != nil {
				n.t.Fatal(err)
			}
		}, "already_gone", false},
		"kube-proxy is replaced by one with the stale record": {func(n *node, _, _ hns.EndpointID) {
			n.kubeProxy = "v1.31.0"
			n.slice("svc", "lin-1", ip)
		}, "refused", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote, local := n.conflict("web", ip)
			n.pass2Before(func() { tc.move(n, remote, local) })
			if tc.stays {
				g.Expect(n.there()).To(ContainElement(remote))
			}
			g.Expect(n.removals("conflict", tc.result)).To(BeEquivalentTo(1))
			g.Expect(n.removals("conflict", "removed")).To(BeZero())
		})
	}
}

// pass2Before makes a pass in which the world moves after the decision, just before the endpoint is read again. The
// inventory reads the two endpoints first.
func (n *node) pass2Before(move func()) {
	n.t.Helper()
	// The inventory reads both endpoints, and the local one again for its attachment.
	for range 3 {
		n.service.Before(hns.OpEndpoint, func() {})
	}
	n.service.Before(hns.OpEndpoint, move)
	n.pass()
}

func (n *node) replacePod(addr string) {
	n.t.Helper()
	var pod corev1.Pod
	pod.Namespace, pod.Name = "default", "web"
	pod.Spec.NodeName = nodeName
	pod.Status.PodIPs = []corev1.PodIP{{IP: addr}}
	n.replace(&pod)
}

func (n *node) replacePodOn(other string) {
	n.t.Helper()
	var pod corev1.Pod
	pod.Namespace, pod.Name = "default", "web"
	pod.Spec.NodeName = other
	pod.Status.PodIPs = []corev1.PodIP{{IP: ip}}
	n.replace(&pod)
}

func (n *node) replace(pod *corev1.Pod) {
	n.t.Helper()
	if err := n.server.Delete(n.t.Context(), pod.DeepCopy()); err != nil {
		n.t.Fatal(err)
	}
	if err := n.server.Create(n.t.Context(), pod); err != nil {
		n.t.Fatal(err)
	}
}

func TestAnIDThatMeansAnotherEndpointIsRefused(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, _ := n.conflict("web", ip)
	n.pass2Before(func() { n.service.Impersonate(remote, hns.Endpoint{Network: n.network.ID, Flags: 0}) })
	g.Expect(n.there()).To(ContainElement(remote))
	g.Expect(n.removals("conflict", "refused")).To(BeEquivalentTo(1))
}

func TestWithoutTheAPIServerAConflictIsUnconfirmed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, local := n.conflict("web", ip)
	n.apiErr = errors.New("connection refused")
	n.pass()
	g.Expect(n.there()).To(ConsistOf(remote, local))
	g.Expect(n.removals("conflict", "unconfirmed")).To(BeEquivalentTo(1))
	n.apiErr = nil
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.there()).To(ConsistOf(local))
}

// Invariant 3.
func TestOrphansWaitForTheWatch(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.caughtUp = false
	n.passes(6 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1))
	g.Expect(n.skipped("orphan", "stale_watch")).To(BeNumerically(">", 1))
	n.caughtUp, n.freshErr = true, errors.New("connection refused")
	n.pass()
	g.Expect(n.there()).To(HaveLen(1), "nobody knows")
	n.freshErr = nil
	n.passes(10 * time.Second)
	g.Expect(n.there()).To(BeEmpty())
}

func (n *node) balancerReads() (reads int) {
	for _, call := range n.service.Calls() {
		if call.Op == hns.OpLoadBalancers {
			reads++
		}
	}
	return reads
}

// Where HNS refuses duplicates, an orphan keeps a pod from getting its endpoint.
func TestAPodThatWaitsInVainShortensTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	orphan, listed := n.remote(ip), n.remote("10.240.0.12")
	n.passes(time.Minute)
	n.caughtUp = false // the watch of a cluster in which nothing happens is behind for a minute
	n.listed = sets.New(netip.MustParseAddr("10.240.0.12"))
	n.pod("web", "")
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.there()).To(ConsistOf(orphan, listed), "it may get its address yet")
	n.wait(time.Second)
	n.pass()
	g.Expect(n.there()).To(ConsistOf(listed), "what is not in the watch, but in the API server, stays")
}

func TestAllSlicesAreListedSparingly(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.caughtUp, n.freshErr = false, nil
	n.pod("web", "")
	n.remote(ip)
	n.passes(15 * time.Second) // that one was due
	g.Expect(n.there()).To(BeEmpty())
	n.remote("10.240.0.12")
	n.passes(15 * time.Second)
	g.Expect(n.there()).To(HaveLen(1))
	n.passes(10 * time.Second)
	g.Expect(n.there()).To(BeEmpty())
}

func TestObserveTouchesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change           func(*config.Config)
		conflict, orphan bool
	}{
		"everything is observed": {func(c *config.Config) { c.Mode = config.Observe }, true, true},
		"conflicts are observed": {func(c *config.Config) { c.Conflict.Mode = config.Observe }, true, false},
		"orphans are observed":   {func(c *config.Config) { c.Orphan.Mode = config.Observe }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, tc.change)
			conflict, _ := n.conflict("web", ip)
			orphan := n.remote("10.240.0.12")
			n.passes(6 * time.Minute)
			g.Expect(n.there()).To(matchPresence(conflict, tc.conflict))
			g.Expect(n.there()).To(matchPresence(orphan, tc.orphan))
			if tc.conflict {
				g.Expect(n.skipped("conflict", "mode")).To(BeNumerically(">", 1))
				g.Expect(n.happened()).To(ConsistOf(ContainSubstring("Normal StaleEndpointFound")), "once, not in every pass")
			}
		})
	}
}

func matchPresence(id hns.EndpointID, present bool) OmegaMatcher {
	if present {
		return ContainElement(id)
	}
	return Not(ContainElement(id))
}

func TestTooManyOrphansAreLeftAlone(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Orphan.MaxPerPass = 3 })
	for i := range 4 {
		n.remote(fmt.Sprintf("10.240.1.%d", i+1))
	}
	n.passes(6 * time.Minute)
	g.Expect(n.there()).To(HaveLen(4))
	g.Expect(n.skipped("orphan", "cap")).To(BeNumerically(">=", 4))
	g.Expect(n.happened()).To(ContainElement(ContainSubstring("Warning TooManyOrphanEndpoints")))

	_, local := n.conflict("web", ip)
	n.pass()
	g.Expect(n.there()).To(And(HaveLen(5), ContainElement(local)), "the conflict goes nevertheless")

	n.slice("svc", "lin-1", "10.240.1.1")
	n.passes(10 * time.Second)
	g.Expect(n.there()).To(HaveLen(2), "three are not too many")
}

func TestRemovalsAreLimitedInRate(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Removals = config.Removals{PerSecond: 1, Burst: 3} })
	for i := range 5 {
		n.conflict(fmt.Sprintf("web-%d", i), fmt.Sprintf("10.240.0.%d", i+1))
	}
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "there is work left")
	g.Expect(n.there()).To(HaveLen(5 + 2))
	g.Expect(n.skipped("conflict", "rate")).To(BeEquivalentTo(2))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.there()).To(HaveLen(5))
}

func TestAnEndpointThatComesBackIsNotFoughtOver(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.conflict("web", ip)
	n.pass()
	attempts := 1
	for range 4 * 60 { // a minute of passes, with kube-proxy making the endpoint again each time
		if len(n.there()) == 1 {
			n.remote(ip)
		}
		n.wait(250 * time.Millisecond)
		n.pass()
		if len(n.there()) == 1 {
			attempts++
		}
	}
	g.Expect(attempts).To(And(BeNumerically(">", 3), BeNumerically("<", 9)), "1s, 2s, 4s, ... between attempts")
	g.Expect(n.skipped("conflict", "backoff")).To(BeNumerically(">", 100))
}

// Invariant 5.
func TestAFailureEndsThePass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.conflict("web-1", "10.240.0.1")
	n.conflict("web-2", "10.240.0.2")
	n.service.FailNext(hns.OpDeleteEndpoint, errors.New("HNS says no"))
	n.pass()
	g.Expect(n.there()).To(HaveLen(4))
	g.Expect(n.removals("conflict", "failed")).To(BeEquivalentTo(1))
	g.Expect(n.skipped("conflict", "failure")).To(BeEquivalentTo(1))
	g.Expect(n.happened()).To(ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved")))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.there()).To(HaveLen(2))
}

// Invariant 6.
func TestADeleteThatDidNothingIsNoticed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, _ := n.conflict("web", ip)
	n.service.MakeUndeletable(remote)
	n.pass()
	g.Expect(n.removals("conflict", "still_listed")).To(BeEquivalentTo(1))
	g.Expect(n.removals("conflict", "removed")).To(BeZero())
	g.Expect(n.happened()).To(ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved")))
}

func TestADeleteOfUnknownOutcomeIsLookedUp(t *testing.T) {
	for name, effect := range map[string]bool{"it took effect": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote, local := n.conflict("web", ip)
			n.service.FailNext(hns.OpDeleteEndpoint, fmt.Errorf("delete: %w", hns.ErrTimeout))
			n.pass()
			g.Expect(n.removals("conflict", "unknown")).To(BeEquivalentTo(1))
			if effect {
				g.Expect(n.service.DeleteEndpoint(t.Context(), remote)).To(Succeed())
			}
			n.wait(2 * time.Second)
			n.pass()
			g.Expect(n.removals("conflict", "removed")).To(BeEquivalentTo(1))
			g.Expect(n.there()).To(ConsistOf(local))
		})
	}
}

func TestAListThatFailsAfterTheDeleteLeavesTheOutcomeUnknown(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	_, local := n.conflict("web", ip)
	n.service.Before(hns.OpDeleteEndpoint, func() { n.service.FailNext(hns.OpListEndpointIDs, hns.ErrUnavailable) })
	n.pass()
	g.Expect(n.removals("conflict", "unknown")).To(BeEquivalentTo(1))
	n.pass()
	g.Expect(n.removals("conflict", "removed")).To(BeEquivalentTo(1))
	g.Expect(n.there()).To(ConsistOf(local))
}

// Invariant 7.
func TestARestartIsNeverBolder(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.passes(4 * time.Minute)
	n.restart()
	n.passes(4 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1), "the grace period begins anew")
	n.passes(70 * time.Second)
	g.Expect(n.there()).To(BeEmpty())
}

func TestABlindMomentRestartsTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.passes(4 * time.Minute)
	n.service.SetDown(true)
	n.pass()
	n.service.SetDown(false)
	n.passes(4 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1))
}

func TestAClaimRestartsTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.passes(4 * time.Minute)
	s := n.slice("svc", "lin-1", ip)
	n.pass()
	n.index.DeleteSlice(s)
	n.passes(4 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1))
}

func TestALoadBalancerSavesAnOrphanAndIsNamedAfterAConflict(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	orphan := n.remote("10.240.0.12")
	balancer, err := n.service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{orphan}})
	g.Expect(err).NotTo(HaveOccurred())
	n.passes(6 * time.Minute)
	g.Expect(n.there()).To(ConsistOf(orphan))
	g.Expect(n.series("hnsguard_endpoints{verdict=orphan_pending}")).To(BeEquivalentTo(1))

	n.service.Fail(hns.OpLoadBalancers, hns.ErrNotFound)
	g.Expect(n.service.DeleteLoadBalancer(balancer.ID)).To(Succeed())
	n.passes(time.Minute)
	g.Expect(n.there()).To(ConsistOf(orphan), "unknown is not none")
	n.service.Heal()
	n.passes(time.Minute)
	g.Expect(n.there()).To(BeEmpty())

	remote, _ := n.conflict("web", ip)
	_, err = n.service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{remote}})
	g.Expect(err).NotTo(HaveOccurred())
	n.pass()
	g.Expect(n.series("hnsguard_load_balancers_left_dangling_total")).To(BeEquivalentTo(1))
}

func TestALoadBalancerThatDanglesIsNoticed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	local := n.local(ip)
	balancer, err := n.service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{local}})
	g.Expect(err).NotTo(HaveOccurred())
	n.pass()
	g.Expect(n.service.DeleteEndpoint(t.Context(), local)).To(Succeed())
	n.passes(time.Minute)
	n.pass()
	g.Expect(n.dangling).To(BeEmpty(), "once may be chance")
	n.wait(5 * time.Second)
	n.pass()
	g.Expect(n.dangling).To(ConsistOf(HaveField("ID", balancer.ID)))
	g.Expect(n.series("hnsguard_dangling_load_balancers")).To(BeEquivalentTo(1))

	g.Expect(n.service.DeleteLoadBalancer(balancer.ID)).To(Succeed())
	n.wait(11 * time.Second)
	n.pass()
	g.Expect(n.dangling).To(BeEmpty())
	g.Expect(n.series("hnsguard_dangling_load_balancers")).To(BeZero())
}

// An endpoint that is made while load balancers are read is not in the snapshot.
func TestALoadBalancerOfANewEndpointDoesNotDangle(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.service.Before(hns.OpLoadBalancers, func() {
		_, err := n.service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{n.remote(ip)}})
		g.Expect(err).NotTo(HaveOccurred())
	})
	n.pass()
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.dangling).To(BeEmpty())
}

func TestLoadBalancersAreReadSparingly(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.remote(ip)
	n.service.ResetCalls()
	n.passes(4 * time.Minute)
	g.Expect(n.balancerReads()).To(Equal(4), "nobody needs them more often yet")
	n.caughtUp = false
	n.service.ResetCalls()
	n.passes(5 * time.Minute)
	g.Expect(n.balancerReads()).To(And(BeNumerically(">", 10), BeNumerically("<=", 5*60/5)))
}

func TestAHeldConflictIsReportedAndReleased(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.kubeProxy = "v1.32.3"
	_, local := n.conflict("web", ip)
	s := n.slice("svc", "lin-1", ip)
	n.passes(time.Minute)
	g.Expect(n.there()).To(HaveLen(2))
	g.Expect(n.happened()).To(ConsistOf(ContainSubstring("Warning StaleEndpointHeld")), "once")
	n.index.DeleteSlice(s)
	n.pass()
	g.Expect(n.there()).To(ConsistOf(local))
}

func TestWhatIsStaleIsCountedOnceAndGrowsOld(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Mode = config.Observe })
	n.kubeProxy = "v1.32.3"
	found := func(kind string) float64 {
		return n.series("hnsguard_stale_endpoints_found_total{verdict=" + kind + "}")
	}
	age := func(kind string) float64 {
		return n.series("hnsguard_stale_endpoint_age_seconds{verdict=" + kind + "}")
	}

	n.conflict("web", ip)
	s := n.slice("svc", "lin-1", ip)
	n.remote("10.240.0.12")
	n.pass()
	n.wait(time.Minute)
	n.pass()
	g.Expect(found("held")).To(BeEquivalentTo(1))
	g.Expect(age("held")).To(BeEquivalentTo(60))
	g.Expect(found("orphan")+age("orphan")).To(BeZero(), "nobody knows yet whether it is one")

	n.index.DeleteSlice(s)
	n.wait(time.Minute)
	n.pass()
	g.Expect(found("conflict")).To(BeZero(), "it was found already, and held")
	g.Expect(age("held")).To(BeZero())
	g.Expect(age("conflict")).To(BeEquivalentTo(120), "since it was found")

	n.passes(10 * time.Minute)
	g.Expect(found("orphan")).To(BeEquivalentTo(1))
	g.Expect(age("orphan")).To(BeNumerically(">", 60))
}

func TestThereIsNoAgeOfWhatWasRemoved(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.conflict("web", ip)
	n.pass()
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.series("hnsguard_stale_endpoints_found_total{verdict=conflict}")).To(BeEquivalentTo(1))
	g.Expect(n.series("hnsguard_stale_endpoint_age_seconds{verdict=conflict}")).To(BeZero())
	g.Expect(n.looked).To(Equal(2), "the meter of reuse sees every pass")
}

func TestThePaceFollowsThePods(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	g.Expect(n.pass()).To(Equal(5 * time.Second))
	n.pod("web", "")
	g.Expect(n.pass()).To(Equal(250 * time.Millisecond))
	n.wait(4*time.Minute + 59*time.Second)
	g.Expect(n.pass()).To(Equal(250 * time.Millisecond))
	n.wait(time.Second)
	g.Expect(n.pass()).To(Equal(5*time.Second), "it waits for something else by now")
	n.pod("db", "")
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "another one has just begun to wait")
}

func TestThePaceFollowsTheFlusher(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.soon = time.Second
	g.Expect(n.pass()).To(Equal(time.Second))
	n.soon = time.Minute
	g.Expect(n.pass()).To(Equal(5 * time.Second))
}

func TestOnAnOverlayNetworkOrphansWaitForServices(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	g.Expect(n.service.DeleteNetwork(n.network.ID)).To(Succeed())
	n.network = n.service.CreateNetwork("vxlan0", hns.NetworkOverlay)
	n.remote(ip)
	n.passes(6 * time.Minute)
	g.Expect(n.there()).To(HaveLen(1))
	n.index.WatchServices()
	n.pass()
	g.Expect(n.there()).To(BeEmpty())
}

func TestForeignAndLocalEndpointsAreNeverTouched(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.local("10.240.0.7")
	n.endpoint("10.240.0.8", 0)
	_, err := n.service.CreateEndpoint(simulated.EndpointSpec{Network: n.network.ID, Name: "Calico_ep", Flags: hns.FlagRemote})
	g.Expect(err).NotTo(HaveOccurred())
	n.passes(20 * time.Minute)
	g.Expect(n.there()).To(HaveLen(3))
	g.Expect(n.service.Calls()).NotTo(ContainElement(HaveField("Op", hns.OpDeleteEndpoint)))
}

func TestProbes(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	g.Expect(n.guard.Ready(nil)).To(MatchError(ContainSubstring("no complete pass yet")))
	g.Expect(n.guard.Live(nil)).To(Succeed(), "it may wait for its caches for as long as it takes")
	n.pass()
	g.Expect(n.guard.Ready(nil)).To(Succeed())
	n.wait(2 * time.Minute)
	g.Expect(n.guard.Ready(nil)).To(MatchError(ContainSubstring("2m0s ago")))
	n.service.Before(hns.OpListEndpointIDs, func() {
		n.wait(20 * time.Minute)
		g.Expect(n.guard.Live(nil)).To(MatchError(ContainSubstring("has not ended for 20m0s")))
	})
	n.pass()
	g.Expect(n.guard.Live(nil)).To(Succeed())
}

func TestMetricsAreLinted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.conflict("web", ip)
	n.pass()
	g.Expect(testutil.GatherAndLint(n.metrics)).To(BeEmpty())
}
