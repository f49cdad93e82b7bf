// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

var errRefusedConnection = errors.New("connection refused")

func failing(context.Context, client.ListOptions) error { return errRefusedConnection }

func TestAConflictIsRemovedAndReported(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	_, local := n.Conflict("web", ip)
	other := n.Remote("10.240.0.12")
	n.Slice("svc", "lin-1", "10.240.0.12")

	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "whether it is gone is verified soon")
	g.Expect(n.There()).To(ConsistOf(local, other))
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_detection_to_removal_seconds{verdict=conflict}")).To(BeEquivalentTo(1))
	g.Expect(n.Happened()).To(ConsistOf(And(
		ContainSubstring("Normal StaleEndpointRemoved"), ContainSubstring(ip))))

	n.pass()
	g.Expect(n.Series("hnsguard_endpoints{verdict=in_use}")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_endpoints{verdict=local}")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_endpoints{verdict=conflict}")).To(BeZero())
	g.Expect(n.victims).To(Equal(3), "every complete pass looks after victims")
}

func TestAnEarlyConflictIsRemoved(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.Pod("web", "")
	n.pass()
	n.Wait(time.Second)
	local := n.Local(ip)
	n.pass()
	g.Expect(n.There()).To(ConsistOf(local))
	n.pass()
	g.Expect(n.Removals("conflict_early", "removed")).To(BeEquivalentTo(1))
}

func TestAnOrphanIsRemovedAfterTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.passes(5 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
	n.pass() // requests a reading of load balancers, which runs alongside the passes
	n.pass()
	g.Expect(n.There()).To(BeEmpty())
	n.pass()
	g.Expect(n.Removals("orphan", "removed")).To(BeEquivalentTo(1))
}

// A change between the decision and the act is noticed.
func TestTheWorldMovesBetweenDecisionAndAct(t *testing.T) {
	for name, tc := range map[string]struct {
		move   func(n *node, remote, local hns.EndpointID)
		result string
		stays  bool
	}{
		"the pod is deleted, which no cache knows yet": {func(n *node, _, _ hns.EndpointID) {
			n.GoneFromServer("web")
		}, "refused", true},
		"another pod of that name has another address": {func(n *node, _, _ hns.EndpointID) {
			n.OnServer(nodetest.NewPod("web", nodetest.Name, "10.240.0.99"))
		}, "refused", true},
		"the pod has moved to another node": {func(n *node, _, _ hns.EndpointID) {
			n.OnServer(nodetest.NewPod("web", "win-2", ip))
		}, "refused", true},
		"the address moves to another node": {func(n *node, _, local hns.EndpointID) {
			n.Delete(local)
			n.Slice("svc", "lin-1", ip)
		}, "refused", true},
		"the endpoint is gone": {func(n *node, remote, _ hns.EndpointID) {
			n.Delete(remote)
		}, "already_gone", false},
		"kube-proxy is replaced by one with the stale record": {func(n *node, _, _ hns.EndpointID) {
			n.KubeProxy = "v1.31.0"
			n.Slice("svc", "lin-1", ip)
		}, "refused", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote, local := n.Conflict("web", ip)
			n.passMoving(func() { tc.move(n, remote, local) })
			if tc.stays {
				g.Expect(n.There()).To(ContainElement(remote))
			}
			g.Expect(n.Removals("conflict", tc.result)).To(BeEquivalentTo(1))
			g.Expect(n.Removals("conflict", "removed")).To(BeZero())
		})
	}
}

func TestAnIDThatMeansAnotherEndpointIsRefused(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, _ := n.Conflict("web", ip)
	n.passMoving(func() { n.HNS.Impersonate(remote, hns.Endpoint{Network: n.Network.ID, Flags: 0}) })
	g.Expect(n.There()).To(ContainElement(remote))
	g.Expect(n.Removals("conflict", "refused")).To(BeEquivalentTo(1))
}

func TestWithoutTheAPIServerAConflictIsUnconfirmed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, local := n.Conflict("web", ip)
	n.API.OnPods = failing
	n.pass()
	g.Expect(n.There()).To(ConsistOf(remote, local))
	g.Expect(n.Removals("conflict", "unconfirmed")).To(BeEquivalentTo(1))
	n.API.OnPods = nil
	n.Wait(2 * time.Second)
	n.pass()
	g.Expect(n.There()).To(ConsistOf(local))
}

func TestOrphansWaitForTheWatch(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.HoldWatch()
	n.API.Advance()
	n.passes(6 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Skipped("orphan", "stale_watch")).To(BeNumerically(">", 1))
	n.ReleaseWatch()
	n.Wait(3 * time.Minute) // the proof is too old
	n.API.OnSlices = failing
	n.passes(10 * time.Second)
	g.Expect(n.There()).To(HaveLen(1), "it is unknown")
	n.API.OnSlices = nil
	n.Bookmark()
	n.passes(10 * time.Second)
	g.Expect(n.There()).To(BeEmpty())
}

// If HNS refuses duplicates, an orphan keeps a pod from getting its endpoint.
func TestAPodThatWaitsInVainShortensTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	orphan, listed := n.Remote(ip), n.Remote("10.240.0.12")
	n.passes(time.Minute)
	n.HoldWatch() // the watch in a cluster without changes is behind for up to a minute
	n.Slice("svc", "lin-1", "10.240.0.12")
	n.Pod("web", "")
	n.pass()
	n.Wait(2 * time.Second)
	n.pass()
	g.Expect(n.There()).To(ConsistOf(orphan, listed), "it may get its address yet")
	n.Wait(time.Second)
	n.pass()
	n.Wait(time.Second)
	n.pass()
	g.Expect(n.There()).To(ConsistOf(listed), "what is not in the watch, but on the API server, stays")
}

func (n *node) sliceLists() (lists int) {
	for _, r := range n.API.Requests {
		if r.Kind == "slices" && r.Options.Limit != 1 {
			lists++
		}
	}
	return lists
}

func TestAllSlicesAreListedSparingly(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.HoldWatch()
	n.API.Advance()
	n.Pod("web", "")
	n.Remote(ip)
	n.passes(20 * time.Second) // that orphan was due
	g.Expect(n.There()).To(BeEmpty())
	g.Expect(n.sliceLists()).To(Equal(1))
	n.Remote("10.240.0.12")
	n.passes(15 * time.Second)
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.sliceLists()).To(Equal(1))
	n.passes(15 * time.Second)
	g.Expect(n.There()).To(BeEmpty())
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
			conflict, _ := n.Conflict("web", ip)
			orphan := n.Remote("10.240.0.12")
			n.passes(6 * time.Minute)
			g.Expect(n.There()).To(matchPresence(conflict, tc.conflict))
			g.Expect(n.There()).To(matchPresence(orphan, tc.orphan))
			if tc.conflict {
				g.Expect(n.Skipped("conflict", "mode")).To(BeNumerically(">", 1))
				g.Expect(n.Happened()).To(ConsistOf(ContainSubstring("Normal StaleEndpointFound")), "once, not in every pass")
			}
			g.Expect(n.pass()).To(Equal(5*time.Second), "what is not acted on is in no hurry")
		})
	}
}

func matchPresence(id hns.EndpointID, present bool) OmegaMatcher {
	if present {
		return ContainElement(id)
	}
	return Not(ContainElement(id))
}

// A batch leak of kube-proxy leaves hundreds of orphans.
func TestTooManyOrphansGoInProvenSteps(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Orphan.MaxPerPass, c.Pace.OrphansPerStep = 6, 2 })
	for i := range 7 {
		n.Remote(fmt.Sprintf("10.240.1.%d", i+1))
	}
	n.passes(5 * time.Minute)
	g.Expect(n.There()).To(HaveLen(7))
	_, local := n.Conflict("web", ip)
	n.pass()
	g.Expect(n.There()).To(And(HaveLen(8), ContainElement(local)), "the conflict goes at once")
	n.Wait(5 * time.Second)
	n.pass()
	n.pass() // for which load balancers were read again
	g.Expect(n.There()).To(HaveLen(6), "one step")
	g.Expect(n.sliceLists()).To(Equal(1), "proved by a list")
	g.Expect(n.Skipped("orphan", "cap")).To(BeNumerically(">=", 4))
	g.Expect(n.Happened()).To(ContainElement(ContainSubstring("Warning TooManyOrphanEndpoints")))
	n.passes(90 * time.Second)
	g.Expect(n.There()).To(HaveLen(2), "two more steps: five are not too many, and need no list")
	n.passes(45 * time.Second)
	g.Expect(n.There()).To(ConsistOf(local))
	g.Expect(n.sliceLists()).To(Equal(1))
}

func TestRemovalsAreLimitedInRate(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Removals.PerSecond, c.Pace.Burst = 1, 3 })
	for i := range 5 {
		n.Conflict(fmt.Sprintf("web-%d", i), fmt.Sprintf("10.240.0.%d", i+1))
	}
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "there is work left")
	g.Expect(n.There()).To(HaveLen(5 + 2))
	g.Expect(n.Skipped("conflict", "rate")).To(BeEquivalentTo(2))
	n.Wait(2 * time.Second)
	n.pass()
	g.Expect(n.There()).To(HaveLen(5))
}

func TestAnEndpointThatComesBackIsNotFoughtOver(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web", ip)
	n.pass()
	attempts := 1
	for range 4 * 60 { // a minute of passes; kube-proxy creates the endpoint again each time
		if len(n.There()) == 1 {
			n.Remote(ip)
		}
		n.Wait(250 * time.Millisecond)
		n.pass()
		if len(n.There()) == 1 {
			attempts++
		}
	}
	g.Expect(attempts).To(And(BeNumerically(">", 3), BeNumerically("<", 9)), "1s, 2s, 4s, ... between attempts")
	g.Expect(n.Skipped("conflict", "backoff")).To(BeNumerically(">", 100))
}

func TestAFailureEndsThePass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web-1", "10.240.0.1")
	n.Conflict("web-2", "10.240.0.2")
	n.HNS.FailNext(hns.OpDeleteEndpoint, errors.New("HNS says no"))
	n.pass()
	g.Expect(n.There()).To(HaveLen(4))
	g.Expect(n.Removals("conflict", "failed")).To(BeEquivalentTo(1))
	g.Expect(n.Skipped("conflict", "failure")).To(BeEquivalentTo(1))
	g.Expect(n.Happened()).To(ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved")))
	n.Wait(2 * time.Second)
	n.pass()
	g.Expect(n.There()).To(HaveLen(2))
}

func TestADeleteThatDidNothingIsNoticed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, _ := n.Conflict("web", ip)
	n.HNS.MakeUndeletable(remote)
	n.pass()
	n.pass()
	g.Expect(n.Removals("conflict", "still_listed")).To(BeEquivalentTo(1))
	g.Expect(n.Removals("conflict", "removed")).To(BeZero())
	g.Expect(n.Happened()).To(ConsistOf(ContainSubstring("Warning StaleEndpointNotRemoved")))
}

func TestADeleteOfUnknownOutcomeIsLookedUp(t *testing.T) {
	for name, effect := range map[string]bool{"it took effect": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote, local := n.Conflict("web", ip)
			n.HNS.FailNext(hns.OpDeleteEndpoint, fmt.Errorf("delete: %w", hns.ErrTimeout))
			n.pass()
			g.Expect(n.Removals("conflict", "unknown")).To(BeEquivalentTo(1))
			if effect {
				n.Delete(remote)
			} else {
				n.passes(2 * time.Minute) // the call may hang, and holds a thread meanwhile
				g.Expect(n.There()).To(HaveLen(2))
			}
			n.Wait(2 * time.Second)
			n.pass()
			n.pass()
			g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
			g.Expect(n.There()).To(ConsistOf(local))
		})
	}
}

// The next pass verifies a delete. If it cannot read HNS, the one after it does.
func TestAListThatFailsAfterTheDeleteLeavesTheOutcomeToALaterPass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	_, local := n.Conflict("web", ip)
	n.pass()
	n.HNS.FailNext(hns.OpListEndpointIDs, hns.ErrUnavailable)
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeZero())
	n.pass()
	g.Expect(n.Removals("conflict", "removed")).To(BeEquivalentTo(1))
	g.Expect(n.There()).To(ConsistOf(local))
}

func TestABlindMomentRestartsTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.passes(4 * time.Minute)
	n.HNS.SetDown(true)
	n.pass()
	n.HNS.SetDown(false)
	n.passes(4 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
}

func TestAClaimRestartsTheGracePeriod(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.passes(4 * time.Minute)
	n.Slice("svc", "lin-1", ip)
	n.pass()
	n.DeleteSlice("svc")
	n.passes(4 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
}

func TestOnAnOverlayNetworkOrphansWaitForServices(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Network: hns.NetworkOverlay})
	n.Remote(ip)
	n.passes(6 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
	n.Index.ReplaceServices(nil)
	n.pass()
	n.Wait(5 * time.Second)
	n.pass()
	g.Expect(n.There()).To(BeEmpty())
}

// A Service with more addresses than the index keeps may have any address.
func TestWhileAServiceIsOversizedNothingIsRemoved(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Network: hns.NetworkOverlay})
	n.Remote(ip)
	n.Index.ReplaceServices(nil)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "many"}}
	service.Spec.ExternalIPs = slices.Repeat([]string{"192.0.2.1"}, cluster.MaxExternalAddresses+1)
	n.Index.SetService(service)
	n.passes(6 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Series("hnsguard_oversized_services")).To(BeEquivalentTo(1))

	service.Spec.ExternalIPs = nil
	n.Index.SetService(service)
	n.passes(6 * time.Minute)
	g.Expect(n.There()).To(BeEmpty())
}

func TestForeignAndLocalEndpointsAreNeverTouched(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Local("10.240.0.7")
	n.Endpoint("10.240.0.8", 0)
	_, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{Network: n.Network.ID, Name: "Calico_ep", Flags: hns.FlagRemote})
	g.Expect(err).NotTo(HaveOccurred())
	n.passes(20 * time.Minute)
	g.Expect(n.There()).To(HaveLen(3))
	g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(BeZero())
}

// What slices list is proved for the moment when a step is ready, not for the steps before: a watch may fall silent
// between two of them, and an address that is no pod's may be listed again.
func TestAWatchThatFallsSilentBetweenTwoSteps(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
	for i := range 3 {
		n.Remote(fmt.Sprintf("10.240.1.%d", i+1))
	}
	n.passes(5*time.Minute + 15*time.Second)
	left := n.There()
	g.Expect(left).To(HaveLen(1))
	n.HoldWatch()
	n.Slice("database", "", "10.240.1.3")
	n.passes(10 * time.Minute)
	g.Expect(n.There()).To(Equal(left))
}
