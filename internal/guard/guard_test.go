// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// Invariant 1: unknown is never absent.
func TestWhatIsUnknownIsNotTouched(t *testing.T) {
	for name, op := range map[string]hns.Operation{
		"IDs": hns.OpListEndpointIDs, "networks": hns.OpNetworks, "an endpoint": hns.OpEndpoint,
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.Conflict("web", ip)
			n.HNS.Fail(op, hns.ErrUnavailable)
			g.Expect(n.pass()).To(Equal(5 * time.Second))
			g.Expect(n.There()).To(HaveLen(2))
			g.Expect(n.Series("hnsguard_passes_total{result=unknown}")).To(BeEquivalentTo(1))
			g.Expect(n.victims).To(BeZero(), "what cannot be read has no victims")
			g.Expect(n.guard.Ready(nil)).To(MatchError(hns.ErrUnavailable))
			n.HNS.Heal()
			n.pass()
			g.Expect(n.There()).To(HaveLen(1))
			g.Expect(n.guard.Ready(nil)).To(Succeed())
		})
	}
}

func TestEveryActionRunsInEveryPass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	for range 3 {
		n.pass()
	}
	g.Expect(n.victims).To(Equal(3))
	g.Expect(n.looked).To(Equal(3))
	g.Expect(n.Series("hnsguard_passes_total{result=complete}")).To(BeEquivalentTo(3))
	g.Expect(n.Series("hnsguard_pass_duration_seconds")).To(BeEquivalentTo(3))
	g.Expect(n.Series("hnsguard_last_pass_timestamp_seconds")).To(BeEquivalentTo(nodetest.Start().Unix()))
}

func TestWhatIsStaleIsCountedOnceAndGrowsOld(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{
		KubeProxy: "v1.32.3", Config: []func(*config.Config){func(c *config.Config) { c.Mode = config.Observe }},
	})
	found := func(kind string) float64 {
		return n.Series("hnsguard_stale_endpoints_found_total{verdict=" + kind + "}")
	}
	age := func(kind string) float64 {
		return n.Series("hnsguard_stale_endpoint_age_seconds{verdict=" + kind + "}")
	}

	n.Conflict("web", ip)
	n.Slice("svc", "lin-1", ip)
	n.Remote("10.240.0.12")
	n.pass()
	n.Wait(time.Minute)
	n.pass()
	g.Expect(found("held")).To(BeEquivalentTo(1))
	g.Expect(age("held")).To(BeEquivalentTo(60))
	g.Expect(found("orphan")+age("orphan")).To(BeZero(), "it is not known yet whether it is one")

	n.DeleteSlice("svc")
	n.passes(10 * time.Minute)
	g.Expect(found("conflict")).To(BeZero(), "it was found already, and held")
	g.Expect(age("held")).To(BeZero(), "kube-proxy has forgotten it by now")
	g.Expect(age("conflict")).To(BeNumerically(">", 180), "since it was found")

	n.passes(10 * time.Minute)
	g.Expect(found("orphan")).To(BeEquivalentTo(1))
	g.Expect(age("orphan")).To(BeNumerically(">", 60))
}

func TestThereIsNoAgeOfWhatWasRemoved(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web", ip)
	n.pass()
	n.Wait(time.Minute)
	n.pass()
	g.Expect(n.Series("hnsguard_stale_endpoints_found_total{verdict=conflict}")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_stale_endpoint_age_seconds{verdict=conflict}")).To(BeZero())
	g.Expect(n.looked).To(Equal(2), "the meter of reuse sees every pass")
}

func TestLeakedLocalEndpointsAreCounted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Local(ip)
	n.Slice("svc", "lin-1", ip)
	n.pass()
	g.Expect(n.Series("hnsguard_leaked_local_endpoints")).To(BeEquivalentTo(1))
	n.DeleteSlice("svc")
	n.pass()
	g.Expect(n.Series("hnsguard_leaked_local_endpoints")).To(BeZero())
}

func TestALeakedLocalEndpointIsReportedOnTheNodeOnce(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	id := n.Local(ip)
	n.Slice("svc", "lin-1", ip)
	n.passes(4 * time.Minute)
	g.Expect(n.Happened()).To(BeEmpty(), "its pod may be about to report the address")
	n.passes(time.Hour)
	g.Expect(n.Happened()).To(ConsistOf(And(ContainSubstring("LeakedLocalEndpoint"), ContainSubstring(string(id)))))

	other := n.Local("10.240.0.12")
	n.passes(4 * time.Minute)
	n.Slice("other", "lin-1", "10.240.0.12")
	n.passes(4 * time.Minute)
	g.Expect(n.Happened()).To(BeEmpty(), "that is in use elsewhere for 4 minutes only")
	n.passes(2 * time.Minute)
	g.Expect(n.Happened()).To(ConsistOf(ContainSubstring(string(other))))
}

func TestThePaceFollowsThePods(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	g.Expect(n.pass()).To(Equal(5 * time.Second))
	n.Pod("web", "")
	g.Expect(n.pass()).To(Equal(250 * time.Millisecond))
	n.Wait(4*time.Minute + 59*time.Second)
	g.Expect(n.pass()).To(Equal(250 * time.Millisecond))
	n.Wait(time.Second)
	g.Expect(n.pass()).To(Equal(5*time.Second), "it waits for something else by now")
	n.Pod("db", "")
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

// Invariant 4.
func TestARestartIsNeverBolder(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.passes(4 * time.Minute)
	n.Restart()
	n.passes(4 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1), "the grace period begins again")
	n.passes(75 * time.Second)
	g.Expect(n.There()).To(BeEmpty())
}

func TestProbes(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	g.Expect(n.guard.Ready(nil)).To(MatchError(ContainSubstring("no complete pass yet")))
	g.Expect(n.guard.Live(nil)).To(Succeed(), "it may wait for its caches for as long as it takes")
	n.pass()
	g.Expect(n.guard.Ready(nil)).To(Succeed())
	n.Wait(2 * time.Minute)
	g.Expect(n.guard.Ready(nil)).To(MatchError(ContainSubstring("2m0s ago")))
	n.HNS.Before(hns.OpListEndpointIDs, func() {
		n.Wait(20 * time.Minute)
		g.Expect(n.guard.Live(nil)).To(MatchError(ContainSubstring("has not ended for 20m0s")))
	})
	n.pass()
	g.Expect(n.guard.Live(nil)).To(Succeed())
}

func TestMetricsAreLinted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web", ip)
	n.pass()
	g.Expect(testutil.GatherAndLint(n.Registry)).To(BeEmpty())
}

func TestDuplicateAddressesAreReported(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Config: []func(*config.Config){func(c *config.Config) { c.Mode = config.Observe }}})
	n.HNS.SetDuplicates(hnstest.AllowLocals)
	count := func(kind string) float64 {
		return n.Series("hnsguard_duplicate_addresses{kind=" + kind + "}")
	}
	n.pass()
	g.Expect(count("local_local") + count("local_remote") + count("remote_remote")).To(BeZero())

	remote, local := n.Conflict("web", ip)
	n.pass()
	g.Expect(count("local_remote")).To(BeEquivalentTo(1))
	n.Happened() // ignore the Event about the conflict

	twin := n.Local(ip)
	n.Delete(remote)
	n.pass()
	g.Expect(count("local_local")).To(BeEquivalentTo(1))
	g.Expect(count("local_remote")).To(BeZero())
	g.Expect(n.Happened()).To(BeEmpty(), "the old endpoint of an address may still be going")
	for range 40 {
		n.Wait(10 * time.Second)
		n.pass()
	}
	var events []string
	for _, e := range n.Happened() {
		if strings.Contains(e, "DuplicateLocalEndpoints") {
			events = append(events, e)
		}
	}
	g.Expect(events).To(ConsistOf(And(ContainSubstring(string(local)), ContainSubstring(string(twin)), ContainSubstring(ip))))

	n.Delete(twin)
	other := netip.MustParseAddr("10.240.0.99")
	_, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{Network: n.Network.ID, Addresses: []netip.Addr{other, other}})
	g.Expect(err).NotTo(HaveOccurred())
	n.passes(10 * time.Minute)
	g.Expect(count("local_local")).To(BeZero())
	g.Expect(n.Happened()).NotTo(ContainElement(ContainSubstring("DuplicateLocalEndpoints")), "an endpoint is no twin of itself")
}

// One Event names their number: Events about a node would be counted as one in any case.
func TestLocalEndpointsThatWereLeftBehindAreReportedOnTheNode(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	for _, addr := range []string{ip, "10.240.0.12"} {
		n.Endpoint(addr, 0)
	}
	n.Pod("pending", "")
	n.passes(10 * time.Minute)
	g.Expect(n.Series("hnsguard_left_behind_local_endpoints")).To(BeZero(), "a CNI may be about to attach them")
	n.passes(time.Hour)
	g.Expect(n.Series("hnsguard_left_behind_local_endpoints")).To(BeEquivalentTo(2))
	g.Expect(n.Series("hnsguard_leaked_local_endpoints")).To(BeZero())
	g.Expect(n.Happened()).To(ConsistOf(And(ContainSubstring("LeakedLocalEndpoint"), ContainSubstring("2 endpoints were left behind, such as"),
		ContainSubstring("seen since 2026-03-01T03:00:00Z"))))
}
